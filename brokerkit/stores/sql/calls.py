"""Calls that nobody cancels, so that a driver is never interrupted.

A driver that is cancelled goes on talking to the server, to cancel the statement there, and when the server has stopped
it leaves that unfinished. So a call runs in a task of its own. Whoever gives it up, because of its deadline or because
it is cancelled, cuts the connection instead, which ends at once whatever waits for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from brokerkit.errors import StoreError

T = TypeVar("T")


class Deadline:
    """When a call is given up, and how.

    Args:
        seconds: From now.
    """

    def __init__(self, seconds: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._cut: Callable[[], None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.seconds = seconds
        self.at = self._loop.time() + seconds
        self.passed = False

    @property
    def left(self) -> float:
        """Seconds until then, 0 or less when it is given up."""
        return 0.0 if self.passed else self.at - self._loop.time()

    def watch(self, cut: Callable[[], None]) -> None:
        """Have ``cut`` called when the call is given up."""
        self._cut = cut
        self._timer = self._loop.call_at(self.at, self.give_up)
        if self.passed:
            cut()

    def unwatch(self) -> None:
        """The connection is not this call's any more."""
        self._cut = None
        if self._timer is not None:
            self._timer.cancel()

    def give_up(self) -> None:
        """Give the call up."""
        self.passed = True
        if self._cut is not None:
            self._cut()


class Calls:
    """The calls that are being made, in a task group that is entered and left by hand, so that an exception of the
    caller's body is never wrapped."""

    def __init__(self) -> None:
        self._group: asyncio.TaskGroup | None = None
        self._running: dict[asyncio.Task[None], Deadline] = {}

    async def start(self) -> None:
        """Take calls."""
        self._group = await asyncio.TaskGroup().__aenter__()

    async def make(self, call: Coroutine[Any, Any, T], deadline: Deadline) -> T:
        """What the call returns or raises. It is given up when whoever waits is cancelled."""
        if self._group is None:
            call.close()
            raise StoreError("the store is closed: use it inside `async with`")
        answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        task = self._group.create_task(_answer(call, answer), name="brokerkit sql")
        self._running[task] = deadline
        task.add_done_callback(self._running.pop)
        try:
            return await answer
        except asyncio.CancelledError:
            deadline.give_up()
            raise

    async def stop(self) -> None:
        """Give up what is running, and wait for its end, also when the wait is cancelled. Idempotent."""
        group, self._group = self._group, None
        if group is None:
            return
        for task, deadline in tuple(self._running.items()):
            deadline.give_up()
            task.cancel()
        await group.__aexit__(None, None, None)


async def _answer(call: Coroutine[Any, Any, T], answer: asyncio.Future[T]) -> None:
    try:
        result = await call
    except asyncio.CancelledError:
        _fail(answer, StoreError("the store was closed meanwhile"))
        raise
    except Exception as error:  # noqa: BLE001 - whoever waits sees it; it must not end the group
        _fail(answer, error)
    else:
        if not answer.done():
            answer.set_result(result)


def _fail(answer: asyncio.Future[T], error: Exception) -> None:
    if not answer.done():
        answer.set_exception(error)
