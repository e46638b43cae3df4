"""Many deadlines behind one timer.

A timer set and cancelled for each message costs more than most of what the message needs: a deadline is mostly as far
away as the one before it, and mostly forgotten before it has come. So one timer is set for the earliest, and a look at
all that are left when it fires costs nothing per message.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Self

from brokerkit.clock import Clock, Timer

NEVER = float("inf")


class Alarm:
    """Rings for the earliest of many deadlines.

    Args:
        clock: Supplies the time, in which deadlines are given: ``Clock.monotonic``.
        ring: Called when the earliest has passed, with the time; returns the earliest of those left, or ``NEVER``.
    """

    def __init__(self, clock: Clock, ring: Callable[[float], float]) -> None:
        self._clock, self._ring = clock, ring
        self._timer: Timer | None = None
        self._next = NEVER

    def by(self, deadline: float) -> None:
        """Make sure that it rings by then."""
        if deadline < self._next:
            self.close()
            self._next = deadline
            self._timer = self._clock.call_later(max(0.0, deadline - self._clock.monotonic()), self._fire)

    def close(self) -> None:
        """Forget the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._next = NEVER

    def _fire(self) -> None:
        self._timer, self._next = None, NEVER
        self.by(self._ring(self._clock.monotonic()))


class TimeLimits:
    """Limits what tasks of one event loop await, as ``asyncio.timeout`` does, at a quarter of its price.

    Args:
        clock: Supplies the time.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._alarm = Alarm(clock, self._overdue)
        self.open: dict[TimeLimit, None] = {}

    def within(self, seconds: float | None) -> TimeLimit:
        """``with limits.within(10.0): await …`` raises ``TimeoutError`` when that takes longer; None for no limit."""
        if seconds is None:
            return TimeLimit(self, NEVER)
        deadline = self._clock.monotonic() + seconds
        self._alarm.by(deadline)
        return TimeLimit(self, deadline)

    def _overdue(self, now: float) -> float:
        earliest = NEVER
        for limit in tuple(self.open):
            if limit.deadline <= now:
                limit.end()
            else:
                earliest = min(earliest, limit.deadline)
        return earliest


class TimeLimit:
    """See ``TimeLimits.within``; entered once."""

    __slots__ = ("_all", "_cancelling", "_ended", "_task", "deadline")

    def __init__(self, limits: TimeLimits, deadline: float) -> None:
        self._all, self.deadline = limits.open, deadline
        self._task: asyncio.Task[object] | None = None
        self._cancelling = 0
        self._ended = False

    def __enter__(self) -> Self:
        task = self._task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a time limit is for what a task awaits")
        self._cancelling = task.cancelling()
        self._all[self] = None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if not self._ended:
            del self._all[self]
        # The cancellation is ours unless somebody else has asked for one as well.
        elif self._task is not None and self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def end(self) -> None:
        """Its time is over."""
        del self._all[self]
        if self._task is not None:
            self._ended = True
            self._task.cancel()
