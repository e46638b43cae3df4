"""Dead letters: looked at part by part, deleted, sent back."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from brokerkit.abilities import DeadEntry, DeadMessage, Redriven, foreign
from brokerkit.message import Message, rerun
from brokerkit.outcome import Reason
from brokerkit.transports.sqlite import sql
from brokerkit.transports.sqlite.claiming import overlaid
from brokerkit.transports.sqlite.placing import decode, encode
from brokerkit.transports.sqlite.routes import Room
from brokerkit.transports.sqlite.transaction import Transaction, array, split

if TYPE_CHECKING:
    from brokerkit.transports.sqlite.broker import SqliteBroker

AT_ONCE = 500
"""Entries moved in one transaction."""


class Story(msgspec.Struct, frozen=True):
    """What a row says of why its message is dead."""

    source: str
    reason: str
    error: str
    died: float
    deliveries: int


_Row = tuple[int, float, str, int | None, int | None, str | None, int]
_rows = msgspec.json.Decoder(list[_Row]).decode
_story = msgspec.json.Decoder(Story).decode
_numbers = msgspec.json.Decoder(set[int]).decode


class Place(NamedTuple):
    """Where an entry lies: its row, and what is in it if that cannot be decoded."""

    seq: int
    raw: bytes | None


class _Position(NamedTuple):
    """How far a look has come."""

    lane: int
    at: float
    seq: int


class SqliteDeadLetters:
    """A look into the dead letters of one source.

    Args:
        broker: The open file.
        source: The source's key.
        grave: The number of its dead-letter queue, or None.
        ids: Only those of these messages, or None.
        since: What came before is left out.
    """

    complete = True

    def __init__(
        self, broker: SqliteBroker, source: str, grave: int | None, ids: Collection[str] | None, since: float
    ) -> None:
        self._broker, self._source, self._grave, self._since = broker, source, grave, since
        self._ids = None if ids is None else array(ids)
        # What is sent back is a younger row: if it fails again, it is not seen once more.
        self._newest: int | None = None
        plan = broker.routes.plan
        buried_in = plan.targets[source].dead_letter
        self._lanes = 0 if buried_in is None else plan.targets[buried_in].lanes
        self._position = _Position(0, since, 0)

    async def next(self, most: int) -> list[DeadEntry]:
        while self._position.lane < self._lanes:
            found = await self._broker.database.ask(lambda connection: self._read(connection, most))
            if found:
                return found
            self._position = _Position(self._position.lane + 1, self._since, 0)
        return []

    def _read(self, connection: sqlite3.Connection, most: int) -> list[DeadEntry]:
        if self._newest is None:
            self._newest = int(connection.execute(sql.NEWEST).fetchone()[0])
        lane, at, seq = self._position
        now, ids = self._broker.database.clock.now(), self._ids
        values = (self._grave, lane, at, seq, self._newest, self._source, now, ids, ids, most)
        listed, packed, last = connection.execute(sql.DEAD, values).fetchone()
        rows = _rows(listed)
        if rows:
            self._position = _Position(lane, last, rows[-1][0])
        bodies = split([row[-1] for row in rows], packed or b"")
        return [_entry(row, body, self._source) for row, body in zip(rows, bodies, strict=True)]

    async def redrive(self, entries: Sequence[DeadEntry]) -> list[Redriven]:
        answers: list[Redriven] = []
        for start in range(0, len(entries), AT_ONCE):
            part = entries[start : start + AT_ONCE]
            answers += await self._broker.do(lambda tx, part=part: self._send_back(tx, part), durable=True)  # type: ignore[misc]
        return answers

    def _send_back(self, tx: Transaction, entries: Sequence[DeadEntry]) -> list[Redriven]:
        routes = self._broker.routes
        target, home, room = routes.plan.targets[self._source], routes.ids[self._source], Room(tx)
        free = self._free(tx, entries)
        expires = None if target.ttl is None else tx.now + target.ttl
        answers: list[Redriven] = []
        left: list[int] = []
        rows: list[tuple[Any, ...]] = []
        for dead, (seq, raw) in entries:
            if seq not in free:
                answers.append(Redriven.GONE)
            elif not room.takes(home, target.max_length):
                answers.append(Redriven.REFUSED)
            else:
                room.add(home)
                left.append(seq)
                answers.append(Redriven.DONE)
                lane = 0 if raw is not None else target.lane(dead.message.priority)
                # What cannot be decoded goes back as it is.
                body = encode(rerun(dead.message, tx.now)) if raw is None else raw
                rows.append((home, lane, None, expires, tx.now, dead.message.id, body))
        tx.run(sql.ACK, array(left))
        tx.insert(sql.INSERT_MESSAGES, rows)
        tx.woken.add(home)
        return answers

    def _free(self, tx: Transaction, entries: Sequence[DeadEntry]) -> set[int]:
        """Those that are still there and that nobody holds."""
        return _numbers(tx.row(sql.FREE_DEAD, array(entry.token.seq for entry in entries), self._grave)[0])

    async def purge(self, tokens: Sequence[Any]) -> int:
        done = 0
        for start in range(0, len(tokens), AT_ONCE):
            seqs = array(place.seq for place in tokens[start : start + AT_ONCE])
            done += await self._broker.do(lambda tx, seqs=seqs: tx.run(sql.PURGE, seqs, self._grave), durable=True)  # type: ignore[misc]
        return done


def _entry(row: _Row, body: bytes, source: str) -> DeadEntry:
    seq, at, id_, attempt, postponed, dead, _ = row
    try:
        message, raw = overlaid(decode(body), attempt, postponed), None
    except (msgspec.MsgspecError, ValueError):
        # Called by its row where it has no id; ``sql.DEAD`` finds it by that name.
        message, raw = Message(id=id_ or f"row-{seq}", name="", body=body), body
    return DeadEntry(_told(message, dead, source, at), Place(seq, raw))


def _told(message: Message, dead: str | None, source: str, at: float) -> DeadMessage:
    if dead is None:
        return foreign(message, source, at)
    story = _story(dead)
    return DeadMessage(
        message=message,
        source=story.source,
        reason=Reason.named(story.reason),
        error=story.error,
        deliveries=story.deliveries,
        died=story.died,
    )
