"""The works that publish, and that do everything of a delivery's end in one step."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from brokerkit.abilities import Committed
from brokerkit.outcome import Ack, DeadLetter
from brokerkit.records import TaskRecord
from brokerkit.store import Put
from brokerkit.transport import Published, Settled
from brokerkit.transports.sqlite.placing import Parcel, Placing
from brokerkit.transports.sqlite.records import RecordBatch, Records
from brokerkit.transports.sqlite.routes import Room, Routes
from brokerkit.transports.sqlite.settling import Settling, Verdict
from brokerkit.transports.sqlite.transaction import Transaction

_COMMITTED = {
    Settled.LOST: Committed.LOST,
    Settled.FAILED: Committed.FAILED,
    Published.UNROUTABLE: Committed.UNROUTABLE,
    Published.FULL: Committed.FULL,
    Put.STALE: Committed.STALE,
    Put.TOO_LARGE: Committed.TOO_LARGE,
}


class Publish:
    """The work that publishes, with the PENDING records."""

    durable = True

    def __init__(self, routes: Routes, records: Records) -> None:
        self._routes, self._records = routes, records

    def run(self, tx: Transaction, items: Sequence[Parcel]) -> list[Published]:
        placing = Placing(tx, self._routes, Room(tx))
        placing.look_up(items)
        records = self._records.batch(tx, [each.id for each in _pending(items)])
        answers = [self._publish(placing, records, item) for item in items]
        placing.write()
        records.write()
        return answers

    def _publish(self, placing: Placing, records: RecordBatch, item: Parcel) -> Published:
        outgoing, body = item
        way = placing.way(outgoing)
        if way is None:
            return Published.UNROUTABLE
        if way.bounded and not placing.reserve(way, len(body)):
            return Published.FULL
        # A record that knows better stays; only one that cannot be stored keeps its message out.
        if outgoing.record is not None and records.put(outgoing.record) is Put.TOO_LARGE:
            return Published.REFUSED
        placing.add(way, outgoing.message, body)
        return Published.CONFIRMED


def _pending(parcels: Iterable[Parcel]) -> list[TaskRecord]:
    return [outgoing.record for outgoing, _ in parcels if outgoing.record is not None]


class PublishReplies(Publish):
    """The same for batches of replies: who waits for one does not outlive a power cut."""

    durable = False


class Bundle(NamedTuple):
    """One unit of a commit.

    Args:
        verdict: The delivery and its outcome.
        record: Its report, or None.
        followups: What leaves with it.
    """

    verdict: Verdict
    record: TaskRecord | None
    followups: Sequence[Parcel]


class Commit:
    """The work that stores, publishes and settles in one step.

    Each unit is checked as a whole before anything of it is taken, so nothing has to be taken back.
    """

    durable = True

    def __init__(self, routes: Routes, records: Records) -> None:
        self._routes, self._records = routes, records

    def run(self, tx: Transaction, items: Sequence[Bundle]) -> list[Committed]:
        room, followups = Room(tx), [parcel for item in items for parcel in item.followups]
        settling = Settling(tx, self._routes, room)
        settling.look_up([item.verdict.token for item in items])
        placing = Placing(tx, self._routes, room)
        placing.look_up(followups)
        ids = [item.record.id for item in items if item.record] + [record.id for record in _pending(followups)]
        records = self._records.batch(tx, ids)
        answers = [self._commit(settling, placing, records, room, item) for item in items]
        records.write()
        placing.write()
        settling.write()
        return answers

    def _commit(
        self, settling: Settling, placing: Placing, records: RecordBatch, room: Room, item: Bundle
    ) -> Committed:
        settled = settling.check(item.verdict)
        if settled is Settled.LOST:
            return Committed.LOST
        pending = _pending(item.followups) if item.followups else []
        if any(map(records.too_large, pending)):
            return Committed.TOO_LARGE
        stored = Put.STORED if item.record is None else records.judge(item.record)
        if stored is not Put.STORED:
            return _COMMITTED[stored]
        if settled is not Settled.DONE:
            return _COMMITTED[settled]
        if item.followups and (refused := self._reserve(placing, room, item)) is not None:
            return refused
        for record in pending if item.record is None else [item.record, *pending]:
            records.put(record)
        for outgoing, body in item.followups:
            if (way := placing.way(outgoing)) is not None:
                placing.add(way, outgoing.message, body)
        settling.add(item.verdict)
        return Committed.DONE

    def _reserve(self, placing: Placing, room: Room, item: Bundle) -> Committed | None:
        """Keep room for the follow-ups, counting that the delivery itself may leave its queue."""
        mark = room.mark()
        if isinstance(item.verdict.outcome, Ack | DeadLetter):
            room.add(item.verdict.token.source, -1)
        published = placing.reserve_all(item.followups)
        if published is Published.CONFIRMED:
            return None
        room.back(mark)
        return _COMMITTED[published]
