"""An app open in a thread of its own, for callers that have no event loop."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from brokerkit.errors import ConfigurationError

if TYPE_CHECKING:
    from brokerkit.app import App
    from brokerkit.session import Place

LAST_WORDS = 5.0
"""Seconds that calls get to end when the app is closed under them."""

T = TypeVar("T")


class Background:
    """One thread with an event loop in which an app is open while somebody uses it.

    Args:
        app: The app.
    """

    def __init__(self, app: App) -> None:
        self._app = app
        self._users = 0
        self._process = 0
        self._opening = threading.Lock()  # held for as long as opening and closing take
        self._gate = threading.Lock()  # held for a moment: what is let in before it closes is carried out, or cancelled
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._stop = asyncio.Event()
        self._serving: asyncio.Task[Any] | None = None
        self._calls: set[asyncio.Task[Any]] = set()
        self._failure: BaseException | None = None

    def enter(self) -> Place | None:
        """Open the app, if nobody has yet. Raises what opening it raises.

        Returns:
            Where somebody else has the app open, who then has to be asked there; None when it is open here.
        """
        self.refuse_after_fork()
        with self._opening:
            if self._users == 0:
                if (elsewhere := self._app.place) is not None:
                    return elsewhere
                self._start()
            self._users += 1
        return None

    def leave(self) -> None:
        """Close the app, if nobody else uses it. Raises what has ended it before, or what closing it raises."""
        if self.forked:
            return  # it is open in the parent, which closes it
        with self._opening:
            self._users -= 1
            failure = self._end() if self._users == 0 else None
        if failure is not None:
            raise failure

    def submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Have something carried out there. Raises ``ConfigurationError`` when the app is not open."""
        carried = self._carry(work)
        try:
            self.refuse_after_fork()
            with self._gate:
                if self._loop is None:
                    raise not_open(self._failure)
                return asyncio.run_coroutine_threadsafe(carried, self._loop)
        except BaseException:
            carried.close()
            raise

    async def _carry(self, work: Coroutine[Any, Any, T]) -> T:
        task = asyncio.current_task()
        assert task is not None
        self._calls.add(task)
        try:
            return await work
        finally:
            self._calls.discard(task)

    @property
    def forked(self) -> bool:
        """True in a process that has inherited the open app of its parent."""
        return self._users > 0 and self._process != os.getpid()

    def refuse_after_fork(self) -> None:
        """Raise ``ConfigurationError`` in such a process."""
        if self.forked:
            raise after_fork()

    def _start(self) -> None:
        self._process = os.getpid()
        loop = asyncio.new_event_loop()
        opened: Future[None] = Future()
        self._stop, self._serving, self._failure = asyncio.Event(), None, None
        # A daemon: whoever forgets to close must not keep the process from ending.
        name = f"brokerkit app {self._app.name}"
        self._thread = threading.Thread(target=self._run, args=(loop, opened), name=name, daemon=True)
        try:
            self._begin(self._thread, loop)
            opened.result()
        except BaseException:  # also Ctrl-C while the thread starts, or connects
            with suppress(RuntimeError):  # the loop may have ended
                loop.call_soon_threadsafe(self._give_up)
            with suppress(RuntimeError):  # there may be no thread
                self._thread.join()
            raise

    @staticmethod
    def _begin(thread: threading.Thread, loop: asyncio.AbstractEventLoop) -> None:
        try:
            thread.start()
        except RuntimeError:  # there are too many threads
            loop.close()
            raise

    def _run(self, loop: asyncio.AbstractEventLoop, opened: Future[None]) -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: loop) as runner:
                runner.run(self._serve(loop, opened))
        except BaseException as error:  # noqa: BLE001 - it is raised where somebody can see it
            if opened.done():
                self._failure = error
            else:
                opened.set_exception(error)

    async def _serve(self, loop: asyncio.AbstractEventLoop, opened: Future[None]) -> None:
        self._serving = asyncio.current_task()
        async with self._app:
            try:
                self._loop = loop
                opened.set_result(None)
                await self._stop.wait()
            finally:
                with self._gate:
                    self._loop = None
                await self._end_calls()

    async def _end_calls(self) -> None:
        for call in tuple(self._calls):
            call.cancel()
        if self._calls:
            await asyncio.wait(tuple(self._calls), timeout=LAST_WORDS)

    def _give_up(self) -> None:
        """Called on the loop: stop, however far opening has come."""
        self._stop.set()
        if self._serving is not None:
            self._serving.cancel()

    def _end(self) -> BaseException | None:
        """Close the app; returns what went wrong."""
        with self._gate:
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self._stop.set)
        if self._thread is not None:
            self._thread.join()
        return self._failure


def after_fork() -> ConfigurationError:
    """What to say in a process that has inherited an open app: neither its threads nor its connections are there."""
    return ConfigurationError(
        "the app was opened before this process was forked, and its connections are the parent's: open it after the "
        "fork, in every process (gunicorn: post_fork; uWSGI: @postfork)"
    )


def not_open(failure: BaseException | None = None) -> ConfigurationError:
    """What to say to a call that nobody can carry out."""
    if failure is None:
        return ConfigurationError(
            "the client is not open: use it inside `with app.blocking() as client:`, or open() it"
        )
    error = ConfigurationError(f"the app has ended in its thread: {failure}; close the client and open it again")
    error.__cause__ = failure
    return error
