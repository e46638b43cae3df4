"""Suspects run alone. The broker's delivery count is a suspicion, not a verdict: a crash raises it for every neighbour."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import Protocol

from brokerkit.clock import Clock
from brokerkit.errors import BrokerkitError
from brokerkit.handlers import Handler
from brokerkit.outcome import Reason
from brokerkit.transport import Delivery, StartMark, Subscription
from brokerkit.worker.slots import Slots

_log = logging.getLogger("brokerkit.worker")

SUSPECT_DELIVERIES = 3
"""From this delivery on a message runs in the quarantine slot."""


class Refuse(Protocol):
    """Dead-letters a delivery that is not run."""

    def __call__(self, delivery: Delivery, reason: Reason, text: str) -> None: ...


class Quarantine:
    """One slot for suspects: a durable start mark, then the run; ``max_deliveries`` marks are the limit.

    Only a message that was running here, alone, when its worker died gathers marks, so its neighbours are never
    condemned with it.

    Args:
        subscription: What writes the marks.
        slots: What runs.
        clock: Supplies the time.
        handler_of: Finds the handler of a delivery.
        limit_of: The crash limit of a delivery.
        refuse: Dead-letters a delivery.
    """

    def __init__(
        self,
        subscription: Subscription,
        slots: Slots,
        clock: Clock,
        *,
        handler_of: Callable[[Delivery], Handler | None],
        limit_of: Callable[[Delivery], int],
        refuse: Refuse,
    ) -> None:
        self._subscription = subscription
        self._slots = slots
        self._clock = clock
        self._handler_of = handler_of
        self._limit_of = limit_of
        self._refuse = refuse
        self._suspects: deque[Delivery] = deque()
        self._wake = asyncio.Event()
        self._stopped = False

    @property
    def waiting(self) -> int:
        """Suspects that wait for the slot."""
        return len(self._suspects)

    def add(self, delivery: Delivery) -> None:
        """Let a suspect wait for the slot."""
        self._suspects.append(delivery)
        self._wake.set()

    def drain(self) -> list[Delivery]:
        """Start nothing more; returns the waiting suspects, for handing them back."""
        self._stopped = True
        suspects = list(self._suspects)
        self._suspects.clear()
        return suspects

    async def run(self) -> None:
        """Run suspects one by one until cancelled."""
        while True:
            while not self._suspects:
                self._wake.clear()
                await self._wake.wait()
            await self._examine(self._suspects.popleft())

    async def _examine(self, delivery: Delivery) -> None:
        if delivery.lost or self._stopped:
            return  # one taken out just before the drain is released when the subscription closes
        if (delivery.lane.source, delivery.message.id) in self._slots.running:
            self._suspects.append(delivery)  # another copy of it runs; look again when that may have ended
            await self._clock.sleep(0.1)
            return
        starts, limit = delivery.starts - delivery.marked, self._limit_of(delivery)
        if starts >= limit:
            text = f"its worker died each of the {starts} times it ran alone; max_deliveries is {limit}"
            self._refuse(delivery, Reason.CRASH_LOOP, text)
            return
        handler = self._handler_of(delivery)
        if handler is None:
            self._refuse(delivery, Reason.UNKNOWN_TASK, f"nobody here takes {delivery.message.name[:200]!r}")
        elif (delivery.marked or await self._mark(delivery)) and not self._stopped:
            execution = self._slots.start(delivery, handler, alone=True)
            assert execution.done is not None
            await execution.done

    async def _mark(self, delivery: Delivery) -> bool:
        """Write the start mark; False when the delivery is no longer ours to run."""
        pause = 0.05
        while not delivery.lost:
            try:
                (answer,) = await self._subscription.mark_start([delivery])
                return answer is StartMark.MARKED
            except BrokerkitError as error:
                _log.warning("a start mark could not be written, trying again in %.2g s: %s", pause, error)
                await self._clock.sleep(pause)
                pause = min(5.0, pause * 2)
        return False
