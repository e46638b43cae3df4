"""A broker in one file: durable, shared by the processes of one host, nothing to install."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Self

import msgspec

from brokerkit.abilities import Committed, Presence, Removed, Signal, Unit
from brokerkit.checkup import Check
from brokerkit.clock import Clock, SystemClock
from brokerkit.deadlines import TimeLimits
from brokerkit.delivery import GroupSource, Source
from brokerkit.errors import ConnectionLost, MissingCapability, TopologyError
from brokerkit.ids import new_id
from brokerkit.message import Outgoing
from brokerkit.planning.stored import StoredPlanner
from brokerkit.store import Retention
from brokerkit.topology import Topology
from brokerkit.transport import INBOX_PREFIX, Capabilities, Published, QueueStats
from brokerkit.transports.sqlite import counting, listening
from brokerkit.transports.sqlite.broker import SqliteBroker
from brokerkit.transports.sqlite.cancelling import cancel
from brokerkit.transports.sqlite.checkup import checkup
from brokerkit.transports.sqlite.database import Database
from brokerkit.transports.sqlite.deadletters import SqliteDeadLetters
from brokerkit.transports.sqlite.dialect import CAPABILITIES
from brokerkit.transports.sqlite.errors import DiskFull
from brokerkit.transports.sqlite.listening import SqliteInbox, SqliteSignals
from brokerkit.transports.sqlite.placing import is_reply, parcels
from brokerkit.transports.sqlite.planning import SqliteKeeper
from brokerkit.transports.sqlite.subscribing import commit, subscribe
from brokerkit.transports.sqlite.subscription import SqliteSubscription

if TYPE_CHECKING:
    from brokerkit.stores.sqlite import SqliteStore


class SqliteTransport:
    """A ``Transport`` with every ability: ``AtomicCommit``, ``CancelWaiting``, ``DeadLetters``, ``Signals``,
    ``Presences`` and ``Replay``.

    Args:
        path: The file; created if it is missing.
        lease: Seconds after which what a dead process held is delivered again at the latest. Default 15.
        clock: Where the time in messages comes from; leases keep the machine's. Default the machine's.
        retention: How long records are kept. Default ``Retention()``.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        lease: float = 15.0,
        clock: Clock | None = None,
        retention: Retention | None = None,
    ) -> None:
        self._clock = clock or SystemClock()
        self._database = Database(Path(path), self._clock, retention or Retention())
        self._lease = lease
        self._limits = TimeLimits(self._clock)
        self._open: SqliteBroker | None = None

    async def __aenter__(self) -> Self:
        await self._database.__aenter__()
        try:
            broker = SqliteBroker(self._database, self._lease)
            await broker.open()
        except BaseException:
            await self._database.__aexit__()
            raise
        self._open = broker
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        broker, self._open = self._open, None
        if broker is not None:
            try:
                await broker.close()
            finally:
                await self._database.__aexit__()

    async def abandon(self) -> None:
        """End as a killed process does: what is held goes back counted as delivered, and is ``lost`` here."""
        broker, self._open = self._open, None
        if broker is not None:
            broker.abandon()
            await self._database.__aexit__()

    async def disconnect(self) -> None:
        """Lose what is held, as by a lease that ran out; all else goes on."""
        broker = self._broker
        await broker.do(broker.owners.give_up)

    @property
    def capabilities(self) -> Capabilities:
        return msgspec.structs.replace(CAPABILITIES, name=f"sqlite {sqlite3.sqlite_version}", lease=self._lease)

    @property
    def store(self) -> SqliteStore:
        """The store that shares the broker's file and transactions."""
        from brokerkit.stores.sqlite import SqliteStore  # the two import each other

        return SqliteStore(self._database)

    @property
    def _broker(self) -> SqliteBroker:
        if self._open is None:
            raise ConnectionLost(f"{self._database.path} is not open; use it inside: async with transport")
        return self._open

    # Messages

    async def apply(self, topology: Topology) -> None:
        broker = self._broker
        await broker.do(lambda tx: broker.apply(tx, topology), durable=True)

    async def publish(self, messages: Sequence[Outgoing], *, deadline: float) -> Sequence[Published]:
        broker = self._broker
        work = broker.publish_replies if all(map(is_reply, messages)) else broker.publish
        try:
            with self._limits.within(deadline):
                return await self._database.do(work, parcels(messages))
        except TimeoutError:
            return [Published.UNKNOWN] * len(messages)
        except DiskFull:
            return [Published.FULL] * len(messages)

    async def commit(self, units: Sequence[Unit]) -> Sequence[Committed]:
        return await commit(self._database, self._broker, units)

    @asynccontextmanager
    async def consume(self, sources: Sequence[Source]) -> AsyncIterator[SqliteSubscription]:
        broker = self._broker
        subscription = SqliteSubscription(self._database, broker.routes, broker.owners)
        await broker.do(lambda tx: subscribe(tx, broker, subscription, sources))
        broker.subscriptions[subscription] = None
        try:
            yield subscription
        finally:
            subscription.close()
            if broker.subscriptions.pop(subscription, 0) is None:
                await broker.do(lambda tx: broker.owners.unregister(tx, subscription.owner))

    @asynccontextmanager
    async def replies(self) -> AsyncIterator[SqliteInbox]:
        broker = self._broker
        inbox = SqliteInbox(INBOX_PREFIX + new_id(self._clock.now()), self._database)
        async with broker.registered(inbox.owner, inbox.close):
            yield inbox

    async def stats(self, queue: str) -> QueueStats:
        broker = self._broker
        grave = await broker.grave_of(queue)
        target, source = broker.routes.plan.targets[queue], broker.routes.ids[queue]
        now = self._clock.now()
        group = any(g.key == queue for plan in broker.routes.plan.logs.values() for g in plan.groups)
        return await self._database.ask(lambda c: counting.stats(c, target, source, grave, now, group=group))

    async def cancel(self, message_id: str, *, after_run: int = 0) -> Removed:
        return await self._broker.do(lambda tx: cancel(tx, self._database.records, message_id, after_run), durable=True)

    # Dead letters and logs

    @asynccontextmanager
    async def dead_letters(
        self, source: str, *, ids: Collection[str] | None = None, since: float = 0.0
    ) -> AsyncIterator[SqliteDeadLetters]:
        grave = await self._broker.grave_of(source)
        yield SqliteDeadLetters(self._broker, source, grave, ids, since)

    @property
    def planner(self) -> StoredPlanner:
        """What plans changes of the topology."""
        return StoredPlanner(lambda: SqliteKeeper(self._broker, self.capabilities.name))

    async def declared(self) -> Topology:
        return await self._broker.do(self._broker.routes.declared)

    async def replay(self, log: str, group: str, *, since: float = 0.0) -> int:
        broker = self._broker
        await broker.do(broker.routes.refresh)
        plan = broker.routes.plan.logs.get(log)
        if plan is None:
            raise TopologyError([f"logs: {log!r} is not a log of this broker; apply its topology first"])
        if not plan.log.history:
            raise MissingCapability(f"log {log!r} keeps no history; declare it with history=True to replay it")
        if (key := GroupSource(log, group).key) not in broker.routes.ids:
            raise TopologyError([f"groups: {key!r} is not a group of this broker; apply its topology first"])
        return await broker.replay(log, key, since)

    async def checkup(self, topology: Topology) -> list[Check]:
        _ = self._broker
        return await self._database.ask(lambda connection: checkup(connection, self._database.path))

    # Signals and presences

    async def signal(self, signal: Signal) -> None:
        await self._broker.do(lambda tx: listening.send(tx, signal))

    @asynccontextmanager
    async def signals(self) -> AsyncIterator[SqliteSignals]:
        broker = self._broker
        stream = SqliteSignals(self._database)
        await broker.do(stream.begin)
        async with broker.registered(stream.owner, stream.close):
            stream.owner.wake(())
            yield stream

    async def announce(self, presence: Presence, *, ttl: float) -> None:
        until = self._clock.now() + ttl
        await self._broker.do(lambda tx: listening.announce(tx, presence, until if ttl > 0 else None))

    async def present(self) -> list[Presence]:
        _ = self._broker
        now = self._clock.now()
        return await self._database.ask(lambda connection: listening.present(connection, now))
