"""Questions to the store of records, and what a client may change there."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from brokerkit.abilities import SentBack
from brokerkit.calls import unknown
from brokerkit.errors import ConfigurationError, MissingCapability, ResultTooLarge, StoreError, TaskNotFound
from brokerkit.message import Scalar
from brokerkit.records import RecordPatch, TaskRecord, sent_back
from brokerkit.store import Put, RecordFilter, Store

_log = logging.getLogger("brokerkit")

AT_ONCE = 500
"""Records read and written in one go."""


class Asking:
    """Asks the store.

    Args:
        store: The store of records, or None; then every question raises ``MissingCapability``.
    """

    def __init__(self, store: Store | None) -> None:
        self._kept = store

    @property
    def _store(self) -> Store:
        if self._kept is None:
            raise MissingCapability(
                'no store keeps records here: results come by reply only; name one with App(url, store="sqlite:///...")'
            )
        return self._kept

    async def record(self, task_id: str) -> TaskRecord | None:
        """What the store knows of a task."""
        return (await self._store.get([task_id]))[0]

    async def known(self, task_id: str) -> TaskRecord | None:
        """What is known of a task; None, too, where no store keeps records."""
        return None if self._kept is None else (await self._kept.get([task_id]))[0]

    async def find(self, wanted: Mapping[str, Any]) -> list[TaskRecord]:
        """Records that match these fields of a ``RecordFilter``, newest first."""
        if text := unknown("find()", wanted, RecordFilter.__struct_fields__):
            raise ConfigurationError(text)
        try:
            checked = msgspec.convert({name: _moment(name, value) for name, value in wanted.items()}, RecordFilter)
        except msgspec.ValidationError as error:
            raise ConfigurationError(f"find: {error}") from error
        return await self._store.find(checked)

    async def label(self, task_id: str, labels: Mapping[str, Scalar]) -> None:
        """Set labels, which have been checked."""
        (answer,) = await self._store.patch([RecordPatch(id=task_id, metadata=dict(labels))])
        if answer is Put.STALE:
            raise TaskNotFound(f"no record of task {task_id} is kept here, so it takes no labels", task_id=task_id)
        if answer is Put.TOO_LARGE:
            raise ResultTooLarge(f"with these labels the record of task {task_id} would be too large; set fewer")
        if answer is Put.ERROR:
            raise StoreError(f"the labels of task {task_id} could not be stored; try again")

    async def sent_back(self, moved: Sequence[SentBack]) -> None:
        """Tasks were sent back: their records say that they wait again. Without that, they say so when they run."""
        if self._kept is None:
            return
        try:
            for start in range(0, len(moved), AT_ONCE):
                await self._wait_again(self._kept, moved[start : start + AT_ONCE])
        except StoreError as error:
            _log.warning("tasks were sent back, but their records do not say so yet: %s", error)

    async def _wait_again(self, store: Store, moved: Sequence[SentBack]) -> None:
        records = await store.get([each.id for each in moved])
        again = [
            sent_back(record, each.run)
            for record, each in zip(records, moved, strict=True)
            if record is not None and record.run < each.run
        ]
        if again:
            await store.put(again)


def _moment(name: str, value: Any) -> Any:
    """A time with a zone as seconds since the epoch; anything else as it is."""
    if not isinstance(value, datetime):
        return value
    if value.tzinfo is None:
        raise ConfigurationError(f"find: {name}={value!r} has no time zone; use datetime.now(timezone.utc) - ...")
    return value.timestamp()
