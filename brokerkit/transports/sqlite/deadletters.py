"""Dead letters: listed, deleted, sent back."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from brokerkit.abilities import DeadMessage
from brokerkit.message import Message
from brokerkit.outcome import Reason
from brokerkit.transports.sqlite import sql
from brokerkit.transports.sqlite.claiming import overlaid
from brokerkit.transports.sqlite.compile import Target
from brokerkit.transports.sqlite.placing import decode, encode
from brokerkit.transports.sqlite.routes import Room, Routes
from brokerkit.transports.sqlite.transaction import Transaction, array, split

AT_ONCE = 500
"""Entries moved in one transaction."""


class Story(msgspec.Struct, frozen=True):
    """What a row says of why its message is dead."""

    source: str
    reason: Reason
    error: str
    died: float
    deliveries: int


_Row = tuple[int, str, int | None, int | None, str, int]
_rows = msgspec.json.Decoder(list[_Row]).decode
_story = msgspec.json.Decoder(Story).decode


class Entry(NamedTuple):
    """A dead letter: its row's number, the message (None if it cannot be decoded), and its story."""

    seq: int
    id: str
    message: Message | None
    body: bytes
    story: Story


def entries(
    connection: sqlite3.Connection, grave: int, source: str, ids: Sequence[str] | None, limit: int, now: float
) -> list[Entry]:
    """The entries of a dead-letter queue that came from ``source`` and that nobody holds, oldest first."""
    wanted = array(ids) if ids is not None else None
    rows, packed = connection.execute(sql.DEAD, (grave, source, now, wanted, wanted, limit)).fetchone()
    found = _rows(rows)
    bodies = split([row[-1] for row in found], packed or b"")
    return [_entry(row, body) for row, body in zip(found, bodies, strict=True)]


def _entry(row: _Row, body: bytes) -> Entry:
    seq, id_, attempt, postponed, dead, _ = row
    try:
        message: Message | None = overlaid(decode(body), attempt, postponed)
    except (msgspec.MsgspecError, ValueError):
        message = None
    return Entry(seq, id_, message, body, _story(dead))


def shown(entry: Entry) -> DeadMessage:
    """The entry as callers see it."""
    message = entry.message or Message(id=entry.id, name="", body=entry.body)
    story = entry.story
    return DeadMessage(
        message=message,
        source=story.source,
        reason=story.reason,
        error=story.error,
        deliveries=story.deliveries,
        died=story.died,
    )


def purge(tx: Transaction, grave: int, source: str, ids: Sequence[str] | None, most: int) -> int:
    """Delete some entries; returns how many."""
    wanted = array(ids) if ids is not None else None
    return tx.run(sql.PURGE, grave, source, tx.now, wanted, wanted, most)


def redrive(tx: Transaction, routes: Routes, source: str, ids: Sequence[str] | None, most: int) -> int:
    """Send some entries back, as far as the source has room; returns how many."""
    target = routes.plan.targets[source]
    grave, home, room = routes.ids[target.dead_letter or ""], routes.ids[source], Room(tx)
    moved: list[int] = []
    rows: list[tuple[Any, ...]] = []
    for entry in entries(tx.connection, grave, source, ids, most, tx.now):
        if not room.takes(home, target.max_length):
            break
        room.add(home)
        moved.append(entry.seq)
        rows.append(_again(tx.now, home, target, entry))
    tx.run(sql.ACK, array(moved))
    tx.insert(sql.INSERT_MESSAGES, rows)
    tx.woken.add(home)
    return len(moved)


def _again(now: float, home: int, target: Target, entry: Entry) -> tuple[Any, ...]:
    """The row of a new run at attempt 1; what cannot be decoded goes back as it is."""
    expires = None if target.ttl is None else now + target.ttl
    if entry.message is None:
        return (home, 0, None, expires, now, entry.id, entry.body)
    message = entry.message
    over = message.expires is not None and message.expires <= now
    fresh = msgspec.structs.replace(
        message,
        run=message.run + 1,
        attempt=1,
        postponed=0,
        due=None,
        # It would expire again at once; whoever sends it back wants it to run.
        expires=None if over else message.expires,
    )
    return (home, target.lane(message.priority), None, expires, now, message.id, encode(fresh))
