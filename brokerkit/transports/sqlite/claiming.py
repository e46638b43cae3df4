"""Taking what is ready, as one row."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple

import msgspec

from brokerkit.delivery import Delivery, Flag, Lane
from brokerkit.message import Message
from brokerkit.transports.sqlite import sql
from brokerkit.transports.sqlite.owners import Owner
from brokerkit.transports.sqlite.placing import Placing, decode
from brokerkit.transports.sqlite.routes import Room, Routes
from brokerkit.transports.sqlite.transaction import Transaction, array, split

_Row = tuple[int, int, int, int, int, int | None, int | None, float | None, int, int]
_NO_LIMIT = -1
_rows = msgspec.json.Decoder(list[_Row]).decode


class Wanted(NamedTuple):
    """What a subscription asks for.

    Args:
        owner: Who takes it.
        lanes: (source, lane, limit), by source, the lanes of each in the order in which they are wanted.
        most: How many of a source altogether; a source that is not in it has no such bound.
        sources: All sources of the subscription, with the logs of its groups.
    """

    owner: Owner
    lanes: Sequence[tuple[int, int, int]]
    sources: tuple[int, ...]
    most: Mapping[int, int]


class Claimed(NamedTuple):
    """What was taken, still packed.

    Args:
        owner: The id under which it is held.
        rows: One JSON array per message.
        bodies: All bodies in a row.
        next_due: When the next delayed message of the subscription becomes ready, or None.
    """

    owner: int
    rows: str
    bodies: bytes
    next_due: float | None


class Claim:
    """The work that takes messages for subscriptions. A lost claim costs nothing, so it need not wait for the disk."""

    durable = False

    def __init__(self, routes: Routes, restore: Callable[[Transaction, Owner], None]) -> None:
        self._routes, self._restore = routes, restore

    def run(self, tx: Transaction, items: Sequence[Wanted]) -> list[Claimed]:
        return [self._claim(tx, wanted) for wanted in items]

    def _claim(self, tx: Transaction, wanted: Wanted) -> Claimed:
        if self._routes.single:
            wanted = self._without_others(tx, wanted)
        present, due, seqs, rows, bodies = self._ready(tx, wanted)
        if due is not None and due <= tx.now:
            promote(tx, self._routes, wanted.sources)
            present, due, seqs, rows, bodies = self._ready(tx, wanted)
        if not present:
            self._restore(tx, wanted.owner)
        if bodies is None:
            return Claimed(wanted.owner.id, "[]", b"", due)
        tx.run(sql.TAKE, wanted.owner.id, seqs)
        return Claimed(wanted.owner.id, rows, bodies, due)

    def _ready(self, tx: Transaction, wanted: Wanted) -> tuple[int, float | None, str, str, bytes | None]:
        shape: list[int] = []
        values: list[int] = []
        for source, group in groupby(wanted.lanes, key=itemgetter(0)):
            lanes = list(group)
            shape.append(len(lanes))
            values += [value for lane in lanes for value in lane]
            values.append(wanted.most.get(source, _NO_LIMIT))
        row: tuple[int, float | None, str, str, bytes | None] = tx.row(
            sql.claim(tuple(shape)), wanted.owner.id, array(wanted.sources), *values
        )
        return row

    def _without_others(self, tx: Transaction, wanted: Wanted) -> Wanted:
        """Without the queues of which another consumer is the only active one."""
        refused = {
            source
            for source, _, _ in wanted.lanes
            if self._routes.keys[source] in self._routes.single
            and not tx.row(sql.FIRST_CONSUMER, source, wanted.owner.id)[0]
        }
        # One lane of nothing keeps the statement's shape.
        lanes = [lane for lane in wanted.lanes if lane[0] not in refused] or [(0, 0, 0)]
        return wanted._replace(lanes=lanes)


def promote(tx: Transaction, routes: Routes, sources: Iterable[int]) -> None:
    """Make ready what is due; what was published to a log with a delay enters it now."""
    routes.refresh(tx)
    logs = [plan for source in sources if (plan := routes.plan.logs.get(routes.keys[source])) is not None]
    ids = {routes.ids[plan.log.name] for plan in logs}
    tx.run(sql.PROMOTE, array(set(sources) - ids), tx.now)
    for plan in logs:
        due = tx.connection.execute(sql.DUE_ENTRIES, (routes.ids[plan.log.name], tx.now)).fetchall()
        placing = Placing(tx, routes, Room(tx))
        for _, body in due:
            placing.add_entry(plan, decode(body), body)
        placing.write()
        tx.run(sql.ACK, array(seq for seq, _ in due))


class Token(NamedTuple):
    """What a delivery is known by in the file."""

    seq: int
    owner: int
    source: int


def deliveries(claimed: Claimed, keys: dict[int, str], now: float) -> list[Delivery]:
    """Unpack a claim; on the event loop."""
    rows = _rows(claimed.rows)
    bodies = split([row[-1] for row in rows], claimed.bodies)
    lanes: dict[tuple[int, int], Lane] = {}
    found = []
    for row, body in zip(rows, bodies, strict=True):
        seq, source, level = row[:3]
        lane = lanes.get((source, level)) or lanes.setdefault((source, level), Lane(keys[source], level))
        message, flags = _message(row, body)
        # A dead letter that has expired is not expired once more: whoever reads it wants to see it.
        if message.expires is not None and message.expires < now and not row[8]:
            flags |= Flag.EXPIRED
        token = Token(seq, claimed.owner, source)
        found.append(Delivery(message, lane, row[3] + 1, token, starts=row[4], flags=flags))
    return found


def _message(row: _Row, body: bytes) -> tuple[Message, Flag]:
    try:
        message = decode(body)
    except (msgspec.MsgspecError, ValueError):
        return Message(id="", name="", body=body), Flag.UNDECODABLE
    attempt, postponed, expires, buried = row[5:9]
    if expires is not None and not buried and (message.expires is None or expires < message.expires):
        message = msgspec.structs.replace(message, expires=expires)
    return overlaid(message, attempt, postponed), Flag.NONE


def overlaid(message: Message, attempt: int | None, postponed: int | None) -> Message:
    """The message with what its row says of later attempts."""
    if attempt is None:
        return message
    return msgspec.structs.replace(message, attempt=attempt, postponed=postponed or 0)
