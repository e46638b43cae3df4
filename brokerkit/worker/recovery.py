"""Deliveries that come again: has their run already finished? The only case that reads the store."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from brokerkit.clock import Clock
from brokerkit.delivery import Delivery
from brokerkit.handlers.handler import Handler
from brokerkit.insisting import insist
from brokerkit.outcome import ACK, DeadLetter, Reason
from brokerkit.records import TaskRecord, TaskStatus
from brokerkit.store import Store
from brokerkit.worker.decision import CANCELLED, Decision
from brokerkit.worker.finished import Finished, followups_restored, running_record


class Recovery:
    """Looks deliveries up in the store before they run.

    Args:
        store: The store of records; None when none is kept.
        clock: Supplies the time.
        worker: This worker's name.
        finish: Takes deliveries whose run is over.
        again: Takes deliveries that have to run.
        announced: Takes deliveries whose start has been recorded.
    """

    def __init__(
        self,
        store: Store | None,
        clock: Clock,
        worker: str,
        *,
        finish: Callable[[Finished], None],
        again: Callable[[list[Delivery]], None],
        announced: Callable[[list[Delivery]], None],
    ) -> None:
        self._store = store
        self._clock = clock
        self._worker = worker
        self._finish = finish
        self._again = again
        self._announced = announced
        self._lookups: list[tuple[Delivery, Handler | None]] = []
        self._starts: list[Delivery] = []
        self._wake = asyncio.Event()
        self.waiting = 0

    def take(self, delivery: Delivery, handler: Handler | None) -> None:
        """Take a delivery that came again; it comes back through ``again`` or is finished."""
        if self._store is None or not _reported(delivery, handler):
            self._again([delivery])
        else:
            self._lookups.append((delivery, handler))
            self.waiting += 1
            self._wake.set()

    def announce(self, delivery: Delivery) -> bool:
        """Write a RUNNING record before the run; without a store there is nothing to write."""
        if self._store is None:
            return False
        self._starts.append(delivery)
        self.waiting += 1
        self._wake.set()
        return True

    async def run(self) -> None:
        """Work until cancelled; one batch at a time."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            lookups, self._lookups = self._lookups, []
            starts, self._starts = self._starts, []
            if lookups:
                await self._look_up(lookups)
            if starts:
                await self._record_starts(starts)

    async def _look_up(self, batch: Sequence[tuple[Delivery, Handler | None]]) -> None:
        store = self._store
        assert store is not None
        ids = [delivery.message.id for delivery, _ in batch]
        # Running a finished task again because the store is down would be worse than waiting.
        records = await insist(lambda: store.get(ids), self._clock, "the store does not answer")
        self.waiting -= len(batch)
        again: list[Delivery] = []
        for (delivery, handler), record in zip(batch, records, strict=True):
            finished = _from_record(delivery, handler, record, self._clock.now())
            if finished is None:
                again.append(delivery)
            else:
                self._finish(finished)
        self._again(again)

    async def _record_starts(self, batch: list[Delivery]) -> None:
        store = self._store
        assert store is not None
        now = self._clock.now()
        reports = [running_record(delivery, now, self._worker) for delivery in batch]
        await insist(lambda: store.put(reports), self._clock, "the store does not answer")
        self.waiting -= len(batch)
        self._announced(batch)


def _reported(delivery: Delivery, handler: Handler | None) -> bool:
    """True when the outcome of a message would be reported; also that of one that nobody takes."""
    if handler is None:
        return bool(delivery.message.id)
    return handler.is_task and handler.record != "none"


def _from_record(delivery: Delivery, handler: Handler | None, record: TaskRecord | None, now: float) -> Finished | None:
    """What is known of the run of this very message, or None when it is not over."""
    message = delivery.message
    if record is None:
        return None
    if (record.run, record.attempt + record.postponed) > (message.run, message.attempt + message.postponed):
        # A later attempt has reported: this one's retry was published, only its acknowledgement was lost.
        return Finished(delivery, Decision(ACK, None), handler, (), None, now)
    if record.run != message.run:
        return None
    if record.followups and not record.status.terminal:
        # Its report was stored, its follow-ups may not have left: they leave again, under the same ids.
        decision = Decision(ACK, TaskStatus.SUCCESS, None, record.result)
        return Finished(delivery, decision, handler, followups_restored(record.followups), record.started, now)
    if not record.status.terminal:
        return None
    if record.asked:
        return Finished(delivery, CANCELLED, handler, (), None, now)
    decision = _decision_of(record)
    return Finished(delivery, decision, handler, (), record.started, now, replayed=True)


def _decision_of(record: TaskRecord) -> Decision:
    text = f"{record.error.type}: {record.error.message}" if record.error else ""
    if record.status is TaskStatus.FAILURE:
        timed_out = record.error is not None and record.error.timed_out
        outcome = DeadLetter(Reason.TIMED_OUT if timed_out else Reason.FAILED, text)
        return Decision(outcome, record.status, record.error)
    if record.status is TaskStatus.EXPIRED:
        return Decision(DeadLetter(Reason.EXPIRED, text), record.status, record.error)
    return Decision(ACK, record.status, record.error, record.result)
