"""What a transport is made of, put together while it is open."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TypeVar

from brokerkit.topology import Topology
from brokerkit.topology.suggestion import unknown_source
from brokerkit.transports.sqlite import sql
from brokerkit.transports.sqlite.database import Call, Database
from brokerkit.transports.sqlite.keeper import Keeper
from brokerkit.transports.sqlite.owners import Owner, Owners
from brokerkit.transports.sqlite.publishing import Commit, Publish, PublishReplies
from brokerkit.transports.sqlite.routes import Routes
from brokerkit.transports.sqlite.subscription import SqliteSubscription
from brokerkit.transports.sqlite.transaction import Transaction
from brokerkit.transports.sqlite.wake import MESSAGES, REPLIES, SIGNALS, Bell

T = TypeVar("T")

_ALL = 1 << 62
_AT_ONCE = 500
"""Entries of a log copied in one transaction."""


class SqliteBroker:
    """One opening of a file by one transport.

    Args:
        database: The file, open.
        lease: Seconds.
    """

    def __init__(self, database: Database, lease: float) -> None:
        self.database = database
        self.routes = Routes()
        self.bell = Bell(database.path)
        self.owners = Owners(secrets.token_hex(8), lease, self.bell)
        self.publish = Publish(self.routes, database.records)
        self.publish_replies = PublishReplies(self.routes, database.records)
        self.commit = Commit(self.routes, database.records)
        self.subscriptions: dict[SqliteSubscription, None] = {}
        self.listeners: dict[Owner, Callable[[], None]] = {}
        """Inboxes and listeners to signals, with what closes them."""
        self._keeper = Keeper(database.writer, self.owners, self.routes, self.bell)
        self._durably, self._quickly = Call(durable=True), Call(durable=False)

    async def do(self, call: Callable[[Transaction], T], *, durable: bool = False) -> T:
        """One function in a transaction."""
        work = self._durably if durable else self._quickly
        answers: list[T] = await self.database.do(work, [call])
        return answers[0]

    async def open(self) -> None:
        """Bind the socket and begin to keep leases."""
        self.bell.open()
        await self.do(self._start)
        if self.bell.ear is not None:
            self.database.writer.loop.add_reader(self.bell.ear, self._rung)

    async def close(self) -> None:
        """Hand back what is held, and leave no trace."""
        self._stop_listening()
        for subscription in self.subscriptions:
            subscription.close()
        owners = [*(subscription.owner for subscription in self.subscriptions), *self.listeners]
        await self.do(lambda tx: self._leave(tx, owners))
        self._end_listeners()
        self.bell.close()

    def abandon(self) -> None:
        """End as a killed process does: nothing is handed back, the socket refuses from now on."""
        self._stop_listening()
        self.database.writer.send(self._quickly, [lambda _: self._keeper.stop()])
        for subscription in self.subscriptions:
            subscription.close(dead=True)
        self._end_listeners()
        self.bell.close(tidy=False)

    def subscription_of(self, owner: int) -> SqliteSubscription | None:
        """Which subscription holds what is held under that number."""
        for subscription in self.subscriptions:
            if subscription.owner.id == owner:
                return subscription
        return None

    @asynccontextmanager
    async def registered(self, owner: Owner, close: Callable[[], None]) -> AsyncIterator[None]:
        """Have a listener known to others while it listens."""
        await self.do(lambda tx: self.owners.register(tx, owner))
        self.listeners[owner] = close
        try:
            yield
        finally:
            close()
            if self.listeners.pop(owner, None) is not None:
                await self.do(lambda tx: self.owners.unregister(tx, owner))

    def apply(self, tx: Transaction, topology: Topology) -> None:
        """Store a fragment; groups that begin with the earliest entry get the history."""
        self._begin_groups(tx, self.routes.apply(tx, topology))

    def store_fragments(self, tx: Transaction, fragments: Mapping[str, Topology], name: str) -> None:
        """Keep another fragment of one app; as ``apply`` otherwise."""
        self._begin_groups(tx, self.routes.replace(tx, fragments, name))

    def _begin_groups(self, tx: Transaction, new: Collection[str]) -> None:
        for plan in self.routes.plan.logs.values():
            for group in plan.groups:
                since = group.since
                if group.key in new and since is not None and plan.log.history:
                    source, backlog = self.routes.ids[plan.log.name], self.routes.ids[group.key]
                    tx.run(sql.REPLAY, backlog, source, since, 0, _ALL, -1)
                    tx.woken.add(backlog)

    async def grave_of(self, source: str) -> int | None:
        """The number of a source's dead-letter queue, None if it has none."""
        await self.do(self.routes.refresh)
        target = self.routes.plan.targets.get(source)
        if target is None:
            raise unknown_source(source, self.routes.plan.targets)
        return None if target.dead_letter is None else self.routes.ids[target.dead_letter]

    async def replay(self, log: str, group: str, since: float) -> int:
        """Copy history into a backlog, part by part; what is appended meanwhile is delivered anyway."""
        last = await self.do(lambda tx: int(tx.row(sql.LAST_ENTRY, self.routes.ids[log])[0]))
        total, after = 0, 0
        while after < last:
            count, after = await self.do(lambda tx, a=after: self._replay(tx, log, group, since, a, last))  # type: ignore[misc]
            total += count
        return total

    def _replay(self, tx: Transaction, log: str, group: str, since: float, after: int, last: int) -> tuple[int, int]:
        source, backlog = self.routes.ids[log], self.routes.ids[group]
        count, highest = tx.row(sql.REPLAYED, source, since, after, last, _AT_ONCE)
        if count:
            tx.run(sql.REPLAY, backlog, source, since, after, highest, -1)
            tx.woken.add(backlog)
        return count, highest if highest is not None else last

    def _start(self, tx: Transaction) -> None:
        tx.run(sql.ORPHANS)
        self.routes.refresh(tx)
        self._keeper.start()

    def _leave(self, tx: Transaction, owners: Sequence[Owner]) -> None:
        for owner in owners:
            self.owners.unregister(tx, owner)
        self._keeper.stop()

    def _rung(self) -> None:
        heard = self.bell.hush()
        for subscription in self.subscriptions if heard & MESSAGES else ():
            subscription.wake()
        for owner in self.listeners:
            if (heard & REPLIES and owner.inbox is not None) or (heard & SIGNALS and owner.signals):
                owner.wake(())

    def _stop_listening(self) -> None:
        if self.bell.ear is not None:
            self.database.writer.loop.remove_reader(self.bell.ear)

    def _end_listeners(self) -> None:
        for close in self.listeners.values():
            close()
        self.listeners.clear()
        self.subscriptions.clear()
