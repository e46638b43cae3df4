"""What runs beside the caller for as long as a transport is entered."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any


class Background:
    """A task group that is entered and left by hand, so that an exception in the caller's body is never wrapped.

    A task that dies cancels the task that called ``start``, as a task group does, and ``stop`` raises what killed it.

    Args:
        name: Of the transport, for the names of tasks.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._group: asyncio.TaskGroup | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Enter the group."""
        self._group = await asyncio.TaskGroup().__aenter__()

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Run something until it ends or the group is left, when it is cancelled."""
        if self._group is None:
            work.close()
            raise RuntimeError("the transport is not entered")
        task = self._group.create_task(work, name=f"brokerkit {self._name}: {name}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def cancel(self) -> None:
        """Have everything that runs end."""
        for task in tuple(self._tasks):
            task.cancel()

    async def stop(self) -> None:
        """Cancel what runs and wait for its end, also when the wait is cancelled. Idempotent."""
        group, self._group = self._group, None
        if group is not None:
            self.cancel()
            await group.__aexit__(None, None, None)
