"""Everything that waits for a moment, behind one timer of the clock."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import count

from brokerkit.clock import Clock, Timer
from brokerkit.transports.memory.entry import GONE, Entry

LONGEST_WAIT = 3600.0
"""Seconds between two looks at the clock, so that a step of the wall clock is noticed."""
PER_RING = 4096
"""Alarms handled before the event loop gets a turn."""

Callback = Callable[[Entry | None, float], None]


class Alarms:
    """Calls back when a time of the clock's ``now`` has come, never before it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._heap: list[tuple[float, int, Callback, Entry | None]] = []
        self._next = count().__next__
        self._timer: Timer | None = None
        self._armed_for = 0.0
        self._stale = 0

    def set(self, when: float, callback: Callback, entry: Entry | None = None) -> None:
        """Call ``callback(entry, now)`` at ``when``, unless the entry is gone by then."""
        heapq.heappush(self._heap, (when, self._next(), callback, entry))
        if self._timer is None or when < self._armed_for:
            self.arm()

    def forget_one(self) -> None:
        """An entry that had an alarm is gone; rebuild the heap when most of it is of that sort."""
        self._stale += 1
        if self._stale > 64 and 2 * self._stale > len(self._heap):
            self._heap = [item for item in self._heap if item[3] is None or item[3].state != GONE]
            heapq.heapify(self._heap)
            self._stale = 0

    def arm(self) -> None:
        """Set the timer for the first alarm."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._heap:
            when = self._heap[0][0]
            wait = min(max(when - self._clock.now(), 0.0), LONGEST_WAIT)
            self._armed_for = when
            self._timer = self._clock.call_later(wait, self._ring)

    def _ring(self) -> None:
        self._timer = None
        now = self._clock.now()
        for _ in range(PER_RING):
            if not self._heap or self._heap[0][0] > now:
                break
            _, _, callback, entry = heapq.heappop(self._heap)
            if entry is None or entry.state != GONE:
                callback(entry, now)
            elif self._stale:
                self._stale -= 1
        # A callback that set an alarm has armed the timer already.
        if self._timer is None:
            self.arm()
