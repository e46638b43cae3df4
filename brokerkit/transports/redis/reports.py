"""Records as the scripts see them: a head that they compare, and a body that they only keep.

What has to be merged with what is stored is merged here and written if nothing has changed meanwhile.
"""

from __future__ import annotations

import struct
from binascii import crc32
from typing import NamedTuple

import msgspec

from brokerkit.records import RANK, TERMINAL, TaskRecord, TaskStatus
from brokerkit.store import Retention
from brokerkit.transports.redis.keys import Keys
from brokerkit.transports.redis.link import Argument

_HEAD = struct.Struct(">IIIBBd")
_VERSION = 4
_PREFIX = _VERSION + _HEAD.size
_METADATA, _ATTEMPTS, _PROGRESS, _NOTE, _STARTED, _FOLLOWUPS = 1, 2, 4, 8, 16, 32
_MOST = 0xFFFFFFFF

encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder(TaskRecord).decode


PARTS = 64
"""In how many parts the records of a cluster lie: enough to spread, few enough that a batch is not a call a record."""


class RecordKeys(NamedTuple):
    """Where records are.

    Args:
        keys: What keys are called.
    """

    keys: Keys

    def near(self, task_id: str) -> str:
        """What keys begin with that lie beside a record."""
        return self.keys.prefix if self.keys.together else self.keys.near(f"r{crc32(task_id.encode()) % PARTS}")

    @property
    def succeeded(self) -> str:
        """Sorted set: ids of tasks that succeeded, by the millisecond of the report."""
        return f"{self.keys.home}:records:succeeded"

    @property
    def failed(self) -> str:
        """The same for every other outcome."""
        return f"{self.keys.home}:records:failed"

    @property
    def created(self) -> str:
        """Sorted set: ids of all tasks, by the millisecond at which they were sent; kept on request."""
        return f"{self.keys.home}:records:created"

    def named(self, name: str) -> str:
        """The same for those of one wire name."""
        return f"{self.keys.home}:records:name:{name}"

    def record(self, task_id: str) -> str:
        return f"{self.near(task_id)}:record:{task_id}"

    def mark(self, kind: str, name: str) -> str:
        """What is kept for a time beside the records: leases, what was added once, counters."""
        return f"{self.near(name)}:{kind}:{name}"

    @property
    def all(self) -> str:
        """Matches every record's key."""
        return f"{self.keys.prefix if self.keys.together else self.keys.near('r*')}:record:*"


def head(record: TaskRecord) -> bytes:
    """What scripts compare, see ``lua/records.lua``."""
    run, attempt, deliveries = record.fence
    flags = (
        (_METADATA if record.metadata else 0)
        | (_ATTEMPTS if record.attempts else 0)
        | (_PROGRESS if record.progress is not None else 0)
        | (_NOTE if record.note else 0)
        | (_STARTED if record.started is not None else 0)
        | (_FOLLOWUPS if record.followups else 0)
    )
    return _HEAD.pack(min(run, _MOST), min(attempt, _MOST), min(deliveries, _MOST), record.stage, flags, record.created)


def mask(record: TaskRecord) -> int:
    """Which parts of a stored record would have to be merged into this one."""
    return (
        _METADATA
        | _ATTEMPTS
        | (_PROGRESS if record.progress is None else 0)
        | (_NOTE if not record.note else 0)
        | (_STARTED if record.started is None else 0)
        | (_FOLLOWUPS if record.status is TaskStatus.RUNNING else 0)
    )


def stored(value: bytes) -> tuple[bytes, TaskRecord]:
    """The version and the record of what is stored."""
    return value[:_VERSION], decode(value[_PREFIX:])


class RecordWriter:
    """Turns records into keys and arguments of scripts.

    Args:
        keys: Where records are.
        retention: How long they are kept.
        index: Keep lists of them by name and time.
    """

    def __init__(self, keys: RecordKeys, retention: Retention, *, index: bool) -> None:
        self.keys, self.retention, self.index = keys, retention, index
        self.ttl = {status: max(1, int(retention.seconds(status) * 1000)) for status in TaskStatus}
        self.longest = max(self.ttl.values())
        self._list = {status: _list_of(keys, status) for status in TaskStatus}

    def add(self, record: TaskRecord | None, keys: list[Argument], args: list[Argument], version: bytes = b"") -> None:
        """Add a report, or that there is none; with a version it replaces exactly that one.

        One that is over the limit goes without its body: the script says so, unless it is stale anyway.
        """
        if record is None:
            args.append("")
            return
        body = encode(record)
        if len(body) > self.retention.max_bytes:
            body = b""
        keys.append(self.keys.record(record.id))
        kind = self._list[record.status] if self.keys.keys.together else ""
        if kind:
            keys.append(kind)
        ttl, letter = self.ttl[record.status], "f" if kind else "p"
        indexed = self.index and self.keys.keys.together
        args += (letter.upper() if indexed else letter, version, record.id, head(record), mask(record), ttl, body)
        if indexed:
            keys += (self.keys.created, self.keys.named(record.name))
            args += (int(record.created * 1000), self.longest)


def _list_of(keys: RecordKeys, status: TaskStatus) -> str:
    """Among which finished ones a record of this status is, "" for none."""
    if RANK[status] != TERMINAL:
        return ""
    return keys.succeeded if status is TaskStatus.SUCCESS else keys.failed
