"""RabbitMQ as a transport."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from typing import Self

import msgspec

from brokerkit.abilities import Signal
from brokerkit.checkup import Check
from brokerkit.clock import Clock, SystemClock
from brokerkit.delivery import Source
from brokerkit.errors import ConnectionLost
from brokerkit.ids import new_id
from brokerkit.message import Outgoing
from brokerkit.topology import Topology
from brokerkit.transport import INBOX_PREFIX, Capabilities, Published, QueueStats
from brokerkit.transports.rabbitmq import counting, signals
from brokerkit.transports.rabbitmq.broker import RabbitmqBroker
from brokerkit.transports.rabbitmq.checkup import checkup
from brokerkit.transports.rabbitmq.credit import MOST
from brokerkit.transports.rabbitmq.deadletters import RabbitmqDeadLetters
from brokerkit.transports.rabbitmq.dialect import RabbitmqDialect
from brokerkit.transports.rabbitmq.inbox import RabbitmqInbox
from brokerkit.transports.rabbitmq.planning.planner import RabbitmqPlanner
from brokerkit.transports.rabbitmq.publishing import Prepared
from brokerkit.transports.rabbitmq.signals import RabbitmqSignals
from brokerkit.transports.rabbitmq.subscription import RabbitmqSubscription
from brokerkit.transports.rabbitmq.url import parse

_SIGNALS_PREFIX = "bk.signals."
_REPLACED_WITHIN, _AGAIN = 5.0, 0.02
"""Seconds that a queue may be away while it is replaced, and between two tries to reach it."""


class RabbitmqTransport:
    """A ``Transport`` that is a ``DeadLetters`` and ``Signals``, too.

    Args:
        url: The broker: ``amqp://user:password@host:5672,other:5672/vhost?heartbeat=15``; see ``url.py``.
        clock: The time in messages. Default the machine's.
        prefetch: The most that one consumer lets the broker push; more is had by consuming anew. Default 2000.

    Raises:
        ConfigurationError: The URL is wrong.
    """

    def __init__(self, url: str, *, clock: Clock | None = None, prefetch: int = MOST) -> None:
        self._server = parse(url)
        self._clock = clock or SystemClock()
        self._prefetch = prefetch
        self._open: RabbitmqBroker | None = None

    async def __aenter__(self) -> Self:
        broker = RabbitmqBroker(self._server, self._clock, self._prefetch)
        await broker.open()
        self._open = broker
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        broker, self._open = self._open, None
        if broker is not None:
            await broker.close()

    async def abandon(self) -> None:
        """End as a killed process does: the sockets are cut, and what was held is ``lost`` here."""
        broker, self._open = self._open, None
        if broker is not None:
            await broker.abandon()

    async def disconnect(self) -> None:
        """Lose what is held, as by a connection that broke; all else goes on."""
        link = self._broker.consuming.current
        if link is not None:
            link.lose("it was cut")

    @property
    def _broker(self) -> RabbitmqBroker:
        if self._open is None:
            raise ConnectionLost(f"{self._server} is not connected; use the transport inside: async with transport")
        return self._open

    @property
    def capabilities(self) -> Capabilities:
        broker = self._broker
        kinds = {source.kind for source in broker.sources.values()} or {"quorum"}
        usual = RabbitmqDialect(broker.version, self._server.options.consumer_timeout).capabilities
        return msgspec.structs.replace(
            usual,
            name=f"rabbitmq {broker.product}",
            deliveries_counted="classic" not in kinds,
            release_in_order=broker.version >= (4, 0) or "quorum" not in kinds,
        )

    # Messages

    async def apply(self, topology: Topology) -> None:
        await self._broker.apply(topology)

    async def publish(self, messages: Sequence[Outgoing], *, deadline: float) -> Sequence[Published]:
        broker = self._broker
        now = self._clock.now()
        straight = broker.addressing.straight
        items: list[Prepared | Published | None] = [straight(outgoing, now) for outgoing in messages]
        for index, item in enumerate(items):
            if item is None:
                items[index] = await broker.addressing.prepare(messages[index], now)
        prepared = [item for item in items if isinstance(item, Prepared)]
        answers = iter(await self._publish(prepared, deadline) if prepared else ())
        return [item if isinstance(item, Published) else next(answers) for item in items]

    async def _publish(self, prepared: Sequence[Prepared], deadline: float) -> Sequence[Published]:
        """Publish; what goes straight to a queue that is being replaced is sent again: for a moment there is none."""
        broker = self._broker
        answers = await broker.publisher.publish(prepared, deadline=deadline)
        ends = self._clock.monotonic() + min(deadline, _REPLACED_WITHIN)
        while lost := [
            at for at, each in enumerate(prepared) if answers[at] is Published.UNROUTABLE and broker.is_lane(each)
        ]:
            left = ends - self._clock.monotonic()
            if left <= 0 or not await broker.being_replaced():
                break
            await asyncio.sleep(_AGAIN)
            again = await broker.publisher.publish([prepared[at] for at in lost], deadline=left)
            for at, answer in zip(lost, again, strict=True):
                answers[at] = answer
        return answers

    @asynccontextmanager
    async def consume(self, sources: Sequence[Source]) -> AsyncIterator[RabbitmqSubscription]:
        broker = self._broker
        plans = [await broker.source(source.key) for source in sources]
        subscription = RabbitmqSubscription(broker, plans)
        broker.subscriptions.append(subscription)
        try:
            yield subscription
        finally:
            broker.subscriptions.remove(subscription)
            await subscription.close()

    @asynccontextmanager
    async def replies(self) -> AsyncIterator[RabbitmqInbox]:
        inbox = RabbitmqInbox(self._broker, INBOX_PREFIX + new_id(self._clock.now()))
        async with self._broker.listening(inbox):
            yield inbox

    async def stats(self, queue: str) -> QueueStats:
        broker = self._broker
        return await counting.stats(broker, await broker.source(queue))

    # Dead letters

    @asynccontextmanager
    async def dead_letters(
        self, source: str, *, ids: Collection[str] | None = None, since: float = 0.0
    ) -> AsyncIterator[RabbitmqDeadLetters]:
        broker = self._broker
        async with RabbitmqDeadLetters(broker, await broker.source(source), ids) as look:
            yield look

    @property
    def planner(self) -> RabbitmqPlanner:
        """What plans changes of the topology."""
        return RabbitmqPlanner(lambda: self._broker)

    async def checkup(self, topology: Topology) -> list[Check]:
        return await checkup(self._broker, topology)

    # Signals

    async def signal(self, signal: Signal) -> None:
        await signals.send(self._broker, signal)

    @asynccontextmanager
    async def signals(self) -> AsyncIterator[RabbitmqSignals]:
        stream = RabbitmqSignals(self._broker, _SIGNALS_PREFIX + new_id(self._clock.now()))
        async with self._broker.listening(stream):
            yield stream
