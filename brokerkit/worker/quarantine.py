"""Suspects run alone: a broker's delivery count is a suspicion, since a crash raises it for every neighbour."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence

from brokerkit.clock import Clock
from brokerkit.delivery import Delivery
from brokerkit.handlers.handler import Handler, SourceHandlers
from brokerkit.insisting import insist
from brokerkit.outcome import Reason
from brokerkit.transport import StartMark, Subscription
from brokerkit.worker.decision import RELEASED, refused
from brokerkit.worker.finished import Finished, unstarted
from brokerkit.worker.slots import Slots

SUSPECT_DELIVERIES = 3
"""From this delivery on a message runs in the quarantine slot."""


RETURNS_WITHIN = 2.0
"""Seconds that the copy which carries a mark gets to come back here; after that another worker has it."""


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
        room_changed: Called when a suspect has gone.
    """

    def __init__(
        self,
        subscription: Subscription,
        slots: Slots,
        clock: Clock,
        *,
        handlers: Mapping[str, SourceHandlers],
        finish: Callable[[Finished], None],
        room_changed: Callable[[], None],
    ) -> None:
        self._subscription = subscription
        self._slots = slots
        self._clock = clock
        self._handlers = handlers
        self._finish = finish
        self._room_changed = room_changed
        self._suspects: deque[Delivery] = deque()
        self._wake = asyncio.Event()
        self._stopped = False
        self._moved_until = 0.0

    @property
    def waiting(self) -> int:
        """Suspects that wait for the slot."""
        return len(self._suspects)

    def add(self, delivery: Delivery) -> None:
        """Let a suspect wait for the slot."""
        self._suspects.append(delivery)
        self._wake.set()

    def remove(self, message_id: str, run: int) -> list[Delivery]:
        """Take out what waits of one message."""
        found = [each for each in self._suspects if each.message.id == message_id and each.message.run == run]
        for delivery in found:
            self._suspects.remove(delivery)
        return found

    def drain(self) -> list[Delivery]:
        """Start nothing more; returns the waiting suspects, for handing them back."""
        self._stopped = True
        suspects = list(self._suspects)
        self._suspects.clear()
        return suspects

    async def run(self) -> None:
        """Run suspects one by one until cancelled."""
        while True:
            await self._examine(await self._next())
            self._room_changed()

    async def _next(self) -> Delivery:
        """The next suspect: one that is marked if there is one.

        While the copy that a mark has moved to is on its way, no other is marked: if this worker died, the copies that
        wait here would have gathered marks for runs that were not.
        """
        while True:
            marked = next((each for each in self._suspects if each.marked), None)
            if marked is not None:
                self._suspects.remove(marked)
                self._moved_until = 0.0
                return marked
            left = self._moved_until - self._clock.monotonic()
            if self._suspects and left <= 0:
                return self._suspects.popleft()
            self._wake.clear()
            timer = self._clock.call_later(left, self._wake.set) if left > 0 else None
            try:
                await self._wake.wait()
            finally:
                if timer is not None:
                    timer.cancel()

    async def _examine(self, delivery: Delivery) -> None:
        if delivery.lost or self._stopped:
            self._hand_back(delivery)
            return
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
        elif delivery.marked or await self._mark(delivery):
            await self._run(delivery, handler)

    async def _run(self, delivery: Delivery, handler: Handler) -> None:
        """Run a suspect in a task of its own, since a handler may cancel the task it runs in."""

        async def run() -> None:
            task = asyncio.current_task()
            assert task is not None
            await self._slots.run(delivery, handler, task)

        if self._stopped:
            self._hand_back(delivery)
            return
        async with asyncio.TaskGroup() as alone:
            alone.create_task(run())

    def _hand_back(self, delivery: Delivery) -> None:
        self._finish(unstarted(delivery, RELEASED, None, self._clock.now()))

    def _refuse(self, delivery: Delivery, handler: Handler | None, reason: Reason, text: str) -> None:
        self._finish(unstarted(delivery, refused(reason, text), handler, self._clock.now()))

    async def _mark(self, delivery: Delivery) -> bool:
        """Write the start mark; False when the delivery is no longer ours to run."""

        async def mark() -> Sequence[StartMark]:
            return (StartMark.LOST,) if delivery.lost else await self._subscription.mark_start([delivery])

        (answer,) = await insist(mark, self._clock, "a start mark could not be written")
        if answer is StartMark.MOVED:
            self._moved_until = self._clock.monotonic() + RETURNS_WITHIN
        return answer is StartMark.MARKED
