"""Records in the file: the fenced write that the transport's transactions and the store share."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from brokerkit.records import RecordPatch, TaskRecord, accepts, merged, patchable, patched
from brokerkit.store import Put, RecordFilter, Retention
from brokerkit.transports.sqlite import sql
from brokerkit.transports.sqlite.transaction import Transaction, array, split

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(TaskRecord).decode
_lengths = msgspec.json.Decoder(list[int]).decode


_Judged = tuple[TaskRecord, Put, TaskRecord, bytes]
"""A report, the answer, and what is to be stored in which form."""


class Records:
    """Writes records within a transaction of the writer.

    Args:
        retention: How long they are kept.
    """

    durable = True

    def __init__(self, retention: Retention) -> None:
        self.retention = retention
        self._room = 0

    def batch(self, tx: Transaction, ids: Sequence[str]) -> RecordBatch:
        """Some records, to be changed together."""
        return RecordBatch(tx, self, ids)

    def run(self, tx: Transaction, items: Sequence[TaskRecord | RecordPatch]) -> list[Put]:
        """Store reports and patches, in order."""
        batch = self.batch(tx, [item.id for item in items])
        answers = [batch.put(item) if isinstance(item, TaskRecord) else batch.patch(item) for item in items]
        batch.write()
        return answers

    def written(self, tx: Transaction, count: int) -> None:
        """Keep to the cap. Counting is slow, so it is done when the room found by the last count may be used up."""
        self._room -= count
        cap = self.retention.cap
        if self._room >= 0 or cap is None:
            return
        self._room = cap - tx.row(sql.COUNT_RECORDS)[0]
        if self._room < 0:
            # A little more than necessary, or a full store would be counted after every report.
            self._room += tx.run(sql.DROP_SURPLUS_RECORDS, -self._room + cap // 1000)


class RecordBatch:
    """Some records, read in one step and written in few."""

    def __init__(self, tx: Transaction, records: Records, ids: Sequence[str]) -> None:
        self._tx, self._records = tx, records
        self._retention = records.retention
        self._current = {record.id: record for record in load(tx.connection, ids, tx.now)} if ids else {}
        self._rows: dict[str, tuple[Any, ...]] = {}
        self._whole = False
        self._judged: _Judged | None = None

    def known(self, task_id: str) -> TaskRecord | None:
        """What is stored of one of them."""
        return self._current.get(task_id)

    def put(self, record: TaskRecord) -> Put:
        """Take a report."""
        judged = self._judged
        if judged is None or judged[0] is not record:
            judged = self._judge(record)
        _, verdict, kept, body = judged
        if verdict is Put.STORED:
            self._keep(kept, body)
        return verdict

    def patch(self, patch: RecordPatch) -> Put:
        """Take a patch."""
        old = self._current.get(patch.id)
        if old is None or not patchable(old, patch):
            return Put.STALE
        kept = patched(old, patch)
        body = _encode(kept)
        if len(body) > self._retention.max_bytes:
            return Put.TOO_LARGE
        self._keep(kept, body)
        return Put.STORED

    def judge(self, record: TaskRecord) -> Put:
        """What ``put`` would answer; asked for next, it need not be worked out again."""
        return self._judge(record)[1]

    def too_large(self, record: TaskRecord) -> bool:
        """Whether a new record is over the limit."""
        return len(_encode(record)) > self._retention.max_bytes

    def write(self) -> None:
        """Write all that was taken."""
        if self._rows:
            tail = sql.REPLACE_RECORDS if self._whole else sql.REFRESH_RECORDS
            self._tx.insert(sql.PUT_RECORDS, list(self._rows.values()), tail)
            self._records.written(self._tx, len(self._rows))

    def _judge(self, record: TaskRecord) -> _Judged:
        """The answer, with what is to be stored."""
        old, kept, body, verdict = self._current.get(record.id), record, b"", Put.STORED
        if old is not None and not accepts(old.fence, old.stage, record.fence, record.stage):
            verdict = Put.STALE
        else:
            kept = record if old is None else merged(old, record)
            body = _encode(kept)
            if len(body) > self._retention.max_bytes:
                verdict = Put.TOO_LARGE
        self._judged = (record, verdict, kept, body)
        return self._judged

    def _keep(self, record: TaskRecord, body: bytes) -> None:
        self._judged = None
        old, self._current[record.id] = self._current.get(record.id), record
        # Without an old one there may yet be a row that has expired, which nothing of may stay.
        if old is None or (old.name, old.queue, old.created) != (record.name, record.queue, record.created):
            self._whole = True
        expires = self._tx.now + self._retention.seconds(record.status)
        labels = msgspec.json.encode(record.metadata).decode() if record.metadata else None
        status = record.status.value
        self._rows[record.id] = (record.id, record.name, record.queue, status, record.created, expires, labels, body)


def load(connection: sqlite3.Connection, ids: Iterable[str], now: float) -> list[TaskRecord]:
    """The records that are there, in any order."""
    lengths, packed = connection.execute(sql.GET_RECORDS, (array(ids), now)).fetchone()
    return [_decode(body) for body in split(_lengths(lengths), packed or b"")]


def find(connection: sqlite3.Connection, wanted: RecordFilter, now: float) -> list[TaskRecord]:
    """Records that match, newest first."""
    conditions, values = _conditions(wanted)
    where = " AND ".join(["expires > ?", *conditions])
    query = f"SELECT body FROM records WHERE {where} ORDER BY created DESC, rowid DESC LIMIT ?"
    return [_decode(body) for (body,) in connection.execute(query, [now, *values, wanted.limit])]


def _conditions(wanted: RecordFilter) -> tuple[list[str], list[Any]]:
    """What a filter asks for, as conditions with parameters."""
    given = [
        ("name = ?", wanted.name),
        ("queue = ?", wanted.queue),
        ("created >= ?", wanted.created_after),
        ("created < ?", wanted.created_before),
    ]
    if wanted.statuses:
        given.append(("status IN (SELECT value FROM json_each(?))", array(wanted.statuses)))
    conditions = [condition for condition, value in given if value is not None]
    values: list[Any] = [value for _, value in given if value is not None]
    for label, value in wanted.metadata.items():
        conditions.append("EXISTS (SELECT 1 FROM json_each(labels) AS label WHERE label.key = ? AND label.value = ?)")
        values += [label, value]
    return conditions, values
