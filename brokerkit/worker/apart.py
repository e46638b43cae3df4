"""Committing where broker and store are apart: one step after the other, so that a crash between them loses nothing.

reports are stored -> follow-ups are published, confirmed -> settled, replies leave
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterator, Sequence
from typing import Any, Protocol

import msgspec

from brokerkit.errors import BrokerkitError, StoreError, TransportError
from brokerkit.insisting import CancelledWithin, answered
from brokerkit.message import Outgoing
from brokerkit.publisher import Publisher
from brokerkit.records import TaskRecord, TaskStatus
from brokerkit.store import Put, Store
from brokerkit.transport import Published
from brokerkit.worker.finished import Finished, addressed, describe, followups_kept, record_of
from brokerkit.worker.replying import Replier
from brokerkit.worker.revising import fail_for_follow_up, leave_out_result

_log = logging.getLogger("brokerkit.worker")

PERHAPS_LEFT = (TransportError, StoreError, CancelledWithin)
"""What a publish may raise although some of it has left, and what may go well the next time."""


class Desk(Protocol):
    """Where what cannot go on comes back to."""

    def queue(self, finished: Finished) -> None:
        """Commit it again, now."""

    def park(self, batch: Sequence[Finished], error: BrokerkitError | None) -> None:
        """Commit it again, later."""

    def supersede(self, finished: Finished) -> None:
        """Only settle it: the store knows better."""


class Apart:
    """Commits deliveries whose reports, follow-ups and outcomes go to different places.

    Args:
        desk: Where what cannot go on comes back to.
        store: Where reports go; None for nowhere.
        publisher: What publishes follow-ups.
        replier: What sends replies.
        settle: Settles a batch.
        worker: This worker's name, for records.
    """

    def __init__(
        self,
        desk: Desk,
        *,
        store: Store | None,
        publisher: Publisher,
        replier: Replier,
        settle: Callable[[list[Finished]], Coroutine[Any, Any, None]],
        worker: str,
    ) -> None:
        self._desk = desk
        self._store = store
        self._publisher = publisher
        self._replier = replier
        self._settle = settle
        self._worker = worker

    async def commit(self, batch: list[Finished]) -> None:
        """Commit a batch; each delivery goes its own way."""
        ready = await self._stored(batch)
        leaving = {id(finished) for finished in ready if finished.followups}
        ready = await self._followed_up(ready)
        if self._store is None:
            await self._replier.send(ready)
            await self._settle(ready)
            return
        if leaving:
            left = await self._stored([finished for finished in ready if id(finished) in leaving])
            ready = [finished for finished in ready if id(finished) not in leaving] + left
        if ready:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._settle(ready))
                both.create_task(self._replier.send([finished for finished in ready if not finished.reported]))

    # -- reports ---------------------------------------------------------------------------------------------------

    def _report(self, finished: Finished) -> TaskRecord:
        """With follow-ups the run is not over until they are confirmed: the record keeps them and says RUNNING."""
        record = record_of(finished, self._worker)
        if not finished.followups:
            return record
        return msgspec.structs.replace(record, status=TaskStatus.RUNNING, followups=followups_kept(finished.followups))

    async def _stored(self, batch: list[Finished]) -> list[Finished]:
        """Store reports; returns those that may go on."""
        if self._store is None:
            return batch
        reporting = [finished for finished in batch if finished.keeps_record]
        ready = [finished for finished in batch if not finished.keeps_record]
        if not reporting:
            return ready
        try:
            answers = await answered(self._store.put([self._report(finished) for finished in reporting]))
        except BrokerkitError as error:
            self._desk.park(reporting, error)
            return ready
        stale: list[Finished] = []
        for finished, answer in zip(reporting, answers, strict=True):
            if answer is Put.STORED:
                ready.append(finished)
            elif answer is Put.STALE:
                stale.append(finished)
            elif answer is Put.ERROR:
                self._desk.park([finished], None)
            else:
                leave_out_result(finished)
                self._desk.queue(finished)
        return ready + await self._known(self._store, stale) if stale else ready

    async def _known(self, store: Store, stale: list[Finished]) -> list[Finished]:
        """Of reports that the store called stale, returns those that it has: only its answer was lost before."""
        unsure = [finished for finished in stale if finished.tries]
        for finished in stale:
            if not finished.tries:
                self._desk.supersede(finished)
        if not unsure:
            return []
        try:
            records = await answered(store.get([finished.delivery.message.id for finished in unsure]))
        except BrokerkitError as error:
            self._desk.park(unsure, error)
            return []
        ours: list[Finished] = []
        for finished, record in zip(unsure, records, strict=True):
            if self._is_report_of(record, finished):
                ours.append(finished)
            else:
                self._desk.supersede(finished)
        return ours

    def _is_report_of(self, record: TaskRecord | None, finished: Finished) -> bool:
        mine = record_of(finished, self._worker)
        return record is not None and (record.fence, record.status, record.worker) == (
            mine.fence,
            mine.status,
            mine.worker,
        )

    # -- follow-ups ------------------------------------------------------------------------------------------------

    async def _followed_up(self, batch: list[Finished]) -> list[Finished]:
        """Publish follow-ups; returns those whose follow-ups all arrived, or who left none."""
        leaving = [finished for finished in batch if finished.followups]
        if not leaving:
            return batch
        outgoing = [follow for finished in leaving for follow in finished.followups]
        try:
            answers = await self._published(outgoing)
        except Exception as error:  # noqa: BLE001 - middleware is the user's; a worker must not end for its mistake
            if len(leaving) > 1:  # it concerns one of them, and the others shall not suffer for it
                each = [await self._followed_up([finished]) for finished in batch]
                return [finished for ready in each for finished in ready]
            _log.exception("follow-ups of %s cannot be published", describe(leaving[0].delivery.message))
            fail_for_follow_up(leaving[0], f"{type(error).__name__}: {error}")
            self._desk.queue(leaving[0])
            return [finished for finished in batch if finished is not leaving[0]]
        remaining = iter(answers)
        refused = {id(finished) for finished in leaving if not self._all_arrived(finished, remaining)}
        return [finished for finished in batch if id(finished) not in refused]

    async def _published(self, outgoing: list[Outgoing]) -> Sequence[Published]:
        """Publish; what may have left is UNKNOWN. Whatever else is raised comes from middleware, or will not change."""
        try:
            return await answered(self._publisher.publish(outgoing))
        except PERHAPS_LEFT as error:
            _log.warning("follow-ups could not be published: %s", error)
            return [Published.UNKNOWN] * len(outgoing)

    def _all_arrived(self, finished: Finished, answers: Iterator[Published]) -> bool:
        """Take the answers to one delivery's follow-ups; False when it cannot go on."""
        unconfirmed = [
            (follow, answer)
            for follow, answer in zip(finished.followups, answers, strict=False)
            if answer is not Published.CONFIRMED
        ]
        # What has left must not leave again when the rest, or the settling, has to be tried again.
        finished.followups = [follow for follow, _ in unconfirmed]
        refused = [(follow, answer) for follow, answer in unconfirmed if answer is not Published.UNKNOWN]
        if refused:
            follow, answer = refused[0]
            fail_for_follow_up(finished, f"{answer.value} ({addressed([follow])})")
            self._desk.queue(finished)
        elif unconfirmed:
            self._desk.park([finished], None)  # published again later under the same ids
        return not unconfirmed
