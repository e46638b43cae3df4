"""The contract of a store of records. These docstrings are its specification; adapters do not repeat them."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import msgspec

from brokerkit.records import RecordPatch, TaskRecord, TaskStatus


class Put(enum.Enum):
    """What became of one record."""

    STORED = "stored"
    STALE = "stale"
    """The store knows better (``records.accepts`` said no), or a patch found no record; nothing changed."""
    TOO_LARGE = "too_large"
    """Over the store's limit; nothing changed."""
    ERROR = "error"
    """The store failed for this one; trying again may help."""


class Retention(msgspec.Struct, frozen=True, kw_only=True):
    """How long records are kept.

    Args:
        success: Seconds after SUCCESS; default 1 h.
        failure: Seconds after any other outcome; default 7 d.
        pending: Seconds after the last report of an unfinished task; default 30 d.
        cap: Records kept at most, the oldest finished ones go first; None for no cap.
        max_bytes: Largest encoded record; default 1 MiB.

    Raises:
        ValueError: A value makes no sense.
    """

    success: float = 3600.0
    failure: float = 7 * 86400.0
    pending: float = 30 * 86400.0
    cap: int | None = 1_000_000
    max_bytes: int = 1 << 20

    def __post_init__(self) -> None:
        for name in ("success", "failure", "pending"):
            if not 0 < (span := getattr(self, name)) < float("inf"):
                raise ValueError(f"Retention({name}={span!r}): give seconds > 0")
        if self.cap is not None and self.cap < 1:
            raise ValueError(f"Retention(cap={self.cap!r}): give a number >= 1, or None for no cap")
        if self.max_bytes < 1:
            raise ValueError(f"Retention(max_bytes={self.max_bytes!r}): give a number >= 1")

    def seconds(self, status: TaskStatus) -> float:
        """How long a record of this status is kept after it was written."""
        if status is TaskStatus.SUCCESS:
            return self.success
        return self.failure if status.terminal else self.pending


class RecordFilter(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which records to find; every given field must match.

    Args:
        name: Wire name.
        queue: Queue.
        statuses: Any of these; () for any.
        created_after: Seconds since the epoch, inclusive.
        created_before: Exclusive.
        metadata: Labels that must have these values.
        limit: At most so many, newest first.
    """

    name: str | None = None
    queue: str | None = None
    statuses: tuple[TaskStatus, ...] = ()
    created_after: float | None = None
    created_before: float | None = None
    metadata: dict[str, str | int | float | bool] = {}
    limit: int = 100


class Store(Protocol):
    """Keeps records, fenced.

    Every method may be called concurrently from one event loop. Cancelling a call may leave its effect done or
    not, never half a record. An answer per item, in the order asked: no item's failure affects another.
    Trouble with the whole store (unreachable, corrupt) raises ``StoreError``.
    """

    async def put(self, records: Sequence[TaskRecord]) -> Sequence[Put]:
        """Store reports. Each is compared with what is stored by ``records.accepts``, and what is kept is
        ``records.merged``; the comparison and the write are one step, also between processes. Two reports of
        one id in one call take effect in order."""
        ...

    async def patch(self, patches: Sequence[RecordPatch]) -> Sequence[Put]:
        """Change progress, note and labels as ``records.patched`` says, where ``records.patchable`` allows."""
        ...

    async def get(self, ids: Sequence[str]) -> Sequence[TaskRecord | None]:
        """The records, None for one unknown or past its retention. Sees every earlier ``put`` that returned."""
        ...

    async def find(self, filter: RecordFilter) -> list[TaskRecord]:  # noqa: A002 - the argument's plain name
        """Records that match, newest first."""
        ...

    async def delete(self, ids: Sequence[str]) -> int:
        """Forget records; returns how many there were."""
        ...


class OpenStore(Store, AbstractAsyncContextManager["OpenStore"], Protocol):
    """A store with a lifetime: entering connects and creates its schema, leaving closes it.

    Entering raises ``StoreError`` with one clear message; it may be entered again after it was left.
    """
