"""What one consumer holds of its sources."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from brokerkit.delivery import Delivery, Lane, Source
from brokerkit.errors import ConnectionLost
from brokerkit.outcome import Ack, Outcome
from brokerkit.transport import Settled, StartMark
from brokerkit.transports.memory.broker import MemoryBroker
from brokerkit.transports.memory.entry import Entry
from brokerkit.transports.memory.queues import MemoryQueue
from brokerkit.transports.memory.settling import settle

TURN = 256
"""Deliveries after which the event loop gets a turn even if more are there."""


class MemorySubscription:
    """A ``Subscription``.

    Args:
        broker: Where the sources are.
        sources: What to consume.
    """

    def __init__(self, broker: MemoryBroker, sources: Sequence[Source]) -> None:
        self._broker = broker
        self._queues = [broker.queue(source.key) for source in sources]
        self._reads: list[tuple[Lane, MemoryQueue]] = [
            (lane, queue) for queue in self._queues for lane in reversed(queue.lanes)
        ]
        self._held: dict[Entry, Delivery] = {}
        self._limit: Mapping[Lane, int] = {}
        self._waiter: asyncio.Future[None] | None = None
        self._paused = self._closed = self._dead = False
        self._turn = 0
        for queue in self._queues:
            queue.join(self)

    # Receiving

    async def receive(self, limit: Mapping[Lane, int], most: Mapping[str, int] | None = None) -> list[Delivery]:
        if self._turn > TURN:
            self._turn = 0
            await asyncio.sleep(0)
        while not self._paused and not self._closed:
            found = self._take(limit, dict(most) if most else {})
            if found:
                self._turn += len(found)
                return found
            await self._wait(limit)
        if self._dead:
            raise ConnectionLost("the connection to the memory broker was abandoned")
        return []

    def _take(self, limit: Mapping[Lane, int], left: dict[str, int]) -> list[Delivery]:
        found: list[Delivery] = []
        now = self._broker.clock.now()
        for lane, queue in self._reads:
            count = limit.get(lane, 0)
            if left:
                count = min(count, left.get(lane.source, count))
            if count > 0 and queue.ready(lane.level) and queue.serves(self):
                before = len(found)
                queue.take(lane, count, now, self._held, found)
                if lane.source in left:
                    left[lane.source] -= len(found) - before
        return found

    async def _wait(self, limit: Mapping[Lane, int]) -> None:
        self._limit = limit
        self._waiter = asyncio.get_running_loop().create_future()
        for queue in self._queues:
            queue.waiters[self] = None
        try:
            await self._waiter
        except asyncio.CancelledError:
            self._stop_waiting()
            self._pass_on(limit)
            raise
        self._stop_waiting()
        if self._paused or self._closed:
            self._pass_on(limit)

    def _stop_waiting(self) -> None:
        self._waiter = None
        for queue in self._queues:
            queue.waiters.pop(self, None)

    def _pass_on(self, limit: Mapping[Lane, int]) -> None:
        """Whoever woke this subscription counted on it to take the message."""
        for queue in self._queues:
            queue.offer(limit)

    def wake_for(self, lane: Lane) -> bool:
        if self._waiter is None or self._waiter.done() or not self._limit.get(lane):
            return False
        self._waiter.set_result(None)
        return True

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # Settling

    async def settle(self, outcomes: Sequence[tuple[Delivery, Outcome]]) -> Sequence[Settled]:
        now = self._broker.clock.now()
        queues, held = self._broker.queues, self._held
        answers: list[Settled] = []
        for delivery, outcome in outcomes:
            entry: Entry = delivery.token
            if held.get(entry) is not delivery:
                answers.append(Settled.LOST)
            elif type(outcome) is Ack:
                del held[entry]
                queues[entry.queue].finish(entry)
                answers.append(Settled.DONE)
            else:
                answers.append(self._settle(delivery, outcome, now))
        return answers

    def _settle(self, delivery: Delivery, outcome: Outcome, now: float) -> Settled:
        answer = settle(self._broker, delivery, outcome, now)
        if answer is Settled.DONE:
            del self._held[delivery.token]
        return answer

    async def mark_start(self, deliveries: Sequence[Delivery]) -> Sequence[StartMark]:
        return [self._mark(delivery) for delivery in deliveries]

    def _mark(self, delivery: Delivery) -> StartMark:
        if not self.holds(delivery):
            return StartMark.LOST
        entry: Entry = delivery.token
        entry.starts += 1
        delivery.starts = entry.starts
        delivery.marked = True
        return StartMark.MARKED

    def holds(self, delivery: Delivery) -> bool:
        return self._held.get(delivery.token) is delivery

    def forget(self, delivery: Delivery) -> None:
        """Its outcome has been carried out elsewhere."""
        del self._held[delivery.token]

    # Pausing and ending

    async def pause(self) -> None:
        if not self._paused and not self._closed:
            self._paused = True
            self._leave()

    async def resume(self) -> None:
        if self._paused and not self._closed:
            self._paused = False
            for queue in self._queues:
                queue.join(self)

    def close(self) -> None:
        """End in order: what is held goes back as if it had not been delivered."""
        if not self._closed:
            self._closed = True
            self._give_back(counted=False)
            self._leave()

    def abandon(self) -> None:
        """End as a killed process does."""
        if not self._closed:
            self._closed = self._dead = True
            self._give_back(counted=True)
            self._leave()

    def disconnect(self) -> None:
        """Lose what is held, as by a connection that breaks and is restored at once."""
        self._give_back(counted=True)

    def _leave(self) -> None:
        for queue in self._queues:
            queue.leave(self)
        self._wake()

    def _give_back(self, *, counted: bool) -> None:
        held, self._held = self._held, {}
        for entry, delivery in held.items():
            if not counted:
                entry.deliveries -= 1
                entry.starts -= delivery.marked
            self._broker.queues[entry.queue].give_back(entry)
        for delivery in held.values():
            delivery.lose()
