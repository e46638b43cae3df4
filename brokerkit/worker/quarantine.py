"""Suspects run alone: a broker's delivery count is a suspicion, since a crash raises it for every neighbour."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Mapping

from brokerkit.clock import Clock
from brokerkit.delivery import Delivery
from brokerkit.errors import BrokerkitError
from brokerkit.handlers import Handler, SourceHandlers
from brokerkit.outcome import Reason
from brokerkit.transport import StartMark, Subscription
from brokerkit.worker.decision import refused
from brokerkit.worker.finished import Finished, unstarted
from brokerkit.worker.slots import Slots

_log = logging.getLogger("brokerkit.worker")

SUSPECT_DELIVERIES = 3
"""From this delivery on a message runs in the quarantine slot."""


class Quarantine:
    """One slot for suspects: a durable start mark, then the run; ``max_deliveries`` marks are the limit.

    Only a message that was running here, alone, when its worker died gathers marks, so its neighbours are never
    condemned with it.

    Args:
        subscription: What writes the marks.
        slots: What runs.
        clock: Supplies the time.
        handlers: By source key.
        finish: Takes deliveries that are not run.
    """

    def __init__(
        self,
        subscription: Subscription,
        slots: Slots,
        clock: Clock,
        *,
        handlers: Mapping[str, SourceHandlers],
        finish: Callable[[Finished], None],
    ) -> None:
        self._subscription = subscription
        self._slots = slots
        self._clock = clock
        self._handlers = handlers
        self._finish = finish
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
        task = asyncio.current_task()
        assert task is not None
        while not task.cancelling():  # a handler may have taken the cancellation of this task for its own
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
        source = self._handlers[delivery.lane.source]
        handler = source.find(delivery.message.name)
        limit = handler.max_deliveries if handler is not None else source.max_deliveries
        starts = delivery.starts - delivery.marked
        if starts >= limit:
            text = f"its worker died each of the {starts} times it ran alone; max_deliveries is {limit}"
            self._refuse(delivery, handler, Reason.CRASH_LOOP, text)
        elif handler is None:
            self._refuse(delivery, None, Reason.UNKNOWN_TASK, f"nobody here takes {delivery.message.name[:200]!r}")
        elif (delivery.marked or await self._mark(delivery)) and not self._stopped:
            task = asyncio.current_task()
            assert task is not None
            await self._slots.run(delivery, handler, task)

    def _refuse(self, delivery: Delivery, handler: Handler | None, reason: Reason, text: str) -> None:
        self._finish(unstarted(delivery, refused(reason, text), handler, self._clock.now()))

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
