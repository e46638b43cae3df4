"""Deadlines of running attempts: one timer for all of them.

At most ``concurrency`` attempts run, so one timer set for the earliest deadline and a scan when it fires cost nothing
per message; a heap would keep an entry for every message of the last timeout's length.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from brokerkit.clock import Clock, Timer

if TYPE_CHECKING:
    from brokerkit.worker.slots import Execution


class Deadlines:
    """Watches what runs.

    Args:
        clock: Supplies the time and the timer.
        running: What runs now.
        overdue: Called for each attempt whose deadline has passed.
    """

    def __init__(self, clock: Clock, running: Mapping[Any, Execution], overdue: Callable[[Execution], None]) -> None:
        self._clock = clock
        self._running = running
        self._overdue = overdue
        self._timer: Timer | None = None
        self._next = float("inf")

    def watch(self, deadline: float) -> None:
        """Make sure that the timer fires by then."""
        if deadline < self._next:
            self.close()
            self._next = deadline
            self._timer = self._clock.call_later(max(0.0, deadline - self._clock.monotonic()), self._fire)

    def close(self) -> None:
        """Forget the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._next = float("inf")

    def _fire(self) -> None:
        self._timer, self._next = None, float("inf")
        now = self._clock.monotonic()
        earliest = float("inf")
        for execution in tuple(self._running.values()):
            if execution.deadline is None or execution.stop is not None:
                continue
            if execution.deadline <= now:
                self._overdue(execution)
            else:
                earliest = min(earliest, execution.deadline)
        if earliest < float("inf"):
            self.watch(earliest)
