"""A bounded pool of daemon threads for sync handlers.

The standard library's pool joins its threads at interpreter exit, so one stuck handler would keep a process that has
used up its grace from ending; these threads are daemons.
"""

from __future__ import annotations

import asyncio
import contextvars
import queue
import threading
from collections.abc import Callable
from typing import Any

_Job = tuple[Callable[[], Any], asyncio.AbstractEventLoop, "asyncio.Future[Any]"]


class ThreadPool:
    """Runs functions in at most ``size`` threads, started when they are first needed.

    Args:
        size: Threads.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._started = 0
        self._free = asyncio.Semaphore(size)
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self.busy = 0

    async def run(self, function: Callable[[], Any], begin: Callable[[], None], cancel: Callable[[], None]) -> Any:
        """Wait for a thread, run ``function`` in a copy of this context, return its value.

        A thread cannot be killed: when this call is cancelled while the function runs, ``cancel`` is called and the
        cancellation waits until the function has returned.

        Args:
            function: What to run.
            begin: Called on the event loop when a thread is free, right before.
            cancel: Called on the event loop when the caller no longer wants the value.
        """
        async with self._free:
            begin()
            loop = asyncio.get_running_loop()
            future: asyncio.Future[Any] = loop.create_future()
            context = contextvars.copy_context()
            if self._started < self._size and self._started <= self.busy:
                name = f"brokerkit-handler-{self._started + 1}"
                threading.Thread(target=self._work, name=name, daemon=True).start()  # may fail: nothing is queued yet
                self._started += 1
            self._jobs.put((lambda: context.run(function), loop, future))
            self.busy += 1
            try:
                return await _uninterrupted(future, cancel)
            finally:
                self.busy -= 1

    def close(self) -> None:
        """Let idle threads end; a stuck one is left behind."""
        for _ in range(self._started):
            self._jobs.put(None)
        self._started = 0

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            function, loop, future = job
            try:
                value, error = function(), None
            except BaseException as raised:  # noqa: BLE001 - carried to the awaiting task
                value, error = None, raised
            try:
                loop.call_soon_threadsafe(_deliver, future, value, error)
            except RuntimeError:  # the loop has ended: nobody waits any more
                return
            del job, function, future, value, error


def _deliver(future: asyncio.Future[Any], value: Any, error: BaseException | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(value)
    elif isinstance(error, StopIteration):  # a future refuses it
        future.set_exception(RuntimeError("the handler raised StopIteration"))
    else:
        future.set_exception(error)


async def _uninterrupted(future: asyncio.Future[Any], cancel: Callable[[], None]) -> Any:
    cancelled: asyncio.CancelledError | None = None
    while not future.done():
        try:
            await asyncio.wait([future])
        except asyncio.CancelledError as error:
            cancelled = error
            cancel()
    if cancelled is not None:
        if not future.cancelled():
            future.exception()  # looked at, so that it is not reported as forgotten
        raise cancelled
    return future.result()
