"""Inboxes, signals and presences: what is said to processes, not to queues."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence

import msgspec

from brokerkit.abilities import Presence, Signal
from brokerkit.message import Message
from brokerkit.transports.sqlite import sql
from brokerkit.transports.sqlite.database import Database
from brokerkit.transports.sqlite.feed import Feed
from brokerkit.transports.sqlite.owners import Owner
from brokerkit.transports.sqlite.placing import decode
from brokerkit.transports.sqlite.transaction import Transaction, split

SIGNAL_LIFE = 60.0
"""Seconds a signal stays in the file; it is only for those who listen now."""

_encode = msgspec.msgpack.Encoder().encode
_signal = msgspec.msgpack.Decoder(Signal).decode
_presence = msgspec.msgpack.Decoder(Presence).decode
_lengths = msgspec.json.Decoder(list[int]).decode


class SqliteInbox:
    """An ``Inbox``.

    Args:
        address: Its address.
        database: The file.
    """

    def __init__(self, address: str, database: Database) -> None:
        self._address, self._database = address, database
        self._feed: Feed[Message] = Feed(self._take)
        # An inbox that was taken for dead goes on under the same address; the replies of that time are gone.
        self.owner = Owner(lambda _: self._feed.wake(), self._feed.wake, inbox=address)

    @property
    def address(self) -> str:
        return self._address

    async def receive(self) -> list[Message]:
        return await self._feed.receive()

    def close(self) -> None:
        self._feed.close()

    def _take(self) -> asyncio.Future[list[Message]]:
        return self._database.writer.start_doing_one(_TAKE_REPLIES, self.owner.id)


class TakeReplies:
    """The work that takes what has arrived in inboxes."""

    durable = False

    def run(self, tx: Transaction, items: Sequence[int]) -> list[list[Message]]:
        return [self._take(tx, owner) for owner in items]

    def _take(self, tx: Transaction, owner: int) -> list[Message]:
        lengths, packed, last = tx.row(sql.REPLIES, owner)
        if last is None:
            return []
        tx.run(sql.TAKE_REPLIES, owner, last)
        return [decode(body) for body in split(_lengths(lengths), packed)]


_TAKE_REPLIES = TakeReplies()


class SqliteSignals:
    """A ``SignalStream``.

    Args:
        database: The file.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._last = 0
        self._feed: Feed[Signal] = Feed(self._read)
        self.owner = Owner(lambda _: self._feed.wake(), self._feed.wake, signals=True)

    def begin(self, tx: Transaction) -> None:
        """Only what comes from now on is heard."""
        self._last = tx.row(sql.LAST_SIGNAL)[0]

    async def receive(self) -> list[Signal]:
        return await self._feed.receive()

    def close(self) -> None:
        self._feed.close()

    def _read(self) -> asyncio.Future[list[Signal]]:
        return self._database.reader.start_asking(self._after_last)

    def _after_last(self, connection: sqlite3.Connection) -> list[Signal]:
        rows = connection.execute(sql.SIGNALS, (self._last,)).fetchall()
        if rows:
            self._last = rows[-1][0]
        return [_signal(body) for _, body in rows]


def send(tx: Transaction, signal: Signal) -> None:
    """Leave a signal where all listeners look."""
    tx.run(sql.OLD_SIGNALS, tx.now - SIGNAL_LIFE)
    tx.run(sql.ADD_SIGNAL, tx.now, _encode(signal))
    tx.signalled = True


def announce(tx: Transaction, presence: Presence, until: float | None) -> None:
    """Keep a heartbeat, or remove it; those that have run out go, too."""
    tx.run(sql.WITHDRAW, presence.worker, tx.now)
    if until is not None:
        tx.run(sql.ANNOUNCE, presence.worker, until, _encode(presence))


def present(connection: sqlite3.Connection, now: float) -> list[Presence]:
    """The heartbeats that have not run out."""
    return [_presence(body) for (body,) in connection.execute(sql.PRESENT, (now,))]
