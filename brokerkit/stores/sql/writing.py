"""Writing reports and patches: the fence in one statement where nothing is to be merged, else under a lock."""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from secrets import randbits
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from brokerkit.clock import Clock
from brokerkit.errors import StoreError
from brokerkit.records import RecordPatch, TaskRecord, accepts, merged, patchable, patched
from brokerkit.store import Put, Retention
from brokerkit.stores.sql.backend import Refused
from brokerkit.stores.sql.database import Database
from brokerkit.stores.sql.rows import Row, decode, key, row_of
from brokerkit.stores.sql.transaction import transaction

_log = logging.getLogger("brokerkit.stores")

_ROWS = 250
"""Rows of a statement at most."""
_BYTES = 8 << 20
"""Bytes of their bodies at most, unless one alone is larger."""
_ROUNDS = 10
"""How often a report is judged again because its task's record came or went meanwhile."""


class Change:
    """One report or patch on its way.

    Args:
        item: What to write.
        stamp: Its own, so that a repeated write is recognised.
    """

    __slots__ = ("answer", "item", "key", "row", "stamp")

    def __init__(self, item: TaskRecord | RecordPatch, stamp: int) -> None:
        self.item = item
        self.stamp = stamp
        self.key = key(item.id)
        self.row: Row | None = None
        self.answer: Put | None = None

    @property
    def size(self) -> int:
        """Bytes of its body."""
        return 0 if self.row is None else len(self.row.body)


class Kept:
    """A row that is there, and locked."""

    __slots__ = ("expires", "record", "stamp")

    def __init__(self, expires: float, stamp: int, body: bytes) -> None:
        self.expires = expires
        self.stamp = stamp
        self.record = decode(body)


class Writer:
    """Writes.

    Args:
        database: Where.
        retention: How long records are kept, and how large they may be.
        clock: Supplies the time.
    """

    def __init__(self, database: Database, retention: Retention, clock: Clock) -> None:
        self._database = database
        self._retention = retention
        self._clock = clock

    async def write(self, items: Sequence[TaskRecord | RecordPatch]) -> list[Put]:
        """Write in order; an answer each. What fails after something was written is told as ``Put.ERROR``."""
        first = randbits(62)
        changes = [Change(item, first + number) for number, item in enumerate(items)]
        failure: StoreError | None = None
        for chunk in _chunks(self._encoded(changes)):
            try:
                await self._settle(chunk)
            except StoreError as error:
                failure = error
                _log.warning("%d reports or patches are not stored: %s", len(chunk), error)
        if failure is not None and all(change.answer in {None, Put.ERROR} for change in changes):
            raise failure
        return [change.answer or Put.ERROR for change in changes]

    def _encoded(self, changes: Iterable[Change]) -> Iterator[Change]:
        """Those that can be written, with their rows."""
        now = self._clock.now()
        for change in changes:
            if isinstance(change.item, TaskRecord):
                try:
                    change.row = self._row(change.item, now, change.stamp)
                except (ValueError, OverflowError, TypeError) as error:
                    change.answer = Put.ERROR
                    _log.warning("the record of %r cannot be encoded: %s", change.item.id, error)
                    continue
            yield change

    def _row(self, record: TaskRecord, now: float, stamp: int) -> Row:
        return row_of(record, now + self._retention.seconds(record.status), stamp)

    def _fits(self, row: Row) -> bool:
        return len(row.body) <= min(self._retention.max_bytes, self._database.backend.largest)

    async def _settle(self, chunk: Sequence[Change]) -> None:
        """Answer each of a chunk, in which no id comes twice."""
        open_ = sorted(chunk, key=lambda change: change.key)
        for _ in range(_ROUNDS):
            plain = [change for change in open_ if change.row is not None and self._fits(change.row)]
            await self._divided(self._upsert, plain)
            rest = [change for change in open_ if change.answer is None]
            await self._divided(self._merge, rest)
            open_ = [change for change in rest if change.answer is None]
            if not open_:
                return

    async def _divided(self, write: _Write, changes: Sequence[Change]) -> None:
        """Write all, or, where the database refuses a value, all but the one that holds it."""
        if not changes:
            return
        try:
            answers = await self._database.run(lambda connection: write(connection, changes))
        except Refused as error:
            if len(changes) == 1:
                changes[0].answer = Put.ERROR
                _log.warning("the record of %r cannot be stored: %s", changes[0].item.id, error)
                return
            middle = len(changes) // 2
            await self._divided(write, changes[:middle])
            await self._divided(write, changes[middle:])
            return
        for change in changes:
            change.answer = answers.get(change.key, change.answer)

    async def _upsert(self, connection: AsyncConnection, changes: Sequence[Change]) -> _Answers:
        """One statement. Says nothing of those that are stale, or are to be merged."""
        rows = [change.row for change in changes if change.row is not None]
        written = await self._database.backend.put(connection, rows, self._clock.now(), False)
        return dict.fromkeys(written, Put.STORED)

    async def _merge(self, connection: AsyncConnection, changes: Sequence[Change]) -> _Answers:
        """What the rules in ``records`` say, while the rows are locked. Says nothing of reports on tasks that have no
        record any more."""
        answers: _Answers = {}
        rows: list[Row] = []
        backend = self._database.backend
        async with transaction(connection, backend.begin):
            now = self._clock.now()
            kept = await self._locked(connection, [change.key for change in changes], now)
            for change in changes:
                answer, row = self._judge(change, kept.get(change.key), now)
                if answer is not None:
                    answers[change.key] = answer
                if row is not None:
                    rows.append(row)
            if rows:
                await backend.put(connection, rows, now, True)
        return answers

    def _judge(self, change: Change, kept: Kept | None, now: float) -> tuple[Put | None, Row | None]:
        """The answer, None for one that is to be tried as a new record, and the row to write."""
        item = change.item
        if kept is None:
            if isinstance(item, RecordPatch):
                return Put.STALE, None
            return (None if change.row is None or self._fits(change.row) else Put.TOO_LARGE), None
        if kept.stamp == change.stamp:  # written before, when the connection was lost
            return Put.STORED, None
        if isinstance(item, RecordPatch):
            fresh, expires = patchable(kept.record, item), kept.expires
        else:
            old = kept.record
            fresh = accepts(old.fence, old.stage, item.fence, item.stage)
            expires = now + self._retention.seconds(item.status)
        if not fresh:
            return Put.STALE, None
        record = patched(kept.record, item) if isinstance(item, RecordPatch) else merged(kept.record, item)
        row = row_of(record, expires, change.stamp)
        return (Put.STORED, row) if self._fits(row) else (Put.TOO_LARGE, None)

    async def _locked(self, connection: AsyncConnection, keys: Sequence[str], now: float) -> dict[str, Kept]:
        """What is there and within its retention, locked in the order of the keys."""
        columns = self._database.backend.tables.records.c
        query = (
            select(columns.id, columns.expires, columns.stamp, columns.body)
            .where(self._database.backend.among(columns.id, keys))
            .order_by(columns.id)
            .with_for_update()
        )
        found = await connection.execute(query)
        return {each.id: Kept(each.expires, each.stamp, each.body) for each in found if each.expires > now}


_Answers = dict[str, Put]
_Write = Callable[[AsyncConnection, Sequence[Change]], Coroutine[Any, Any, _Answers]]


def _chunks(changes: Iterable[Change]) -> Iterator[list[Change]]:
    """Cut where a statement would become too large, or would write one record twice."""
    chunk: list[Change] = []
    keys: set[str] = set()
    size = 0
    for change in changes:
        if chunk and (change.key in keys or len(chunk) == _ROWS or size + change.size > _BYTES):
            yield chunk
            chunk, keys, size = [], set(), 0
        chunk.append(change)
        keys.add(change.key)
        size += change.size
    if chunk:
        yield chunk
