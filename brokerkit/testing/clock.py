"""A clock that stands still until a test moves it."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable
from itertools import count

START = 1_700_000_000.0
"""Where the clock begins unless told otherwise: a fixed moment (14 November 2023), so that runs are alike."""
MOST_ROUNDS = 10_000
"""Turns of the event loop after which time goes on although something is always ready to run."""
BLIND_ROUNDS = 100
"""Turns given on event loops that do not show whether anything is ready (uvloop)."""


class VirtualTimer:
    """A ``Timer`` of a ``VirtualClock``."""

    __slots__ = ("callback", "when")

    def __init__(self, when: float, callback: Callable[[], None]) -> None:
        self.when = when
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        self.callback = None


class VirtualClock:
    """A ``Clock`` whose time passes only in ``advance``, in no time at all.

    Timers run in the order of their moments, those of one moment in the order in which they were set. Before the
    first timer, between any two moments and at the end, the event loop runs until nothing is ready: so whatever a
    timer sets in motion has happened before time goes on. What the loop cannot see (threads, sockets, sleeps of the
    real clock) is not waited for.

    Args:
        start: Seconds since the epoch it begins at. Default 1 700 000 000.
    """

    def __init__(self, start: float = START) -> None:
        self._now = start
        self._timers: list[tuple[float, int, VirtualTimer]] = []
        self._next = count().__next__

    def now(self) -> float:
        return self._now

    def monotonic(self) -> float:
        return self._now

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        done = asyncio.get_running_loop().create_future()
        timer = self.call_later(seconds, lambda: None if done.done() else done.set_result(None))
        try:
            await done
        finally:
            timer.cancel()

    def call_later(self, seconds: float, callback: Callable[[], None]) -> VirtualTimer:
        timer = VirtualTimer(self._now + max(seconds, 0.0), callback)
        heapq.heappush(self._timers, (timer.when, self._next(), timer))
        return timer

    async def advance(self, seconds: float = 0.0) -> None:
        """Let so many seconds pass. ``advance(0)`` only lets the event loop run until it is quiet."""
        target = self._now + seconds
        await self.settle()
        while (moment := self._next_moment()) is not None and moment <= target:
            self._now = max(self._now, moment)
            self._run_due()
            await self.settle()
        self._now = max(self._now, target)
        await self.settle()

    async def settle(self) -> None:
        """Let the event loop run until nothing is ready."""
        ready = getattr(asyncio.get_running_loop(), "_ready", None)
        for _ in range(BLIND_ROUNDS if ready is None else MOST_ROUNDS):
            await asyncio.sleep(0)
            if ready is not None and not ready:
                return

    @property
    def pending(self) -> int:
        """How many timers are set."""
        return sum(timer.callback is not None for _, _, timer in self._timers)

    def _next_moment(self) -> float | None:
        while self._timers and self._timers[0][2].callback is None:
            heapq.heappop(self._timers)
        return self._timers[0][0] if self._timers else None

    def _run_due(self) -> None:
        """Run the timers of this moment; those they set for the same moment come in the next round."""
        due = []
        while self._timers and self._timers[0][0] <= self._now:
            due.append(heapq.heappop(self._timers)[2])
        for timer in due:
            callback, timer.callback = timer.callback, None
            if callback is not None:
                callback()
