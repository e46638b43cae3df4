"""What most scenarios begin with: a connected transport, a queue, somebody who reads it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from brokerkit.abilities import DeadEntry, DeadLetters, DeadLetterView, DeadMessage, Redriven
from brokerkit.delivery import Delivery, Lane, QueueSource, Source
from brokerkit.message import Message, Outgoing
from brokerkit.outcome import ACK, Outcome
from brokerkit.records import TaskRecord, TaskStatus
from brokerkit.testing.conformance.harness import Harness
from brokerkit.topology import Queue, Topology
from brokerkit.transport import Published, Settled, Subscription, Transport

DEADLINE = 10.0
"""Seconds a publish may take."""


class Reader:
    """Somebody who consumes one source.

    Args:
        harness: For its patience.
        subscription: What to read from.
        source: The source.
        lanes: How many lanes it has.
    """

    def __init__(self, harness: Harness, subscription: Subscription, source: Source, lanes: int = 1) -> None:
        self.harness = harness
        self.subscription = subscription
        self.lanes = [Lane(source.key, level) for level in range(lanes)]

    async def get(self, count: int = 1) -> list[Delivery]:
        """Exactly so many deliveries, in the order of their arrival."""
        found: list[Delivery] = []
        try:
            async with asyncio.timeout(self.harness.patience):
                while len(found) < count:
                    found += await self.subscription.receive(self.limit(count - len(found)))
        except TimeoutError:
            raise AssertionError(f"{count} deliveries expected, only {ids(found)} came") from None
        assert len(found) == count, f"{count} deliveries expected, {ids(found)} came"
        return found

    async def one(self) -> Delivery:
        return (await self.get())[0]

    async def nothing(self, why: str) -> None:
        """Assert that nothing is delivered now."""
        found = await self.whatever()
        assert not found, f"{why}, but {ids(found)} came"

    async def whatever(self, count: int = 100) -> list[Delivery]:
        """What is delivered until it is quiet."""
        found: list[Delivery] = []
        while got := await self._until_quiet(self.limit(count)):
            found += got
        return found

    def limit(self, count: int) -> dict[Lane, int]:
        """So many of each lane."""
        return dict.fromkeys(self.lanes, count)

    async def _until_quiet(self, limit: dict[Lane, int]) -> list[Delivery]:
        async with asyncio.TaskGroup() as group:
            receiving = group.create_task(self.subscription.receive(limit))
            await self.harness.advance(self.harness.quiet)
            receiving.cancel()
        return [] if receiving.cancelled() else receiving.result()

    async def settle(self, outcome: Outcome, *deliveries: Delivery, want: Settled = Settled.DONE) -> None:
        """Settle all with the same outcome, and expect the same answer for all."""
        answers = await self.subscription.settle([(delivery, outcome) for delivery in deliveries])
        assert list(answers) == [want] * len(deliveries), f"{outcome} answered {answers}, not {want} for each"

    async def drain(self, count: int) -> list[Delivery]:
        """Get and acknowledge so many."""
        deliveries = await self.get(count)
        await self.settle(ACK, *deliveries)
        return deliveries


class Bench:
    """A connected transport and a queue of its own.

    Args:
        harness: The harness.
        transport: The transport, entered.
        queue: The queue, applied.
    """

    def __init__(self, harness: Harness, transport: Transport, queue: Queue) -> None:
        self.harness = harness
        self.transport = transport
        self.queue = queue

    @property
    def now(self) -> float:
        return self.harness.clock.now()

    def message(self, **fields: Any) -> Message:
        return message(self.harness, **fields)

    async def send(self, *messages: Message) -> None:
        """Publish straight to the queue, confirmed."""
        answers = await self.publish([Outgoing(each, "", self.queue.name) for each in messages])
        assert answers == [Published.CONFIRMED] * len(messages), f"publishing answered {answers}"

    async def send_some(self, count: int, **fields: Any) -> list[Message]:
        messages = [self.message(**fields) for _ in range(count)]
        await self.send(*messages)
        return messages

    async def publish(self, messages: Sequence[Outgoing]) -> list[Published]:
        return list(await self.transport.publish(messages, deadline=DEADLINE))

    async def publish_one(self, each: Message, exchange: str, key: str) -> Published:
        return (await self.publish([Outgoing(each, exchange, key)]))[0]

    @asynccontextmanager
    async def reader(
        self, source: Source | None = None, *, transport: Transport | None = None, lanes: int | None = None
    ) -> AsyncIterator[Reader]:
        """Consume a source, by default the queue with all its lanes."""
        lanes = lanes or (self.queue.lanes if source is None else 1)
        source = source or QueueSource(self.queue.name)
        async with (transport or self.transport).consume([source]) as subscription:
            yield Reader(self.harness, subscription, source, lanes)


@asynccontextmanager
async def bench(harness: Harness, **options: Any) -> AsyncIterator[Bench]:
    """Connect, and apply one queue with these options."""
    queue = Queue(harness.name("queue"), **options)
    async with harness.connect() as transport:
        await transport.apply(Topology(harness.name("app"), queues=[queue]))
        yield Bench(harness, transport, queue)


def message(harness: Harness, **fields: Any) -> Message:
    """A message with an id of its own."""
    plain = {"id": harness.name("m"), "name": "scenario", "body": b"\x80", "created": harness.clock.now()}
    return Message(**{**plain, **fields})


def record(each: Message, queue: str, status: TaskStatus = TaskStatus.PENDING, **fields: Any) -> TaskRecord:
    """A report on a message."""
    return TaskRecord(id=each.id, name=each.name, queue=queue, status=status, created=each.created, **fields)


def looking(transport: Transport, source: str, **which: Any) -> AbstractAsyncContextManager[DeadLetterView]:
    """Look into the dead letters of a source; for scenarios that need ``redrive``."""
    assert isinstance(transport, DeadLetters), "redrive is declared, but the transport is no DeadLetters"
    return transport.dead_letters(source, **which)


async def seen(view: DeadLetterView) -> list[DeadEntry]:
    """All that a look shows, some at a time."""
    found: list[DeadEntry] = []
    while part := await view.next(3):
        assert len(part) <= 3, f"3 entries were asked for, {len(part)} came"
        found += part
    return found


async def dead_letters(transport: Transport, source: str, **which: Any) -> list[DeadMessage]:
    """What is dead, in a look of its own."""
    async with looking(transport, source, **which) as view:
        return [entry.dead for entry in await seen(view)]


async def redrive(transport: Transport, source: str, *chosen: str) -> list[str]:
    """Send the chosen, or all, back; their ids."""
    async with looking(transport, source, ids=chosen or None) as view:
        there = await seen(view)
        answers = await view.redrive(there)
        assert len(answers) == len(there), "an answer per entry"
        done = zip(there, answers, strict=True)
        return [entry.dead.message.id for entry, answer in done if answer is Redriven.DONE]


async def purge(transport: Transport, source: str, *chosen: str) -> int:
    """Delete the chosen, or all; how many."""
    async with looking(transport, source, ids=chosen or None) as view:
        return await view.purge([entry.token for entry in await seen(view)])


def ids(deliveries: Sequence[Delivery]) -> list[str]:
    return [delivery.message.id for delivery in deliveries]


def ids_of(messages: Sequence[Message]) -> list[str]:
    return [each.id for each in messages]
