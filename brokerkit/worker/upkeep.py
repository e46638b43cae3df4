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
from brokerkit.records import RecordPatch
from brokerkit.store import Put, Store
from brokerkit.worker.finished import running_record
from brokerkit.worker.insisting import answered
from brokerkit.worker.slots import Execution

_log = logging.getLogger("brokerkit.worker")

PROGRESS_EVERY = 0.5
"""Seconds between two writes of one task's progress."""
REPORT_AFTER = 1.0
"""Seconds after which a running task gets a RUNNING record."""
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
        self._progress: dict[str, RecordPatch] = {}
        self._lock = threading.Lock()  # sync handlers report from their threads

    def report(self, context: Context, fraction: float | None, note: str) -> None:
        """Keep the newest progress of a task until the next tick."""
        if self._store is None:
            return
        with self._lock:
            self._progress[context.id] = RecordPatch(
                id=context.id, fence=context.fence, progress=fraction, note=note or None
            )

    def take(self, task_id: str) -> RecordPatch | None:
        """The progress of a task that has ended, to be written with its outcome."""
        if not self._progress:
            return None
        with self._lock:
            return self._progress.pop(task_id, None)

    async def run(self) -> None:
        """Write records each half second while there is something to write."""
        while True:
            await self._clock.sleep(PROGRESS_EVERY)
            await self._write_starts()
            await self.write_progress()

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
        due = [execution for execution in self._running.values() if _is_due(execution, before)]
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

    async def write_progress(self) -> None:
        """Write what has been reported and not been written yet; what fails is tried again, or leaves with the
        outcome."""
        with self._lock:
            patches = list(self._progress.values())
        if not patches or self._store is None:
            return
        try:
            answers = await answered(self._store.patch(patches))
        except BrokerkitError as error:
            _log.warning("progress could not be stored: %s", error)
            return
        with self._lock:
            for patch, answer in zip(patches, answers, strict=True):
                if answer is not Put.ERROR and self._progress.get(patch.id) is patch:
                    del self._progress[patch.id]


def _is_due(execution: Execution, before: float) -> bool:
    handler = execution.handler
    return (
        execution.context.started <= before and not execution.reported and handler.is_task and handler.record != "none"
    )
