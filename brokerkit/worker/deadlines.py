"""Deadlines of running attempts. At most ``concurrency`` run, so that looking at all of them costs little; a heap would
keep an entry for every message of the last timeout's length."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from brokerkit.clock import Clock
from brokerkit.deadlines import NEVER, Alarm

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
        self._running = running
        self._overdue = overdue
        self._alarm = Alarm(clock, self._look)
        self.watch, self.close = self._alarm.by, self._alarm.close

    def _look(self, now: float) -> float:
        earliest = NEVER
        for execution in tuple(self._running.values()):
            if execution.deadline is None or execution.stop is not None:
                continue
            if execution.deadline <= now:
                self._overdue(execution)
            else:
                earliest = min(earliest, execution.deadline)
        return earliest
