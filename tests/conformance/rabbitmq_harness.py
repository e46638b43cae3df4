"""RabbitMQ as a broker under test: shared with others, so every name is used once and everything is deleted after."""

from __future__ import annotations

import asyncio
import math
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import count
from typing import Self

import aiormq
import msgspec
import pytest
from pamqp.commands import Basic

from brokerkit.clock import Clock, SystemClock
from brokerkit.store import Store
from brokerkit.topology import QueueType, Topology
from brokerkit.transport import Published, Transport
from brokerkit.transports.rabbitmq import RabbitmqTransport
from brokerkit.transports.rabbitmq.broker import RabbitmqBroker
from brokerkit.transports.rabbitmq.compile import compile_topology
from brokerkit.transports.rabbitmq.counting import stats
from brokerkit.transports.rabbitmq.plan import Named
from brokerkit.transports.rabbitmq.publishing import Prepared
from tests.brokers import broker_url

_ON_THE_WAY = 0.3
"""Seconds that a message may be between two places."""
_SETTLES = 0.05


class MillisecondClock(SystemClock):
    """The machine's, in whole milliseconds: all that travels in a message over RabbitMQ."""

    def now(self) -> float:
        return math.floor(time.time() * 1000) / 1000


class RabbitHarness:
    """One edition of RabbitMQ and one configuration of what is declared on it.

    Args:
        edition: As in ``tests/brokers.py``.
        kind: The type of every queue.
        prefetch: The most that one consumer lets the broker push.
    """

    short = True
    step = 0.5
    quiet = 0.15
    patience = 10.0

    def __init__(self, edition: str, *, kind: QueueType = "quorum", prefetch: int = 2000) -> None:
        self.clock: Clock = MillisecondClock()
        self.declared: set[Named] = set()
        self.url = broker_url(edition)
        self.kind = kind
        self._prefetch = prefetch
        self._run = uuid.uuid4().hex[:8]
        self._numbers = count(1)
        self._transports: list[Tracked] = []
        self.parked: list[float] = []

    def connect(self) -> RabbitmqTransport:
        transport = Tracked(self, prefetch=self._prefetch)
        self._transports.append(transport)
        return transport

    async def crash(self, transport: Transport) -> None:
        assert isinstance(transport, RabbitmqTransport)
        await transport.abandon()

    async def lose(self, transport: Transport) -> None:
        assert isinstance(transport, RabbitmqTransport)
        await transport.disconnect()

    async def advance(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def name(self, stem: str) -> str:
        return f"{stem}-{self._run}-{next(self._numbers)}"

    def store(self, transport: Transport) -> Store:
        raise AssertionError("RabbitMQ keeps no records")

    async def inject(self, queue: str, body: bytes) -> None:
        connection = await aiormq.connect(self.url)
        try:
            channel = await connection.channel()
            damaged = Basic.Properties(headers={"bk-id": "damaged", "bk-attempt": "not a number"})
            await channel.basic_publish(body, routing_key=queue, properties=damaged)
        finally:
            await connection.close()

    async def unsettled(self, queue: str) -> int:
        """What waits at the broker, is held by any of ours, or is on its way over the delay ladder."""
        before, found = -1, await self._count(queue)
        while found != before:  # what somebody lost or released may be between here and there
            await asyncio.sleep(_SETTLES if found else _ON_THE_WAY)
            before, found = found, await self._count(queue)
        return found

    async def _count(self, queue: str) -> int:
        brokers = [broker for transport in self._transports if (broker := transport.broker) is not None]
        source = await brokers[0].source(queue)
        ready = (await stats(brokers[0], source)).ready or 0
        held = sum(
            lane.unsettled
            for broker in brokers
            for subscription in broker.subscriptions
            for lane in subscription.lanes
            if lane.lane.source == queue
        )
        delayed = sum(until > self.clock.now() for until in self.parked)
        return ready - sum(map(brokers[0].waiting_here, source.lanes)) + held + delayed

    async def clean(self) -> None:
        """Delete what was declared; what all apps share stays."""
        if not self.declared:
            return
        connection = await aiormq.connect(self.url)
        try:
            channel = await connection.channel()
            for kind, name in self.declared:
                if kind == "queue":
                    await channel.queue_delete(name)
                else:
                    await channel.exchange_delete(name)
        finally:
            await connection.close()


class Tracked(RabbitmqTransport):
    """Notes what it declares, and what it delays."""

    def __init__(self, harness: RabbitHarness, *, prefetch: int) -> None:
        super().__init__(harness.url, clock=harness.clock, prefetch=prefetch)
        self._harness = harness
        self._patches = pytest.MonkeyPatch()

    @property
    def broker(self) -> RabbitmqBroker | None:
        return self._open

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        publisher = self._broker.publisher
        publish = publisher.publish

        async def noted(items: Sequence[Prepared], *, deadline: float) -> list[Published]:
            delayed = [item for item in items if item.exchange.startswith(("bk.d.", "bk.slot."))]
            self._harness.parked += [int(item.extra["bk-ts"] or 0) / 1000 + _ON_THE_WAY for item in delayed]
            return await publish(items, deadline=deadline)

        self._patches.setattr(publisher, "publish", noted)
        return self

    async def apply(self, topology: Topology) -> None:
        queues = tuple(msgspec.structs.replace(queue, type=self._harness.kind) for queue in topology.queues)
        topology = msgspec.structs.replace(topology, queues=queues)
        self._harness.declared.update(compile_topology(topology, (3, 10)).objects())
        await super().apply(topology)


@asynccontextmanager
async def rabbit(edition: str, *, kind: QueueType = "quorum", prefetch: int = 2000) -> AsyncIterator[RabbitHarness]:
    """A harness for one scenario."""
    harness = RabbitHarness(edition, kind=kind, prefetch=prefetch)
    try:
        yield harness
    finally:
        await harness.clean()
