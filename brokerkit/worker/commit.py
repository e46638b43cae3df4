"""Group commit: the only place that settles.

It takes everything that has finished. Each delivery goes its own way through a batch, none waits for another's failure,
and several batches are in flight, so that a slow store or confirm delays only those who need it. Deliveries known to be
lost are dropped first. Where broker and store share a transaction the rest is one step; else see ``apart``.

What fails and may succeed later is parked, keeping its lease, and tried again with back-off.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

import msgspec

from brokerkit.abilities import AtomicCommit, Committed, Unit
from brokerkit.clock import Clock
from brokerkit.errors import BrokerkitError
from brokerkit.insisting import FIRST_PAUSE, LONGEST_PAUSE, answered
from brokerkit.outcome import DeadLetter
from brokerkit.publisher import Publisher
from brokerkit.records import TaskStatus
from brokerkit.store import Store
from brokerkit.transport import Settled, Subscription
from brokerkit.worker.apart import Apart
from brokerkit.worker.finished import Finished, Key, addressed, describe, record_of
from brokerkit.worker.replying import Replier
from brokerkit.worker.revising import fail_for_follow_up, leave_out_result, supersede

_log = logging.getLogger("brokerkit.worker")

IN_FLIGHT = 4
BATCH = 1_000


class Counts(msgspec.Struct):
    """What the worker has done since it started."""

    done: int = 0
    """Settled."""
    succeeded: int = 0
    retried: int = 0
    dead: int = 0
    lost: int = 0
    """Deliveries the broker had taken back before they were settled."""
    stale: int = 0
    """Reports that the store refused because it knew better."""


class GroupCommit:
    """Commits finished deliveries of one subscription.

    Args:
        subscription: What settles.
        publisher: What publishes follow-ups.
        replier: What sends replies.
        clock: Supplies the time.
        worker: This worker's name, for records.
        store: Where reports go; None for nowhere.
        atomic: The transport, when it keeps the reports itself; then ``store`` is not used.

    Attributes:
        pending: Deliveries taken and not settled.
        reporting: Those of them whose report is due, by key: the store does not know yet what became of them.
        counts: What has been done.
        on_settled: Called whenever deliveries are no longer pending.
    """

    def __init__(
        self,
        subscription: Subscription,
        publisher: Publisher,
        replier: Replier,
        clock: Clock,
        worker: str,
        *,
        store: Store | None = None,
        atomic: AtomicCommit | None = None,
    ) -> None:
        self.pending = 0
        self.reporting: dict[Key, Finished] = {}
        self.counts = Counts()
        self.on_settled: Callable[[], None] = lambda: None
        self._subscription = subscription
        self._replier = replier
        self._clock = clock
        self._worker = worker
        self._atomic = atomic
        self._keeps_records = store is not None or atomic is not None
        apart = Apart(self, store=store, publisher=publisher, replier=replier, settle=self._settle, worker=worker)
        self._plain = _Lane(self._settle_plain)
        self._careful = _Lane(self._commit_atomic if atomic else apart.commit)
        self._wake = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()

    def add(self, finished: Finished) -> None:
        """Take a finished delivery. Called once for each; parked ones come back by themselves."""
        self.pending += 1
        if self.pending == 1:
            self._empty.clear()
        if self._has_report(finished):
            self.reporting[finished.key] = finished
        self.queue(finished)

    def queue(self, finished: Finished) -> None:
        """Let a delivery wait for the next batch."""
        needs_care = finished.followups or self._has_report(finished)
        (self._careful if needs_care else self._plain).waiting.append(finished)
        self._wake.set()

    def _has_report(self, finished: Finished) -> bool:
        return self._keeps_records and finished.keeps_record

    async def run(self) -> None:
        """Commit until cancelled."""
        async with asyncio.TaskGroup() as batches:
            while True:
                await self._wake.wait()
                self._wake.clear()
                for lane in (self._plain, self._careful):
                    while lane.waiting and lane.in_flight < IN_FLIGHT:
                        batch, lane.waiting = lane.waiting[:BATCH], lane.waiting[BATCH:]
                        lane.in_flight += 1
                        batches.create_task(self._run_batch(lane, batch))

    async def flushed(self) -> None:
        """Wait until everything taken is settled and every reply has left."""
        await self._empty.wait()

    async def _run_batch(self, lane: _Lane, batch: list[Finished]) -> None:
        try:
            held = [finished for finished in batch if not finished.delivery.lost]
            if len(held) < len(batch):
                self._over([], [finished for finished in batch if finished.delivery.lost])
            if held:
                await answered(lane.commit(held))
        except BrokerkitError as error:  # no step lets one out: where the deliveries are is not known any more
            raise RuntimeError("a batch was not committed") from error
        finally:
            lane.in_flight -= 1
            self._wake.set()
            if self.pending == 0 and not self._plain.in_flight + self._careful.in_flight:
                self._empty.set()

    def _over(self, done: Sequence[Finished], lost: Sequence[Finished]) -> None:
        """These deliveries are no longer ours to care for."""
        self._count(done)
        self.counts.lost += len(lost)
        self.pending -= len(done) + len(lost)
        if self.reporting:
            for finished in (*done, *lost):
                if self.reporting.get(finished.key) is finished:
                    del self.reporting[finished.key]
        if done or lost:
            self.on_settled()

    # -- broker and store in one step ------------------------------------------------------------------------------

    async def _commit_atomic(self, batch: list[Finished]) -> None:
        assert self._atomic is not None
        units = [self._unit(finished) for finished in batch]
        try:
            answers = await answered(self._atomic.commit(units))
        except BrokerkitError as error:
            self.park(batch, error)
            return
        done: list[Finished] = []
        lost: list[Finished] = []
        for finished, answer in zip(batch, answers, strict=True):
            if answer is Committed.DONE:
                done.append(finished)
            elif answer is Committed.LOST:
                lost.append(finished)
            else:
                self._redo(finished, answer)
        self._over(done, lost)
        await self._replier.send(done)

    def _unit(self, finished: Finished) -> Unit:
        record = record_of(finished, self._worker) if finished.keeps_record else None
        return Unit(finished.delivery, finished.decision.outcome, record, tuple(finished.followups))

    def _redo(self, finished: Finished, answer: Committed) -> None:
        """A unit that was not committed comes back with another decision, or later."""
        if answer is Committed.FAILED:
            self.park([finished], None)
        elif answer is Committed.STALE:
            self.supersede(finished)
        elif answer is Committed.TOO_LARGE:
            leave_out_result(finished)
            self.queue(finished)
        else:
            fail_for_follow_up(finished, f"{answer.value} ({addressed(finished.followups)})")
            self.queue(finished)

    # -- settling --------------------------------------------------------------------------------------------------

    async def _settle_plain(self, batch: list[Finished]) -> None:
        """Nothing to store, nothing to publish but replies; with no record a reply is all there is, and goes first."""
        await self._replier.send([finished for finished in batch if not finished.reported])
        await self._settle(batch)

    async def _settle(self, batch: list[Finished]) -> None:
        if not batch:
            return
        try:
            outcomes = [(finished.delivery, finished.decision.outcome) for finished in batch]
            answers = await answered(self._subscription.settle(outcomes))
        except BrokerkitError as error:
            self._park_reported(batch, error)
            return
        done: list[Finished] = []
        lost: list[Finished] = []
        failed: list[Finished] = []
        for finished, answer in zip(batch, answers, strict=True):
            (done if answer is Settled.DONE else lost if answer is Settled.LOST else failed).append(finished)
        if failed:
            self._park_reported(failed, None)
        self._over(done, lost)

    # -- coming back -----------------------------------------------------------------------------------------------

    def supersede(self, finished: Finished) -> None:
        """Only settle it: the store knows better."""
        self.counts.stale += 1
        supersede(finished)
        self.queue(finished)

    def _park_reported(self, batch: Sequence[Finished], error: BrokerkitError | None) -> None:
        for finished in batch:
            finished.reported = True
        self.park(batch, error)

    def park(self, batch: Sequence[Finished], error: BrokerkitError | None) -> None:
        """Commit it again, later; the leases are kept meanwhile."""
        why = str(error) if error else "the broker or the store did not take it"
        if batch[0].tries == 0:
            _log.warning("%s (%d in all) could not be committed and is tried again: %s",
                         describe(batch[0].delivery.message), len(batch), why)  # fmt: skip
        for finished in batch:
            pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(finished.tries, 10)) * (0.5 + random.random() / 2)
            finished.tries += 1
            self._clock.call_later(pause, partial(self.queue, finished))

    def _count(self, done: Sequence[Finished]) -> None:
        counts = self.counts
        counts.done += len(done)
        for finished in done:
            status = finished.decision.status
            if status is TaskStatus.SUCCESS:
                counts.succeeded += 1
            elif status is TaskStatus.RETRY:
                counts.retried += 1
            elif isinstance(outcome := finished.decision.outcome, DeadLetter):
                counts.dead += 1
                what = describe(finished.delivery.message)
                _log.warning("%s is dead-lettered: %s, %s", what, outcome.reason.value, outcome.error)


class _Lane:
    """Batches of one kind."""

    def __init__(self, commit: Callable[[list[Finished]], Awaitable[None]]) -> None:
        self.commit = commit
        self.waiting: list[Finished] = []
        self.in_flight = 0
