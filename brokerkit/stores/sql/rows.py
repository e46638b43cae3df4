"""A record as a row: its body, and beside it what the database compares and searches.

``carries`` and ``covers`` are how the database knows, without reading bodies, that a new report replaces the stored one
as it is: when the stored one carries nothing that ``records.merged`` would take over, or the new one covers it. Any
other pair is merged by ``records.merged`` itself.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from typing import NamedTuple

import msgspec

from brokerkit.message import Scalar
from brokerkit.records import TaskRecord, TaskStatus

_encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder(TaskRecord).decode

LONGEST_KEY = 200
"""Bytes of a key. Three such columns fit into an index of InnoDB, which takes 3072 bytes."""

_ATTEMPTS, _STARTED, _PROGRESS, _NOTE, _FOLLOWUPS = 1, 2, 4, 8, 16
_LARGEST = 2**63 - 1


class Row(NamedTuple):
    """The columns, in order.

    Args:
        id: The task's id, as ``key`` writes it.
        name: The wire name, likewise.
        queue: The queue, likewise.
        status: The status.
        stage: See ``TaskRecord.stage``.
        run: First part of the fence.
        attempt: Second part of the fence.
        deliveries: Third part of the fence.
        created: When it was sent, 0 when that is not a number.
        expires: When its retention ends.
        carries: Which fields it has that a later report without them takes over, as bits.
        covers: Which of those an earlier report may have without being merged.
        stamp: Unlike that of any other report, so that a repeated write is known to be one.
        labels: Its labels as tokens, a JSON array, or None.
        body: The record, as MessagePack.
    """

    id: str
    name: str
    queue: str
    status: str
    stage: int
    run: int
    attempt: int
    deliveries: int
    created: float
    expires: float
    carries: int
    covers: int
    stamp: int
    labels: str | None
    body: bytes


def row_of(record: TaskRecord, expires: float, stamp: int) -> Row:
    """The row of a record.

    Raises:
        ValueError: A text in it is not Unicode, or a number larger than MessagePack takes (``OverflowError``).
    """
    run, attempt, deliveries = (max(-_LARGEST, min(part, _LARGEST)) for part in record.fence)
    return Row(
        key(record.id),
        key(record.name),
        key(record.queue),
        record.status.value,
        record.stage,
        run,
        attempt,
        deliveries,
        record.created if math.isfinite(record.created) else 0.0,
        expires,
        _carries(record),
        _covers(record),
        stamp,
        label_tokens(record.metadata) if record.metadata else None,
        _encode(record),
    )


def key(text: str) -> str:
    """A text as every database can index and compare it: itself, or a digest when it is long or has odd characters."""
    plain = text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)
    if plain and "\0" not in text and not text.startswith("~") and len(text.encode()) <= LONGEST_KEY:
        return text
    return "~" + blake2b(text.encode("utf-8", "surrogatepass"), digest_size=20).hexdigest()


def label_tokens(labels: Mapping[str, Scalar]) -> str:
    """Labels as a sorted JSON array of texts that are equal where label and value are."""
    return msgspec.json.encode(sorted(key(_token(label, value)) for label, value in labels.items())).decode()


def keys(ids: Iterable[str]) -> list[str]:
    """The keys of ids, each once, in the order in which rows are locked everywhere, so that no two batches wait for
    each other."""
    return sorted({key(each) for each in ids})


def _token(label: str, value: Scalar) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    # True, 1 and 1.0 are equal, and so are their tokens; "1" is something else.
    return f"{json.dumps(label)}={json.dumps(value) if isinstance(value, str) else repr(+value)}"


def _carries(record: TaskRecord) -> int:
    return (
        (_ATTEMPTS if record.attempts else 0)
        | (_STARTED if record.started is not None else 0)
        | (_PROGRESS if record.progress is not None else 0)
        | (_NOTE if record.note else 0)
        | (_FOLLOWUPS if record.followups else 0)
    )


def _covers(record: TaskRecord) -> int:
    """Failed attempts are always united, so none covers them."""
    covered = _carries(record) & ~_ATTEMPTS
    return covered if record.status is TaskStatus.RUNNING else covered | _FOLLOWUPS
