"""Whatever happens in whatever order, every message is in exactly one place, and lanes keep their order."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from brokerkit.abilities import Redriven
from brokerkit.delivery import Delivery, Lane, QueueSource
from brokerkit.message import Message, Outgoing
from brokerkit.outcome import ACK, RELEASE, DeadLetter, Outcome, Reason, Redeliver
from brokerkit.testing import VirtualClock
from brokerkit.topology import Queue, Topology
from brokerkit.transport import Settled, Subscription
from brokerkit.transports.memory import MemoryBroker, MemoryTransport

OUTCOMES: tuple[Outcome, ...] = (
    ACK,
    RELEASE,
    Redeliver(0, 2),
    Redeliver(5, 2),
    DeadLetter(Reason.FAILED),
)
LANES = [Lane("q", level) for level in range(3)]

STEPS = st.one_of(
    st.tuples(st.just("publish"), st.integers(0, 9), st.sampled_from([0, 3])),
    st.tuples(st.just("receive"), st.integers(1, 4), st.integers(0, 2)),
    st.tuples(st.just("settle"), st.integers(0, 9), st.integers(0, len(OUTCOMES) - 1)),
    st.tuples(st.just("cancel"), st.integers(0, 30), st.just(0)),
    st.tuples(st.just("disconnect"), st.just(0), st.just(0)),
    st.tuples(st.just("redrive"), st.just(0), st.just(0)),
    st.tuples(st.just("advance"), st.integers(1, 6), st.just(0)),
)


@dataclass
class Run:
    """The broker beside the simplest account of it."""

    clock: VirtualClock
    transport: MemoryTransport
    subscription: Subscription
    alive: set[str] = field(default_factory=set)
    dead: set[str] = field(default_factory=set)
    held: list[Delivery] = field(default_factory=list)
    sent: int = 0

    async def publish(self, priority: int, delay: int) -> None:
        self.sent += 1
        due = self.clock.now() + delay if delay else None
        message = Message(id=str(self.sent), name="n", body=b"", priority=priority, due=due)
        await self.transport.publish([Outgoing(message, "", "q")], deadline=1)
        self.alive.add(message.id)

    async def receive(self, count: int, level: int) -> None:
        stats = await self.transport.stats("q")
        lane = LANES[level]
        if not stats.lanes[level].ready:
            return
        got = await self.subscription.receive({lane: count})
        assert len(got) == min(count, stats.lanes[level].ready or 0)
        seqs = [delivery.token.seq for delivery in got]
        assert seqs == sorted(seqs), "a lane is delivered in its order"
        self.held += got

    async def settle(self, which: int, outcome: int) -> None:
        if not self.held:
            return
        delivery = self.held.pop(which % len(self.held))
        [answer] = await self.subscription.settle([(delivery, OUTCOMES[outcome])])
        assert answer is (Settled.LOST if delivery.lost else Settled.DONE)
        if answer is Settled.DONE and OUTCOMES[outcome] in {ACK, DeadLetter(Reason.FAILED)}:
            self.alive.remove(delivery.message.id)
            self.dead |= {delivery.message.id} if OUTCOMES[outcome] is not ACK else set()

    async def cancel(self, number: int, _: int) -> None:
        holding = {delivery.message.id for delivery in self.held if not delivery.lost}
        answer = await self.transport.cancel(str(number))
        assert (answer.message is not None) == (str(number) in self.alive)
        assert answer.held == (str(number) in holding)
        if answer.message is not None and not answer.held:
            self.alive.remove(str(number))

    async def disconnect(self, _: int, __: int) -> None:
        self.transport.disconnect()
        assert all(delivery.lost for delivery in self.held)

    async def redrive(self, _: int, __: int) -> None:
        async with self.transport.dead_letters("q") as view:
            there = await view.next(1000)
            assert {entry.dead.message.id for entry in there} == self.dead
            assert await view.redrive(there) == [Redriven.DONE] * len(there)
        self.alive |= self.dead
        self.dead.clear()

    async def advance(self, seconds: int, _: int) -> None:
        await self.clock.advance(seconds)

    async def check(self) -> None:
        stats = await self.transport.stats("q")
        holding = sum(not delivery.lost for delivery in self.held)
        assert (stats.in_flight, stats.dead) == (holding, len(self.dead))
        assert (stats.ready or 0) + (stats.delayed or 0) + holding == len(self.alive)

    async def drain(self) -> None:
        """What is left comes, once."""
        self.transport.disconnect()
        await self.clock.advance(10)
        got = await self.subscription.receive(dict.fromkeys(LANES, 1000)) if self.alive else []
        assert sorted(delivery.message.id for delivery in got) == sorted(self.alive)


@given(st.lists(STEPS, max_size=60))
@settings(max_examples=200)
def test_every_message_is_in_exactly_one_place(steps: list[tuple[str, int, int]]) -> None:
    async def main() -> None:
        clock = VirtualClock()
        async with MemoryTransport(MemoryBroker(clock)) as transport:
            await transport.apply(Topology("app", queues=[Queue("q", priorities=3)]))
            async with transport.consume([QueueSource("q")]) as subscription:
                run = Run(clock, transport, subscription)
                for name, first, second in steps:
                    await getattr(run, name)(first, second)
                    await run.check()
                await run.drain()

    asyncio.run(main())
