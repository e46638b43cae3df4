"""What a worker writes while handlers run: progress, RUNNING records of longer tasks, its own presence."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any

from brokerkit.abilities import Presence, Presences
from brokerkit.clock import Clock
from brokerkit.context import Context
from brokerkit.errors import BrokerkitError
from brokerkit.insisting import answered
from brokerkit.message import Scalar
from brokerkit.records import RecordPatch, later
from brokerkit.store import Put, Store
from brokerkit.worker.finished import running_record
from brokerkit.worker.slots import Execution

_log = logging.getLogger("brokerkit.worker")

PROGRESS_EVERY = 0.5
"""Seconds between two writes of one task's progress."""
REPORT_AFTER = 1.0
"""Seconds after which a running task gets a RUNNING record, unless it has reported progress or a label before."""
PRESENCE_EVERY = 5.0
PRESENCE_TTL = 15.0


class Upkeep:
    """Writes what is due, in batches.

    Args:
        clock: Supplies the time.
        worker: This worker's name.
        running: What runs now.
        store: The store of records, or None.
        presences: Where the heartbeat goes, or None.
        presence: Makes the heartbeat.
    """

    def __init__(
        self,
        clock: Clock,
        worker: str,
        running: Mapping[Any, Execution],
        *,
        store: Store | None,
        presences: Presences | None,
        presence: Callable[[], Presence],
    ) -> None:
        self._clock = clock
        self._worker = worker
        self._running = running
        self._store = store
        self._presences = presences
        self._presence = presence
        self._patches: dict[str, RecordPatch] = {}
        self._lock = threading.Lock()  # sync handlers report from their threads

    def report(self, context: Context, fraction: float | None, note: str) -> None:
        """Keep the newest progress of a task until the next tick."""
        self._keep(RecordPatch(id=context.id, fence=context.fence, progress=fraction, note=note or None))

    def label(self, context: Context, labels: Mapping[str, Scalar]) -> None:
        """Keep labels of a task until the next tick."""
        self._keep(RecordPatch(id=context.id, fence=context.fence, metadata=dict(labels)))

    def _keep(self, patch: RecordPatch) -> None:
        if self._store is None:
            return
        with self._lock:
            earlier = self._patches.get(patch.id)
            self._patches[patch.id] = patch if earlier is None else later(earlier, patch)

    def take(self, task_id: str) -> RecordPatch | None:
        """What a task that has ended has reported, to be written with its outcome."""
        if not self._patches:
            return None
        with self._lock:
            return self._patches.pop(task_id, None)

    async def run(self) -> None:
        """Write records each half second while there is something to write."""
        while True:
            await self._clock.sleep(PROGRESS_EVERY)
            await self._write_starts()
            await self.write_patches()

    async def beat(self) -> None:
        """Announce the worker until cancelled."""
        if self._presences is None:
            return
        while True:
            await self._announce(PRESENCE_TTL)
            await self._clock.sleep(PRESENCE_EVERY)

    async def leave(self) -> None:
        """Take the heartbeat back."""
        if self._presences is not None:
            await self._announce(0.0)

    async def _announce(self, ttl: float) -> None:
        assert self._presences is not None
        try:
            await answered(self._presences.announce(self._presence(), ttl=ttl))
        except BrokerkitError as error:
            _log.warning("the worker's presence could not be written: %s", error)

    async def _write_starts(self) -> None:
        if self._store is None:
            return
        before = self._clock.now() - REPORT_AFTER
        told = self._patches  # who reports something runs, however short it has done so
        due = [each for each in self._running.values() if _is_due(each, before, told=each.context.id in told)]
        if not due:
            return
        reports = [running_record(each.delivery, each.context.started, self._worker) for each in due]
        try:
            answers = await answered(self._store.put(reports))
        except BrokerkitError as error:
            _log.warning("running tasks could not be reported: %s", error)
            return
        for execution, answer in zip(due, answers, strict=True):
            execution.reported = answer is not Put.ERROR

    async def write_patches(self) -> None:
        """Write what has been reported and not been written yet; what fails is tried again, or leaves with the
        outcome."""
        with self._lock:
            patches = list(self._patches.values())
        if not patches or self._store is None:
            return
        try:
            answers = await answered(self._store.patch(patches))
        except BrokerkitError as error:
            _log.warning("progress could not be stored: %s", error)
            return
        with self._lock:
            for patch, answer in zip(patches, answers, strict=True):
                if answer is Put.TOO_LARGE:
                    _log.warning("the record of task %s is too large for its progress or labels", patch.id)
                if answer is not Put.ERROR and self._patches.get(patch.id) is patch:
                    del self._patches[patch.id]


def _is_due(execution: Execution, before: float, *, told: bool) -> bool:
    handler = execution.handler
    old_enough = told or execution.context.started <= before
    return old_enough and not execution.reported and handler.is_task and handler.record != "none"
