"""What the parts of an entered transport share: two connections, and what is known to be on the broker."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from typing import Any

from brokerkit.clock import Clock
from brokerkit.errors import TopologyConflict, TransportError
from brokerkit.topology import Topology, lane_of
from brokerkit.transports.background import Background
from brokerkit.transports.rabbitmq import declaring, standins
from brokerkit.transports.rabbitmq.addressing import Addressing
from brokerkit.transports.rabbitmq.applied import Applied
from brokerkit.transports.rabbitmq.asking import Asking, NotPermitted
from brokerkit.transports.rabbitmq.channel import LinkChannel
from brokerkit.transports.rabbitmq.compile import compile_topology
from brokerkit.transports.rabbitmq.connection import Connection
from brokerkit.transports.rabbitmq.discovering import discover, found_lanes
from brokerkit.transports.rabbitmq.link import Link
from brokerkit.transports.rabbitmq.listening import Listener
from brokerkit.transports.rabbitmq.management import Management
from brokerkit.transports.rabbitmq.plan import Plan, SourcePlan, merged
from brokerkit.transports.rabbitmq.policies import with_policies
from brokerkit.transports.rabbitmq.publishing import Prepared, Publisher
from brokerkit.transports.rabbitmq.replacements import Replacements
from brokerkit.transports.rabbitmq.sink import Sink
from brokerkit.transports.rabbitmq.subscription import RabbitmqSubscription
from brokerkit.transports.rabbitmq.url import Server

_log = logging.getLogger("brokerkit.rabbitmq")

_REMEMBERED = 0.2
"""Seconds for which all lanes believe that no queue is being replaced, once one has asked."""
LINK_WITHIN = 10.0
"""Seconds that a question waits for a lost connection to come back."""


class RabbitmqBroker:
    """The connections of one transport and what it knows.

    Args:
        server: Where.
        clock: The time.
        prefetch: The most that one consumer lets the broker push.

    Attributes:
        publishing: Messages only, lest a blocked publisher stall acknowledgements.
        consuming: Everything else.
        sources: What this process has declared or found out, by key.
        applied: What is known to be on the broker, while the connection lives.
        limited: A source that is known has a limit, so a refusal may mean that it is full.
        management: The management API, None where the URL does not name it.
    """

    def __init__(self, server: Server, clock: Clock, prefetch: int) -> None:
        self.server, self.clock, self.prefetch = server, clock, prefetch
        self.publishing, self.consuming = Connection(server, "publish"), Connection(server, "consume")
        self.publisher = Publisher(self.publishing, server.options.confirm_window)
        management = server.options.management
        self.management = Management(management, server.vhost) if management else None
        self.publisher.replacements = self.replacements = Replacements(self)
        self.addressing = Addressing(self)
        self.background = Background("rabbitmq")
        self.applied = Applied()
        self.sources: dict[str, SourcePlan] = {}
        self.limited = False
        self.version = (0, 0)
        self.product = ""
        self.subscriptions: list[RabbitmqSubscription] = []
        self._listeners: list[Listener[Any]] = []
        self._plan = Plan()
        self._graves: set[str] = set()
        self._ready: set[Hashable] = set()
        self.reading, self.changing = asyncio.Lock(), asyncio.Lock()
        self.lock: LinkChannel | None = None
        self._no_swap_until = 0.0
        self.consuming.on_up.append(self._up_again)

    async def open(self) -> None:
        """Connect, and keep connected."""
        try:
            await self.publishing.open()
            await self.consuming.open()
            link = await self.consuming.link(LINK_WITHIN)
            self.version = link.version
            self.product = str(link.server_properties.get("version", ""))
            await self.background.start()
            _ = self.background.spawn(self.publishing.run(), "publishing connection")
            _ = self.background.spawn(self.consuming.run(), "consuming connection")
        except BaseException:
            await self.close(0.0)
            raise

    async def close(self, seconds: float = 5.0) -> None:
        """Hand back what is held, and disconnect. Idempotent."""
        try:
            for subscription in tuple(self.subscriptions):
                await subscription.close()
            for listener in tuple(self._listeners):
                await listener.close()
        finally:
            await self._end(seconds)

    async def _end(self, seconds: float) -> None:
        try:
            await self.publishing.close(seconds)
        finally:
            try:
                await self.consuming.close(seconds)
            finally:
                await self.background.stop()

    async def abandon(self) -> None:
        """Cut both connections, as the end of the process would."""
        for connection in (self.publishing, self.consuming):
            if (link := connection.current) is not None:
                link.lose("it was cut")
        for subscription in self.subscriptions:
            subscription.abandon()
        for listener in self._listeners:
            listener.abandon()
        await self._end(0.0)

    async def _up_again(self, link: Link) -> None:
        without = self.applied.without_alternate
        self.applied = Applied()
        self.applied.without_alternate |= without
        self._ready.clear()
        for subscription in self.subscriptions:
            for lane in subscription.lanes:
                lane.connected()

    async def channel(self, sink: Sink | None = None) -> LinkChannel:
        """A channel for questions, or for the deliveries that a sink gets, to be closed by the caller. Raises
        ``ConnectionLost``."""
        link = await self.consuming.link(LINK_WITHIN)
        return await link.channel(sink)

    @asynccontextmanager
    async def listening(self, listener: Listener[Any]) -> AsyncIterator[None]:
        """A listener that is closed with the transport at the latest."""
        self._listeners.append(listener)
        try:
            await listener.open()
            yield
        finally:
            self._listeners.remove(listener)
            await listener.close()

    # What is there

    async def apply(self, topology: Topology) -> None:
        """Declare a topology."""
        plan = standins.looked_into(compile_topology(topology, self.version))
        await self._check_lanes(plan)
        plan = await self._declare(plan)
        for warning in plan.warnings:
            _log.warning("%s", warning)
        self._plan = merged([self._plan, plan])
        for source in plan.sources.values():
            self._know(source)

    async def _declare(self, plan: Plan) -> Plan:
        """Declare a plan; what may change later becomes policies where the management API is known."""
        if self.management is None:
            await declaring.apply(self.channel, plan, self.applied)
            return plan
        plan, policies = with_policies(plan)
        await self.management.check(policies)
        await declaring.apply(self.channel, plan, self.applied, self.management.obeyed)
        await self.management.put(policies)
        return plan

    def _know(self, source: SourcePlan) -> None:
        self.sources[source.key] = source
        self.limited = self.limited or source.max_length is not None
        if source.dead_letter is not None:
            self._graves.add(source.dead_letter)

    async def _check_lanes(self, plan: Plan) -> None:
        """Refuse another number of lanes than there is: to the broker lanes are so many queues, all of them fine."""
        trusted = {queue.name for queue in plan.queues if queue.mode == "trust"}
        async with Asking(self.channel) as asking:
            for source in plan.sources.values():
                if trusted.intersection(source.lanes):
                    continue
                known = self.sources.get(source.key)
                if known is not None and known.lanes == source.lanes:
                    continue
                await self._check(asking, source, known)

    async def _check(self, asking: Asking, source: SourcePlan, known: SourcePlan | None) -> None:
        wanted = len(source.lanes)
        if known is not None:
            found = len(known.lanes)
        elif not await asking.exists("queue", source.lanes[lane_of(5, wanted)]):
            return
        else:
            names = await found_lanes(asking, source.key)
            # Lanes that are missing were not reached by whoever declared them; one too many is another layout.
            found = wanted if names and {*names} <= {*source.lanes} else len(names) + 1
        if found != wanted:
            raise TopologyConflict(f"queue {source.key}", "priorities", wanted, found)

    async def source(self, key: str) -> SourcePlan:
        """What is known or can be found out of a source. Raises ``TopologyError`` for an unknown one."""
        if key not in self.sources:
            self._know(await discover(self.channel, key, self.sources))
        return self.sources[key]

    def is_lane(self, prepared: Prepared) -> bool:
        """Whether it goes straight to a queue that is known to be there."""
        key = prepared.routing_key
        return not prepared.exchange and (
            key in self._graves or any(key in each.lanes for each in self.sources.values())
        )

    def is_grave(self, key: str) -> bool:
        """Whether it is known as a dead-letter queue."""
        return key in self._graves

    async def queues(self, grave: str) -> tuple[str, ...]:
        """The queues of a dead-letter queue, which may be one of several lanes."""
        known = self.sources.get(grave)
        return known.lanes if known is not None else (grave,)

    def waiting_here(self, queue: str) -> int:
        """What was pushed to us from a queue and is not taken."""
        lanes = [lane for subscription in self.subscriptions for lane in subscription.lanes]
        return sum(lane.waiting for lane in lanes if lane.queue == queue)

    async def heal(self, key: str) -> None:
        """Declare a source again whose queue is gone, as far as this process knows how."""
        for queue in self._plan.sources[key].lanes if key in self._plan.sources else ():
            if await self.standing_in(queue) != queue:
                return  # it is being replaced, and will be there again
        if key not in self._plan.sources:
            raise TransportError(f"{key} was declared by another app; have it apply its topology again")
        await declaring.heal(self.channel, self._plan, key, self.applied)

    async def standing_in(self, queue: str) -> str:
        """Where a queue is to be read, and what is for it is sent: itself, or what stands in for it."""
        if self.clock.monotonic() < self._no_swap_until:
            return queue
        if not await self.being_replaced():
            self._no_swap_until = self.clock.monotonic() + _REMEMBERED
            return queue
        places = standins.of(queue)
        try:
            there = await self.exists("queue", places.out) and not await self.exists("queue", places.back)
        except NotPermitted:
            return queue
        return places.standin if there else queue

    async def being_replaced(self) -> bool:
        """Whether some queue of the virtual host is being replaced."""
        async with Asking(self.channel) as asking:
            try:
                return bool((await asking.count(standins.UNDER_WAY) or (0, 0))[0])
            except NotPermitted:
                return False

    def forget_places(self) -> None:
        """Somebody knows better than we do that a queue is being replaced."""
        self._no_swap_until = 0.0

    def look(self, queue: str) -> None:
        """Have those who read a queue look where it is to be read."""
        self.forget_places()
        for subscription in self.subscriptions:
            for lane in subscription.lanes:
                if lane.queue == queue:
                    lane.look()

    async def declare(self, plan: Plan, *keys: Hashable) -> None:
        """Declare something small that is needed now; what was declared under the same keys is there."""
        if self._ready.issuperset(keys):
            return
        await declaring.apply(self.channel, plan, self.applied)
        self._ready.update(keys)

    async def exists(self, kind: str, name: str) -> bool:
        """Whether an exchange or queue is there."""
        async with Asking(self.channel) as asking:
            return await asking.exists(kind, name)
