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


class Records:
    """Writes records within a transaction of the writer.

    Args:
        retention: How long they are kept.
    """

    durable = True

    def __init__(self, retention: Retention) -> None:
        self.retention = retention

    def run(self, tx: Transaction, items: Sequence[TaskRecord | RecordPatch]) -> list[Put]:
        """Store reports and patches, in order."""
        batch = RecordBatch(tx, self.retention, [item.id for item in items])
        answers = [batch.put(item) if isinstance(item, TaskRecord) else batch.patch(item) for item in items]
        batch.write()
        return answers


class RecordBatch:
    """Some records, read in one step and written in few."""

    def __init__(self, tx: Transaction, retention: Retention, ids: Sequence[str]) -> None:
        self._tx = tx
        self._retention = retention
        self._current = {record.id: record for record in load(tx.connection, ids, tx.now)} if ids else {}
        self._rows: dict[str, tuple[Any, ...]] = {}

    def put(self, record: TaskRecord) -> Put:
        """Take a report."""
        kept = self._kept(record)
        return Put.STALE if kept is None else self._keep(kept)

    def patch(self, patch: RecordPatch) -> Put:
        """Take a patch."""
        old = self._current.get(patch.id)
        return Put.STALE if old is None or not patchable(old, patch) else self._keep(patched(old, patch))

    def judge(self, reports: Iterable[TaskRecord], pending: Iterable[TaskRecord]) -> Put:
        """What ``put`` would answer for all together; a PENDING record that is stale stops nothing."""
        for record in reports:
            kept = self._kept(record)
            if kept is None:
                return Put.STALE
            if len(_encode(kept)) > self._retention.max_bytes:
                return Put.TOO_LARGE
        too_large = any(len(_encode(record)) > self._retention.max_bytes for record in pending)
        return Put.TOO_LARGE if too_large else Put.STORED

    def write(self) -> None:
        """Write all that was taken."""
        self._tx.insert(sql.PUT_RECORDS, list(self._rows.values()), sql.REPLACE_RECORDS)

    def _kept(self, record: TaskRecord) -> TaskRecord | None:
        """What a report leaves in the store; None if the store knows better."""
        old = self._current.get(record.id)
        if old is None:
            return record
        return merged(old, record) if accepts(old.fence, old.status, record.fence, record.status) else None

    def _keep(self, record: TaskRecord) -> Put:
        body = _encode(record)
        if len(body) > self._retention.max_bytes:
            return Put.TOO_LARGE
        self._current[record.id] = record
        expires = self._tx.now + self._retention.seconds(record.status)
        labels = msgspec.json.encode(record.metadata).decode() if record.metadata else None
        status = record.status.value
        self._rows[record.id] = (record.id, record.name, record.queue, status, record.created, expires, labels, body)
        return Put.STORED


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
