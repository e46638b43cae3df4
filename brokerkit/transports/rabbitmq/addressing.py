"""From an address and a time to a publish: straight to a lane's queue, to an exchange, or onto the delay ladder."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING

from brokerkit.message import Message, Outgoing, Scalar
from brokerkit.topology import lane_of
from brokerkit.transport import INBOX_PREFIX, Published
from brokerkit.transports.rabbitmq import ladder
from brokerkit.transports.rabbitmq.asking import NotFound
from brokerkit.transports.rabbitmq.plan import Plan, SourcePlan, merged
from brokerkit.transports.rabbitmq.publishing import Prepared
from brokerkit.transports.rabbitmq.versions import native_priority

if TYPE_CHECKING:
    from brokerkit.transports.rabbitmq.broker import RabbitmqBroker

_log = logging.getLogger("brokerkit.rabbitmq")

Extra = Mapping[str, Scalar | None]

_NONE: Extra = {}
_FORGET = 30.0
"""Seconds for which it is believed that a queue of others has no lanes."""


class Addressing:
    """Turns messages into publishes; declares what delays need the first time they need it.

    Args:
        broker: What is known of the broker.
    """

    def __init__(self, broker: RabbitmqBroker) -> None:
        self._broker = broker
        self._entrances: dict[str, tuple[str, float]] = {}

    # At once

    def straight(self, outgoing: Outgoing, now: float) -> Prepared | None:
        """The publish of a message that is due and whose address is known; None for any other."""
        message = outgoing.message
        if message.due is not None and message.due > now:
            return None
        if outgoing.exchange:
            nack = Published.FULL if self._broker.limited else Published.REFUSED
            extra = {"bk-ts": _ms(now)}
            return Prepared(outgoing.exchange, outgoing.routing_key, message, extra, None, nack)
        source = self._broker.sources.get(outgoing.routing_key)
        if source is not None:
            return self.to_lane(source, message, now)
        if outgoing.routing_key.startswith(INBOX_PREFIX):
            return Prepared("", outgoing.routing_key, message)
        return None

    async def prepare(self, outgoing: Outgoing, now: float) -> Prepared | Published:
        """The publish of any message, or its answer when there is nothing to publish."""
        if (prepared := self.straight(outgoing, now)) is not None:
            return prepared
        due = outgoing.message.due
        if due is not None and due > now:
            return await self._later(outgoing, now, due)
        exchange = await self._entrance(outgoing.routing_key)
        extra = {"bk-ts": _ms(now)}
        return Prepared(exchange, outgoing.routing_key, outgoing.message, extra, None, Published.FULL)

    def to_lane(
        self, source: SourcePlan, message: Message, entered: float, *, level: int | None = None, extra: Extra = _NONE
    ) -> Prepared:
        """The publish of a message into a known queue.

        Args:
            source: The queue or group.
            message: The message.
            entered: When it entered, or was to enter; matters where messages may wait only so long.
            level: Its lane. Default None: that of its priority.
            extra: Further headers.
        """
        if level is None:
            level = lane_of(message.priority, len(source.lanes)) if len(source.lanes) > 1 else 0
        if source.message_ttl is not None:
            extra = {**extra, "bk-ts": _ms(entered)}
        priority = None
        if source.native_priority:
            priority = native_priority(self._broker.version, source.kind, message.priority)
        nack = Published.REFUSED if source.max_length is None else Published.FULL
        return Prepared("", source.lanes[level], message, extra, priority, nack)

    async def to_grave(self, name: str, message: Message, extra: Extra) -> Prepared:
        """The publish of a message into a dead-letter queue."""
        source = self._broker.sources.get(name)
        if source is not None:
            return self.to_lane(source, message, self._broker.clock.now(), extra=extra)
        return Prepared(await self._entrance(name), name, message, extra, None, Published.FULL)

    # Later

    async def to_lane_later(
        self, source: SourcePlan, message: Message, now: float, after: float, *, level: int
    ) -> Prepared:
        """The publish of a retry: by a slot where its delay has one, else by the ladder, a little late."""
        seconds = min(after, ladder.LONGEST)
        ms = ladder.milliseconds(seconds)
        if ms in source.slots:
            parked, plan = ladder.slot(ms), ladder.slot_declarations(ms, self._broker.version)
        else:
            parked = ladder.rungs(seconds, bits=ladder.RETRY_BITS)
            plan = ladder.declarations(parked.level, self._broker.version)
        target = ladder.to_queue(source.delayed[level])
        await self._park(parked, plan, target)
        return self._parked(parked, target, message, message.routing_key, now + seconds)

    async def _later(self, outgoing: Outgoing, now: float, due: float) -> Prepared | Published:
        if due - now > ladder.LONGEST:
            return Published.REFUSED
        target = await self._target(outgoing)
        if isinstance(target, Published):
            return target
        parked = ladder.rungs(due - now)
        plan = ladder.declarations(parked.level, self._broker.version)
        try:
            await self._park(parked, plan, target)
        except NotFound:
            return Published.UNROUTABLE
        return self._parked(parked, target, outgoing.message, outgoing.routing_key, due)

    async def _target(self, outgoing: Outgoing) -> ladder.Target | Published:
        """Where a delayed message goes in the end; the answer when it can never get there."""
        name, key = outgoing.exchange, outgoing.routing_key
        if name:
            if not await self._broker.exists("exchange", name):
                return Published.UNROUTABLE
            if name in self._broker.applied.without_alternate:
                _log.error("exchange %s takes no delayed messages: it was made without %s", name, ladder.ALTERNATE)
                return Published.REFUSED
            return ladder.to_exchange(name)
        source = self._broker.sources.get(key)
        if source is not None:
            return ladder.to_queue(source.delayed[lane_of(outgoing.message.priority, len(source.lanes))])
        if key.startswith(INBOX_PREFIX):
            return Published.REFUSED
        if entrance := await self._entrance(key):
            return ladder.to_exchange(entrance)
        return ladder.to_queue(key) if await self._broker.exists("queue", key) else Published.UNROUTABLE

    async def _park(self, parked: ladder.Parked, plan: Plan, target: ladder.Target) -> None:
        """Have everything there that the message will pass."""
        whole = merged([plan, Plan(bindings=(target.binding,))])
        await self._broker.declare(whole, parked.exchange, target.binding.identity)

    def _parked(
        self, parked: ladder.Parked, target: ladder.Target, message: Message, key: str, entered: float
    ) -> Prepared:
        extra: Extra = {**parked.headers, **target.headers, "bk-ts": _ms(entered)}
        return Prepared(parked.exchange, key, message, extra, None, Published.REFUSED)

    # What others have declared

    async def _entrance(self, queue: str) -> str:
        """The exchange before the lanes of a queue that this process has not declared; "" where it has none."""
        found, until = self._entrances.get(queue, ("", 0.0))
        now = self._broker.clock.monotonic()
        if found or now < until:
            return found
        inbox = f"{queue}.lanes"
        exchange = inbox if await self._broker.exists("exchange", inbox) else ""
        self._entrances[queue] = (exchange, now + _FORGET)
        return exchange


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
