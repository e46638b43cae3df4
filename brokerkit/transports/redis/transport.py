"""A broker on a Redis server: streams for the messages, a script for each step."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from typing import Self

from brokerkit.abilities import Committed, Presence, Removed, Signal, Unit
from brokerkit.checkup import Check
from brokerkit.clock import Clock, SystemClock
from brokerkit.delivery import GroupSource, Source
from brokerkit.errors import ConnectionLost, MissingCapability, TopologyError, TransportError
from brokerkit.ids import new_id
from brokerkit.message import Outgoing
from brokerkit.planning.stored import StoredPlanner
from brokerkit.store import Retention
from brokerkit.stores.redis import RedisStore
from brokerkit.topology import Topology
from brokerkit.transport import INBOX_PREFIX, Capabilities, Published, QueueStats
from brokerkit.transports.redis import cancelling, counting, listening, scripts
from brokerkit.transports.redis import keys as naming
from brokerkit.transports.redis.broker import RedisBroker
from brokerkit.transports.redis.checkup import checkup
from brokerkit.transports.redis.deadletters import RedisDeadLetters
from brokerkit.transports.redis.errors import Full
from brokerkit.transports.redis.greeting import warn
from brokerkit.transports.redis.link import Argument
from brokerkit.transports.redis.listening import RedisInbox, RedisSignals
from brokerkit.transports.redis.packing import InboxPlan
from brokerkit.transports.redis.planning import RedisKeeper
from brokerkit.transports.redis.publishing import AT_ONCE
from brokerkit.transports.redis.subscription import RedisSubscription
from brokerkit.transports.redis.url import Kind, read_url

_log = logging.getLogger("brokerkit")

_LONGEST_DELAY = 100 * 365 * 86400.0
_REPLAYED_AT_ONCE = 200


class RedisTransport:
    """A ``Transport`` with every ability: ``AtomicCommit``, ``CancelWaiting``, ``DeadLetters``, ``Signals``,
    ``Presences`` and ``Replay``.

    Args:
        url: The server, see ``RedisUrlOptions``.
        clock: Where the times in messages come from; delays and leases keep the server's. Default the machine's.
        retention: How long records are kept. Default ``Retention()``.
    """

    def __init__(self, url: str, *, clock: Clock | None = None, retention: Retention | None = None) -> None:
        self._location, self._options, self._durability = read_url(url)
        self._clock = clock or SystemClock()
        self._retention = retention or Retention()
        self._open: RedisBroker | None = None

    async def __aenter__(self) -> Self:
        broker = RedisBroker(self._location, self._options, self._durability, self._clock, self._retention)
        await broker.open()
        self._open = broker
        warn(broker.server, str(self._location))
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        broker, self._open = self._open, None
        if broker is not None:
            await broker.close()

    async def abandon(self) -> None:
        """End as a killed process does: what is held goes back counted as delivered, and is ``lost`` here."""
        broker, self._open = self._open, None
        if broker is not None:
            await broker.abandon()

    async def disconnect(self) -> None:
        """Lose what is held, as by a lease that ran out; all else goes on."""
        await self._broker.consuming.lose_all()

    @property
    def capabilities(self) -> Capabilities:
        broker = self._broker
        return Capabilities(
            name=broker.server.named(cluster=broker.location.kind is Kind.CLUSTER),
            durable=True,
            atomic_records=broker.keys.together,
            atomic_commit=broker.keys.together,
            cancel="atomic",
            delayed=_LONGEST_DELAY,
            history=True,
            redrive=True,
            signals=True,
            entries=True,
            lease=self._options.lease,
        )

    @property
    def store(self) -> RedisStore:
        """The store that shares the connections with the broker."""
        return RedisStore(lambda: self._broker.store)

    @property
    def _broker(self) -> RedisBroker:
        if self._open is None:
            raise ConnectionLost(f"Redis {self._location} is not connected; use it inside: async with transport")
        return self._open

    # Messages

    async def apply(self, topology: Topology) -> None:
        await self._broker.apply(topology)

    async def publish(self, messages: Sequence[Outgoing], *, deadline: float) -> Sequence[Published]:
        broker, answers = self._broker, list[Published]()
        ends = self._clock.monotonic() + deadline
        for start in range(0, len(messages), AT_ONCE):
            part = messages[start : start + AT_ONCE]
            try:
                left = ends - self._clock.monotonic() if len(messages) > AT_ONCE else deadline
                answers += await broker.publishing.publish(part, left)
            except Full as error:
                _log.warning("%s", error)
                answers += [Published.FULL] * len(part)
            except TransportError as error:
                if not answers:
                    raise
                _log.error("%d of %d messages were not published: %s", len(part), len(messages), error)
                answers += [Published.REFUSED] * len(part)
        return answers

    async def commit(self, units: Sequence[Unit]) -> Sequence[Committed]:
        broker = self._broker
        if not broker.keys.together:
            raise MissingCapability(
                "a Redis Cluster commits in one step only what lies in one slot; with ?prefix={name} all of an app does"
            )
        return await broker.consuming.commit(units)

    @asynccontextmanager
    async def consume(self, sources: Sequence[Source]) -> AsyncIterator[RedisSubscription]:
        async with self._broker.consuming.consume(sources) as subscription:
            yield subscription

    @asynccontextmanager
    async def replies(self) -> AsyncIterator[RedisInbox]:
        broker = self._broker
        channel = naming.channel(broker.keys.near(broker.name), broker.name)
        async with broker.inbox(InboxPlan(f"{INBOX_PREFIX}{channel}/{new_id(self._clock.now())}")) as inbox:
            yield inbox

    async def stats(self, queue: str) -> QueueStats:
        return await counting.stats(self._broker, queue, self._clock.now())

    async def cancel(self, message_id: str, *, after_run: int = 0) -> Removed:
        return await cancelling.cancel(self._broker, message_id, after_run, self._clock.now())

    # Dead letters and logs

    @asynccontextmanager
    async def dead_letters(
        self, source: str, *, ids: Collection[str] | None = None, since: float = 0.0
    ) -> AsyncIterator[RedisDeadLetters]:
        broker = self._broker
        yield RedisDeadLetters(broker, await broker.target(source), ids, since, self._clock.now())

    @property
    def planner(self) -> StoredPlanner:
        """What plans changes of the topology."""
        return StoredPlanner(lambda: RedisKeeper(self._broker, self.capabilities.name, self._clock))

    async def declared(self) -> Topology:
        await self._broker.routes.refresh()
        return self._broker.routes.declared()

    async def replay(self, log: str, group: str, *, since: float = 0.0) -> int:
        broker = self._broker
        await broker.routes.refresh()
        plan = broker.routes.plan.logs.get(log)
        if plan is None:
            raise TopologyError([f"logs: {log!r} is not a log of this broker; apply its topology first"])
        if not plan.log.history:
            raise MissingCapability(f"log {log!r} keeps no history; declare it with history=True to replay it")
        target = broker.routes.target(GroupSource(log, group).key)
        tail = await broker.asking.ask("XREVRANGE", plan.stream, "+", "-", "COUNT", 1)
        first, total = f"{int(since * 1000)}", 0
        while tail:
            keys = [plan.stream, target.stream(0), target.waiting]
            answer = await broker.once(target.near, scripts.REPLAY, keys, [first, tail[0][0], _REPLAYED_AT_ONCE])
            count, _, last = answer.decode().partition(" ")
            total += int(count)
            if int(count) < _REPLAYED_AT_ONCE:
                break
            first = f"({last}"
        return total

    async def checkup(self, topology: Topology) -> list[Check]:
        broker = self._broker
        return await checkup(broker.servers, self._location, broker.keys, topology)

    # Signals and presences

    async def signal(self, signal: Signal) -> None:
        broker = self._broker
        await broker.asking.ask("SPUBLISH", broker.keys.signals, listening.encode(signal))

    @asynccontextmanager
    async def signals(self) -> AsyncIterator[RedisSignals]:
        broker = self._broker
        stream = RedisSignals()
        await broker.hearing.catch_up()
        broker.hearing.listeners[stream] = None
        try:
            yield stream
        finally:
            broker.hearing.listeners.pop(stream, None)
            stream.close()

    async def announce(self, presence: Presence, *, ttl: float) -> None:
        broker = self._broker
        keys = [broker.keys.presences, broker.keys.workers]
        args: list[Argument] = [presence.worker, int(ttl * 1000), listening.encode(presence)]
        await broker.servers.run(scripts.PRESENCE, keys, args)

    async def present(self) -> list[Presence]:
        broker = self._broker
        keys = [broker.keys.presences, broker.keys.workers]
        found = await broker.asking.run(scripts.PRESENT, keys, [])
        return [listening.decode_presence(body) for body in found if body is not None]
