"""Looking into the store for outcomes: all that are waited for in batches, whoever waits."""

from __future__ import annotations

import asyncio
import heapq
import logging
from itertools import count

from brokerkit.client.waiting import Waiter, WaitSet
from brokerkit.clock import Clock
from brokerkit.errors import BrokerkitError
from brokerkit.insisting import answered
from brokerkit.store import Store

_log = logging.getLogger("brokerkit")

FIRST_LOOK, LONGEST_LOOK = 0.25, 2.0
"""Seconds between two looks for one task: the first time, and at most. A reply may be lost; the store has the outcome
all the same."""
AT_ONCE = 250
"""Records of one look."""
BREATH = 0.025
"""Seconds after a full look that found nobody ended, less the more had: however many are waited for, the store is asked
in vain for no more than 10 000 records a second."""


class Looker:
    """Looks up tasks that are waited for until they have ended. One task, and one timer, for all.

    Args:
        store: The store of records.
        clock: Supplies the time.

    Attributes:
        trouble: Why the store did not answer the last time, or None.
    """

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._plan: list[_Planned] = []
        self._next = count().__next__
        self._sooner = asyncio.Event()
        self.trouble: BrokerkitError | None = None

    def add(self, waits: WaitSet, after: float) -> None:
        """Look for these, the first time after so many seconds."""
        due = self._clock.monotonic() + after
        if not self._plan or due < self._plan[0][0]:
            self._sooner.set()
        waits.turn = self._next()
        heapq.heappush(self._plan, (due, waits.turn, waits))

    def look_last(self, waits: WaitSet) -> None:
        """Look for these now, and finish them then."""
        waits.last = True
        waits.unseen = []
        self.add(waits, 0.0)

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await self._until_due()
            batch, rounds = self._due()
            ended = await self._look(batch) if batch else 0
            for planned in rounds:
                self._end_round(planned)
            if len(batch) == AT_ONCE:
                hurry = bool(self._plan) and self._plan[0][2].last
                await self._clock.sleep(0.0 if hurry else BREATH * (1 - ended / AT_ONCE))

    async def _until_due(self) -> None:
        while True:
            while self._plan and _is_void(self._plan[0]):
                heapq.heappop(self._plan)
            wait = self._plan[0][0] - self._clock.monotonic() if self._plan else None
            if wait is not None and wait <= 0:
                return
            self._sooner.clear()
            timer = self._clock.call_later(wait, self._sooner.set) if wait is not None else None
            try:
                await self._sooner.wait()
            finally:
                if timer is not None:
                    timer.cancel()

    def _due(self) -> tuple[list[Waiter], list[_Planned]]:
        """Whom to look up now, and whose rounds end with that."""
        batch: list[Waiter] = []
        rounds: list[_Planned] = []
        now = self._clock.monotonic()
        while self._plan and self._plan[0][0] <= now and len(batch) < AT_ONCE:
            planned = heapq.heappop(self._plan)
            waits = planned[2]
            if _is_void(planned):
                continue
            _take(waits, batch)
            if waits.unseen:
                self.add(waits, 0.0)
            else:
                rounds.append(planned)
        return batch, rounds

    async def _look(self, batch: list[Waiter]) -> int:
        """Look them up; returns how many have ended."""
        try:
            records = await answered(self._store.get([waiter.id for waiter in batch]))
        except BrokerkitError as error:  # a reply may come all the same, and the store may come back
            if self.trouble is None:
                _log.warning("the store cannot be asked for results, and will be asked again: %s", error)
            self.trouble = error
            return 0
        self.trouble = None
        for waiter, record in zip(batch, records, strict=True):
            waiter.see(record)
        return sum(record is not None and record.status.terminal for record in records)

    def _end_round(self, planned: _Planned) -> None:
        waits = planned[2]
        if _is_void(planned):
            return
        if waits.last:
            waits.finish()
        else:
            waits.pause = min(LONGEST_LOOK, max(FIRST_LOOK, 2 * waits.pause))
            self.add(waits, waits.pause)


_Planned = tuple[float, int, WaitSet]


def _is_void(planned: _Planned) -> bool:
    """Nobody waits any more, or it has been planned anew."""
    _, turn, waits = planned
    return waits.closed or waits.turn != turn


def _take(waits: WaitSet, batch: list[Waiter]) -> None:
    """Add to a batch who is next of these, beginning a round where none has begun."""
    if not waits.unseen:
        waits.unseen = list(reversed(waits.pending.values()))
    while waits.unseen and len(batch) < AT_ONCE:
        waiter = waits.unseen.pop()
        if waiter.kept and waiter.id in waits.pending:
            batch.append(waiter)
