"""Background tasks that cannot die unseen."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self

_log = logging.getLogger("brokerkit")

LAST_WORDS = 5.0
"""Seconds that background tasks get to end once they are cancelled; a handler may refuse to."""


class Supervisor:
    """Runs background tasks in one task group inside one task of its own, as an async context manager.

    An exception in the body leaves unchanged, never wrapped in a group. When a background task dies, the body is
    cancelled and leaving raises what killed it.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._group: asyncio.TaskGroup | None = None
        self._body: asyncio.Task[Any] | None = None
        self._task: asyncio.Task[None] | None = None
        self._stop = asyncio.Event()
        self._failed = False
        self._died = ""
        self._children: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        ready = asyncio.Event()
        self._stop.clear()
        self._died = ""
        self._body = asyncio.current_task()
        self._task = asyncio.create_task(self._run(ready), name=self._name)
        self._task.add_done_callback(self._ended)
        try:
            await ready.wait()
        except BaseException:
            self._body = None
            self._stop.set()
            raise
        return self

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Run a background task until the context is left, when it is cancelled."""
        if self._group is None:
            work.close()
            raise RuntimeError(f"{self._name} is not running")
        try:
            task = self._group.create_task(work, name=f"{self._name}: {name}")
        except RuntimeError:  # another task has died and this group is ending
            work.close()
            raise
        self._children.add(task)
        task.add_done_callback(self._child_ended)

    def _child_ended(self, task: asyncio.Task[None]) -> None:
        self._children.discard(task)
        if task.cancelled() and not task.cancelling():  # by what it awaits; a task group would take that for its end
            self._died = task.get_name()
            self._stop.set()

    @property
    def failed(self) -> bool:
        """True once a background task has died, and the others with it."""
        return self._failed

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        task, self._body = self._task, None
        assert task is not None
        self._stop.set()
        cancelled = await _finish(task)
        self._group = None
        if not task.done():
            names = ", ".join(child.get_name() for child in self._children)
            _log.error("%s: these background tasks do not end: %s", self._name, names)
        failure = _leaf(task.exception()) if task.done() and not task.cancelled() else None
        if cancelled is not None:
            raise cancelled
        if failure is None:
            return
        current = asyncio.current_task()
        ours_alone = self._failed and current is not None and current.uncancel() == 0
        if kind is None or (ours_alone and kind is asyncio.CancelledError):
            raise failure
        _log.error("%s: a background task died", self._name, exc_info=failure)

    async def _run(self, ready: asyncio.Event) -> None:
        async with asyncio.TaskGroup() as group:
            self._group = group
            guard = group.create_task(self._stop.wait())
            ready.set()
            await guard
            self._group = None
            if self._died:
                raise RuntimeError(f"{self._died} was cancelled by what it awaits")
            for task in tuple(self._children):
                task.cancel()

    def _ended(self, task: asyncio.Task[None]) -> None:
        if self._body is not None and not task.cancelled() and task.exception() is not None:
            self._failed = True
            self._body.cancel()


async def _finish(task: asyncio.Task[None]) -> asyncio.CancelledError | None:
    """Wait a while for its end, also when the wait is cancelled; returns that cancellation."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + LAST_WORDS
    cancelled: asyncio.CancelledError | None = None
    while not task.done() and (left := deadline - loop.time()) > 0:
        try:
            await asyncio.wait([task], timeout=left)
        except asyncio.CancelledError as error:
            cancelled = error
    return cancelled


def _leaf(error: BaseException | None) -> BaseException | None:
    """The first exception inside nested groups."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
