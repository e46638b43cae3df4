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
from brokerkit.records import RecordPatch, TaskRecord
from brokerkit.store import Store
from brokerkit.worker.finished import running_record
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
            try:
                await self._write_starts()
                await self.write_progress()
            except BrokerkitError as error:
                _log.warning("progress could not be stored: %s", error)

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
            await self._presences.announce(self._presence(), ttl=ttl)
        except BrokerkitError as error:
            _log.warning("the worker's presence could not be written: %s", error)

    async def _write_starts(self) -> None:
        if self._store is None:
            return
        before = self._clock.now() - REPORT_AFTER
        reports: list[TaskRecord] = []
        for execution in self._running.values():
            handler, started = execution.handler, execution.context.started
            if started > before or execution.reported or not handler.is_task or handler.record == "none":
                continue
            execution.reported = True
            reports.append(running_record(execution.delivery, started, self._worker))
        if reports:
            await self._store.put(reports)

    async def write_progress(self) -> None:
        """Write what has been reported since the last tick."""
        with self._lock:
            patches, self._progress = list(self._progress.values()), {}
        if patches and self._store is not None:
            await self._store.patch(patches)
