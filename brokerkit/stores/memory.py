"""Records in the process's own memory."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Sequence
from itertools import islice
from typing import Any, Self

import msgspec

from brokerkit.clock import Clock, SystemClock
from brokerkit.records import (
    RecordPatch,
    TaskRecord,
    TaskStatus,
    accepts,
    merged,
    patchable,
    patched,
)
from brokerkit.store import Put, RecordFilter, Retention

WRITES_PER_CLEANING = 64
CLEANED_AT_ONCE = 4 * WRITES_PER_CLEANING
"""Old entries looked at by a cleaning: more than were added since the last, so that it keeps up and stalls nobody."""
PLAIN_BYTES = 4096
"""No record without a result, error, labels or follow-ups encodes to more, its names being bounded."""


class Kept:
    """A stored record; replaced as a whole by the next report.

    Args:
        record: The record.
        written: When it was written.
        until: When its retention ends.
    """

    __slots__ = ("record", "until", "written")

    def __init__(self, record: TaskRecord, written: float, until: float) -> None:
        self.record = record
        self.written = written
        self.until = until


class Mark:
    """What is kept for a time: who has a lease, what was added, how far something is counted.

    Args:
        until: When it is forgotten.
    """

    __slots__ = ("until", "value")

    def __init__(self, until: float) -> None:
        self.until = until
        self.value: Any = None


class MemoryStore:
    """A ``Store`` for one process and one event loop, with ``Leases``, ``AddOnce`` and ``Counters``.

    Args:
        clock: Where the time comes from. Default the machine's.
        retention: How long records are kept. Default ``Retention()``.
    """

    def __init__(self, clock: Clock | None = None, retention: Retention | None = None) -> None:
        self._clock = clock or SystemClock()
        self._retention = retention or Retention()
        self._kept: dict[str, Kept] = {}
        # Retention is one figure per class, so each class expires in the order of writing: no heap is needed.
        # What was replaced since stays behind as a stale entry until cleaning comes to it.
        self._success: deque[Kept] = deque()
        self._failure: deque[Kept] = deque()
        self._pending: deque[Kept] = deque()
        self._classes = {status: (self._class_of(status), self._retention.seconds(status)) for status in TaskStatus}
        self._cap = float("inf") if self._retention.cap is None else self._retention.cap
        self._writes = 0
        self._marks: dict[tuple[str, str], Mark] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """Nothing to close: the records stay for the next one who enters."""

    async def put(self, records: Sequence[TaskRecord]) -> Sequence[Put]:
        now = self._clock.now()
        return [self.write(record, now) for record in records]

    async def patch(self, patches: Sequence[RecordPatch]) -> Sequence[Put]:
        now = self._clock.now()
        return [self._patch(patch, now) for patch in patches]

    async def get(self, ids: Sequence[str]) -> Sequence[TaskRecord | None]:
        now = self._clock.now()
        return [self.read(task_id, now) for task_id in ids]

    async def find(self, filter: RecordFilter) -> list[TaskRecord]:  # noqa: A002 - the contract's name
        now = self._clock.now()
        alive = (kept.record for kept in self._kept.values() if kept.until >= now)
        matching = (record for record in alive if matches(record, filter))
        return heapq.nlargest(filter.limit, matching, key=lambda record: record.created)

    async def delete(self, ids: Sequence[str]) -> int:
        now = self._clock.now()
        count = 0
        for task_id in ids:
            kept = self._kept.pop(task_id, None)
            count += kept is not None and kept.until >= now
        return count

    def read(self, task_id: str, now: float) -> TaskRecord | None:
        """One record; synchronous, as ``write`` is."""
        kept = self._current(task_id, now)
        return kept.record if kept is not None else None

    async def lease(self, name: str, owner: str, seconds: float) -> bool:
        mark = self._mark("lease", name, seconds)
        if mark.value not in (None, owner):
            return False
        mark.value, mark.until = owner, self._clock.now() + seconds
        return True

    async def add_once(self, key: str, seconds: float) -> bool:
        mark = self._mark("once", key, seconds)
        first, mark.value = mark.value is None, True
        return first

    async def count(self, name: str, by: int, seconds: float) -> int:
        mark = self._mark("counter", name, seconds)
        mark.value, mark.until = (mark.value or 0) + by, self._clock.now() + seconds
        return int(mark.value)

    def _mark(self, kind: str, name: str, seconds: float) -> Mark:
        """What is there of that name, or a new one; some that are over go."""
        now = self._clock.now()
        for key in list(islice(self._marks, 2)):
            old = self._marks.pop(key)
            if old.until > now:
                self._marks[key] = old  # at the end: its turn comes again
        mark = self._marks.get((kind, name))
        if mark is None or mark.until <= now:
            mark = self._marks[kind, name] = Mark(now + seconds)
        return mark

    def judge(self, record: TaskRecord, now: float) -> Put:
        """What ``write`` would answer, without writing; for a broker that shares its transaction with this store."""
        return self._fenced(record, now)[0]

    def write(self, record: TaskRecord, now: float) -> Put:
        """Store one report; synchronous, so that whoever calls it between two awaits has a transaction."""
        answer, record = self._fenced(record, now)
        if answer is Put.STORED:
            entries, seconds = self._classes[record.status]
            kept = Kept(record, now, now + seconds)
            self._kept[record.id] = kept
            entries.append(kept)
            self._writes += 1
            if self._writes >= WRITES_PER_CLEANING or len(self._kept) > self._cap:
                self._clean(now)
        return answer

    def _fenced(self, record: TaskRecord, now: float) -> tuple[Put, TaskRecord]:
        kept = self._kept.get(record.id)
        if kept is not None and kept.until >= now:
            stored = kept.record
            if not accepts(stored.fence, stored.stage, record.fence, record.stage):
                return Put.STALE, record
            record = record if nothing_to_merge(stored, record) else merged(stored, record)
        if too_large(record, self._retention.max_bytes):
            return Put.TOO_LARGE, record
        return Put.STORED, record

    def _patch(self, patch: RecordPatch, now: float) -> Put:
        kept = self._current(patch.id, now)
        if kept is None or not patchable(kept.record, patch):
            return Put.STALE
        record = patched(kept.record, patch)
        if too_large(record, self._retention.max_bytes):
            return Put.TOO_LARGE
        kept.record = record
        return Put.STORED

    def _current(self, task_id: str, now: float) -> Kept | None:
        kept = self._kept.get(task_id)
        return None if kept is None or kept.until < now else kept

    def _class_of(self, status: TaskStatus) -> deque[Kept]:
        if not status.terminal:
            return self._pending
        return self._success if status is TaskStatus.SUCCESS else self._failure

    def _clean(self, now: float) -> None:
        self._writes = 0
        for entries in (self._pending, self._success, self._failure):
            for _ in range(CLEANED_AT_ONCE):
                if not entries or not self._drop_if_over(entries, now):
                    break
            if len(entries) > 2 * len(self._kept) + 64:
                current = [kept for kept in entries if self._is_current(kept)]
                entries.clear()
                entries.extend(current)
        while len(self._kept) > self._cap:
            self._drop_oldest()

    def _drop_if_over(self, entries: deque[Kept], now: float) -> bool:
        """Drop the first entry if it is stale or past its retention."""
        kept = entries[0]
        if self._is_current(kept):
            if kept.until >= now:
                return False
            del self._kept[kept.record.id]
        entries.popleft()
        return True

    def _drop_oldest(self) -> None:
        finished = [entries for entries in (self._success, self._failure) if self._trim_stale(entries)]
        if not finished and self._trim_stale(self._pending):
            finished = [self._pending]
        oldest = min(finished, key=lambda entries: entries[0].written)
        del self._kept[oldest.popleft().record.id]

    def _trim_stale(self, entries: deque[Kept]) -> bool:
        """Bring a current entry to the front; False if there is none."""
        while entries and not self._is_current(entries[0]):
            entries.popleft()
        return bool(entries)

    def _is_current(self, kept: Kept) -> bool:
        return self._kept.get(kept.record.id) is kept


def matches(record: TaskRecord, wanted: RecordFilter) -> bool:
    """True when every given field of the filter agrees with the record."""
    return (
        (wanted.name is None or record.name == wanted.name)
        and (wanted.queue is None or record.queue == wanted.queue)
        and (not wanted.statuses or record.status in wanted.statuses)
        and (wanted.created_after is None or record.created >= wanted.created_after)
        and (wanted.created_before is None or record.created < wanted.created_before)
        and all(record.metadata.get(label) == value for label, value in wanted.metadata.items())
    )


def nothing_to_merge(stored: TaskRecord, new: TaskRecord) -> bool:
    """True when ``merged`` would answer the new report as it is, which is what most outcomes are."""
    return (
        not stored.metadata
        and not stored.attempts
        and stored.progress is None
        and not stored.note
        and not stored.followups
        and stored.started is None
        and stored.created == new.created
    )


def too_large(record: TaskRecord, max_bytes: int) -> bool:
    """True when the encoded record is over the limit; encodes only what might be."""
    plain = record.error is None and not record.attempts and not record.metadata and not record.followups
    if plain and len(record.result or b"") + 4 * len(record.note) + PLAIN_BYTES <= max_bytes:
        return False
    return len(msgspec.msgpack.encode(record)) > max_bytes
