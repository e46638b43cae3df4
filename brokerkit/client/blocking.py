"""The app for programs that are not async: one call at a time for each thread, any number of threads."""

from __future__ import annotations

import asyncio
import atexit
import logging
import os
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, Iterator, Mapping
from concurrent.futures import CancelledError, Future, wait
from datetime import timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar, Unpack, overload

from brokerkit.calls import Call
from brokerkit.client.background import Background, after_fork, not_open
from brokerkit.client.handle import RESULT_WAIT, Cancel, Handle
from brokerkit.client.progress import Progress
from brokerkit.errors import ConfigurationError
from brokerkit.options import SendKeywords
from brokerkit.records import TaskRecord, TaskStatus
from brokerkit.tasks import C, P, R, Task, V
from brokerkit.topology import Exchange, Queue

if TYPE_CHECKING:
    from brokerkit.app import App
    from brokerkit.session import Place

_log = logging.getLogger("brokerkit")

LOOK = 1.0
"""Seconds between two looks whether the event loop that carries out a call is still there."""

T = TypeVar("T")


class BlockingClient:
    """An app for Django, Flask and scripts: its methods do what the app's do, and return when it is done.

    ``with app.blocking() as client:`` opens the app in a thread of its own, where the calls of all threads are carried
    out, and closes it at the end. A web server opens one client per process, after it has forked (in gunicorn's
    ``post_fork``, in uWSGI's ``@postfork``, or before the first request)::

        client = app.blocking()
        client.open()          # opening an open client does nothing; at exit it is closed by itself

    Several clients of one app share the thread; the last one closes the app. Where the app is open already, as in a
    worker whose sync handlers send, they use the event loop it is open in and leave it open. Errors are those of the
    app, unchanged.

    Args:
        app: The app.
        background: Its thread.
    """

    def __init__(self, app: App, background: Background) -> None:
        self._app = app
        self._background = background
        self._lock = threading.Lock()
        self._open = False
        self._elsewhere: Place | None = None

    def open(self) -> Self:
        """Open the app, unless this client is open already. Raises what opening the app raises."""
        _refuse_in_a_loop()
        self._background.refuse_after_fork()  # before the lock, which somebody may have held then
        with self._lock:
            if not self._open:
                self._elsewhere = self._background.enter()
                self._open = True
                if self._elsewhere is None:
                    atexit.register(self.close)
        return self

    def close(self) -> None:
        """Close what ``open`` has opened, unless another client uses it; calls that still wait end with an error.

        Raises what closing the app raises, or what has ended it before.
        """
        if not self._open or self._background.forked:
            return
        _refuse_in_a_loop()
        with self._lock:
            if self._open:
                self._open = False
                if self._elsewhere is None:
                    atexit.unregister(self.close)
                    self._background.leave()

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self.close()
        except Exception:
            if error is None:
                raise
            _log.exception("the app did not close well")  # the caller's own error counts

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Carry out any coroutine of the app: ``client.run(app.queue_stats("payments"))``.

        Args:
            work: A coroutine that has not begun.

        Returns:
            What it returns.

        Raises:
            ConfigurationError: The client is not open, was closed meanwhile, or was opened before a fork; or an event
                loop runs in this thread.
        """
        if not asyncio.iscoroutine(work):
            raise TypeError(f'run takes a coroutine, as in client.run(app.queue_stats("payments")), not {work!r}')
        try:
            _refuse_in_a_loop()
            future = self._submit(work)
        except BaseException:
            work.close()
            raise
        try:
            return self._outcome(future)
        except CancelledError:
            raise ConfigurationError("the app was closed while this call waited for it") from None
        finally:
            future.cancel()  # after Ctrl-C it is still going on

    def _submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        if not self._open:
            raise not_open()
        if self._elsewhere is None:
            return self._background.submit(work)
        if self._elsewhere.process != os.getpid():
            raise after_fork()
        if self._app.place is not self._elsewhere:
            raise ConfigurationError("the app has been closed where it was open")
        return asyncio.run_coroutine_threadsafe(work, self._elsewhere.loop)

    def _outcome(self, future: Future[T]) -> T:
        if self._elsewhere is None:
            return future.result()
        while not wait([future], LOOK).done:  # a loop that others run may end without a word
            if self._elsewhere.loop.is_closed():
                raise ConfigurationError("the event loop in which the app was open has ended")
        return future.result()

    # -- what the app does -----------------------------------------------------------------------------------------

    @overload
    def send(self, call: Call[T], /) -> Handle[T]: ...
    @overload
    def send(
        self,
        call: str,
        arguments: Mapping[str, Any] | None = None,
        /,
        *,
        queue: str | Queue,
        **options: Unpack[SendKeywords],
    ) -> Handle[Any]: ...

    def send(
        self,
        call: Call[Any] | str,
        arguments: Mapping[str, Any] | None = None,
        /,
        *,
        queue: str | Queue = "",
        **options: Unpack[SendKeywords],
    ) -> Handle[Any]:
        """Send ``task.message(…)``, or a task by its wire name; see ``App.send``."""
        if isinstance(call, str):
            return self.run(self._app.send(call, arguments, queue=queue, **options))
        return self.run(self._app.send(call))

    def send_many(
        self, calls: Iterable[Call[T]], *, batch: int = 500, progress: Progress | None = None
    ) -> list[Handle[T]]:
        """Send many calls; see ``App.send_many``. ``progress`` is called in another thread."""
        return self.run(self._app.send_many(calls, batch=batch, progress=progress))

    def publish(
        self, payload: Any, *, exchange: str | Exchange, routing_key: str = "", **options: Unpack[SendKeywords]
    ) -> str:
        """Publish an event; see ``App.publish``."""
        return self.run(self._app.publish(payload, exchange=exchange, routing_key=routing_key, **options))

    def result(self, handle: Handle[T], timeout: float | timedelta | None = RESULT_WAIT) -> T:
        """Wait for a task and return its value; see ``Handle.result``."""
        return self.run(handle.result(timeout))

    def wait(
        self,
        handles: Iterable[Handle[T]],
        timeout: float | timedelta | None = RESULT_WAIT,
        *,
        progress: Progress | None = None,
    ) -> tuple[list[Handle[T]], list[Handle[T]]]:
        """Wait for many tasks at once; see ``App.wait``. ``progress`` is called in another thread."""
        return self.run(self._app.wait(handles, timeout, progress=progress))

    def as_completed(
        self, handles: Iterable[Handle[T]], timeout: float | timedelta | None = None
    ) -> Iterator[Handle[T]]:
        """Tasks in the order in which they end; see ``App.as_completed``."""
        return self._each(lambda: self._app.as_completed(handles, timeout))

    def watch(self, handle: Handle[Any], timeout: float | timedelta | None = None) -> Iterator[TaskRecord]:
        """A task's record whenever it has changed; see ``Handle.watch``."""
        return self._each(lambda: handle.watch(timeout))

    @overload
    def handle(self, task_id: str, task: Task[P, R, C, V], /) -> Handle[R]: ...
    @overload
    def handle(self, task_id: str, task: str = "", /) -> Handle[Any]: ...

    def handle(self, task_id: str, task: Task[..., Any, ..., Any] | str = "", /) -> Handle[Any]:
        """The handle of a task that was sent elsewhere, or before; see ``App.handle``."""

        async def make() -> Handle[Any]:
            return self._app.handle(task_id, task)

        return self.run(make())

    def record(self, task_id: str) -> TaskRecord | None:
        """What the store knows of a task; see ``App.record``."""
        return self.run(self._app.record(task_id))

    def status(self, task_id: str) -> TaskStatus | None:
        """Where a task stands; see ``App.status``."""
        return self.run(self._app.status(task_id))

    def cancel(self, task_id: str) -> Cancel:
        """Cancel a task; see ``App.cancel``."""
        return self.run(self._app.cancel(task_id))

    def _each(self, begin: Callable[[], AsyncGenerator[T, None]]) -> Iterator[T]:
        """What an async generator gives, one at a time."""

        async def begun() -> AsyncGenerator[T, None]:
            return begin()

        steps = self.run(begun())
        try:
            while (step := self.run(_next(steps))) is not None:
                yield step
        finally:
            if self._open:
                self.run(_close(steps))


async def _next(steps: AsyncGenerator[T, None]) -> T | None:
    return await anext(steps, None)


async def _close(steps: AsyncGenerator[Any, None]) -> None:
    await steps.aclose()


def _refuse_in_a_loop() -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise ConfigurationError(
        "a blocking call would stop the event loop that runs in this thread: await the app's own methods, "
        "or call from another thread, as with asyncio.to_thread"
    )
