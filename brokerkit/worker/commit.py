"""Group commit: the only place that settles.

It takes everything that has finished. Each delivery goes its own way through a batch, none waits for another's failure,
and several batches are in flight, so that a slow store or confirm delays only those who need it:

    lost ones are dropped -> reports are stored -> follow-ups are published -> settled, replies leave

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
from brokerkit.outcome import ACK, DeadLetter, Reason
from brokerkit.publisher import Publisher
from brokerkit.records import TaskRecord, TaskStatus
from brokerkit.store import Put, Store
from brokerkit.transport import Published, Settled, Subscription
from brokerkit.worker.decision import Decision, FollowUpFailed, failed, refused, unreturnable
from brokerkit.worker.finished import Finished, describe, followups_kept, record_of
from brokerkit.worker.replying import Replier

_log = logging.getLogger("brokerkit.worker")

IN_FLIGHT = 4
BATCH = 1_000
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 5.0
"""Seconds before a parked delivery is tried again: the first time, and at most."""


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
        self._subscription = subscription
        self._publisher = publisher
        self._replier = replier
        self._clock = clock
        self._worker = worker
        self._store = store
        self._atomic = atomic
        self._keeps_records = store is not None or atomic is not None
        self.pending = 0
        self.counts = Counts()
        self.on_settled: Callable[[], None] = lambda: None
        self._plain = _Lane(self._settle_plain)
        self._careful = _Lane(self._commit_atomic if atomic else self._commit_apart)
        self._wake = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()

    def add(self, finished: Finished) -> None:
        """Take a finished delivery. Called once for each; parked ones come back by themselves."""
        self.pending += 1
        if self.pending == 1:
            self._empty.clear()
        self._queue(finished)

    def _queue(self, finished: Finished) -> None:
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
        """Wait until everything taken is settled."""
        await self._empty.wait()

    async def _run_batch(self, lane: _Lane, batch: list[Finished]) -> None:
        try:
            held = [finished for finished in batch if not finished.delivery.lost]
            if len(held) < len(batch):
                self._over(len(batch) - len(held))
                self.counts.lost += len(batch) - len(held)
            if held:
                await lane.commit(held)
        finally:
            lane.in_flight -= 1
            self._wake.set()

    def _over(self, count: int) -> None:
        """So many deliveries are no longer ours to care for."""
        self.pending -= count
        if self.pending == 0:
            self._empty.set()
        self.on_settled()

    # -- broker and store in one step ------------------------------------------------------------------------------

    async def _commit_atomic(self, batch: list[Finished]) -> None:
        assert self._atomic is not None
        units = [self._unit(finished) for finished in batch]
        try:
            answers = await self._atomic.commit(units)
        except BrokerkitError as error:
            self._park(batch, error)
            return
        done: list[Finished] = []
        over = 0
        for finished, answer in zip(batch, answers, strict=True):
            if answer is Committed.DONE:
                done.append(finished)
                over += 1
            elif answer is Committed.LOST:
                self.counts.lost += 1
                over += 1
            else:
                self._redo(finished, answer)
        self._count(done)
        if over:
            self._over(over)
        await self._replier.send(done)

    def _unit(self, finished: Finished) -> Unit:
        record = record_of(finished, self._worker) if finished.keeps_record else None
        return Unit(finished.delivery, finished.decision.outcome, record, tuple(finished.followups))

    def _redo(self, finished: Finished, answer: Committed) -> None:
        """A unit that was not committed comes back with another decision, or later."""
        if answer is Committed.STALE:
            self._superseded(finished)
        elif answer is Committed.TOO_LARGE:
            self._too_large(finished)
        elif answer in (Committed.UNROUTABLE, Committed.FULL):
            self._follow_up_refused(finished, answer.value)
        else:
            self._park([finished], None)
            return
        self._queue(finished)

    # -- broker and store apart ------------------------------------------------------------------------------------

    async def _settle_plain(self, batch: list[Finished]) -> None:
        """Nothing to store, nothing to publish but replies; with no record a reply is all there is, and goes first."""
        await self._replier.send([finished for finished in batch if not finished.reported])
        await self._settle(batch)

    async def _commit_apart(self, batch: list[Finished]) -> None:
        ready = await self._stored(batch) if self._store is not None else batch
        leaving = {id(finished) for finished in ready if finished.followups}
        ready = await self._followed_up(ready)
        if self._store is not None and leaving:
            left = await self._stored([finished for finished in ready if id(finished) in leaving])
            ready = [finished for finished in ready if id(finished) not in leaving] + left
        if self._store is None:
            await self._replier.send(ready)
            await self._settle(ready)
        elif ready:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._settle(ready))
                both.create_task(self._replier.send([finished for finished in ready if not finished.reported]))

    def _report(self, finished: Finished) -> TaskRecord:
        """With follow-ups the run is not over until they are confirmed: the record keeps them and says RUNNING."""
        record = record_of(finished, self._worker)
        if not finished.followups:
            return record
        kept = followups_kept(finished.followups)
        return msgspec.structs.replace(record, status=TaskStatus.RUNNING, followups=kept)

    async def _stored(self, batch: list[Finished]) -> list[Finished]:
        """Store reports; returns those that may go on."""
        assert self._store is not None
        reporting = [finished for finished in batch if finished.keeps_record]
        silent = [finished for finished in batch if not finished.keeps_record]
        if not reporting:
            return silent
        try:
            answers = await self._store.put([self._report(finished) for finished in reporting])
        except BrokerkitError as error:
            self._park(reporting, error)
            return silent
        stale: list[Finished] = []
        for finished, answer in zip(reporting, answers, strict=True):
            if answer is Put.STORED:
                silent.append(finished)
            elif answer is Put.STALE:
                stale.append(finished)
            elif answer is Put.ERROR:
                self._park([finished], None)
            else:
                self._too_large(finished)
                self._queue(finished)
        return silent + await self._stale(stale) if stale else silent

    async def _stale(self, batch: list[Finished]) -> list[Finished]:
        """Returns those whose very report the store has: it took it before, only its answer was lost."""
        assert self._store is not None
        unsure = [finished for finished in batch if finished.tries]
        try:
            known = await self._store.get([finished.delivery.message.id for finished in unsure]) if unsure else ()
        except BrokerkitError as error:
            self._park(unsure, error)
            known, batch, unsure = (), [finished for finished in batch if not finished.tries], []
        pairs = zip(unsure, known, strict=True)
        ours = [finished for finished, record in pairs if self._is_report_of(record, finished)]
        for finished in batch:
            if finished not in ours:
                self._superseded(finished)
                self._queue(finished)
        return ours

    def _is_report_of(self, record: TaskRecord | None, finished: Finished) -> bool:
        mine = record_of(finished, self._worker)
        return record is not None and (record.fence, record.status, record.worker) == (
            mine.fence,
            mine.status,
            mine.worker,
        )

    async def _followed_up(self, batch: list[Finished]) -> list[Finished]:
        """Publish follow-ups; returns those whose follow-ups all arrived, or who left none."""
        leaving = [(finished, outgoing) for finished in batch for outgoing in finished.followups]
        if not leaving:
            return batch
        try:
            answers: Sequence[Published] = await self._publisher.publish([outgoing for _, outgoing in leaving])
        except BrokerkitError as error:
            _log.warning("follow-ups could not be published: %s", error)
            answers = [Published.UNKNOWN] * len(leaving)
        bad: dict[int, Published] = {}
        for (finished, _), answer in zip(leaving, answers, strict=True):
            if answer is not Published.CONFIRMED:
                bad[id(finished)] = answer
        confirmed = {id(outgoing) for (_, outgoing), answer in zip(leaving, answers, strict=True)
                     if answer is Published.CONFIRMED}  # fmt: skip
        for finished in batch:
            # What has left must not leave again when the rest, or the settling, has to be tried again.
            finished.followups = [outgoing for outgoing in finished.followups if id(outgoing) not in confirmed]
            if (refused_as := bad.get(id(finished))) is not None:
                self._follow_ups_not_confirmed(finished, refused_as)
        return [finished for finished in batch if id(finished) not in bad]

    def _follow_ups_not_confirmed(self, finished: Finished, answer: Published) -> None:
        if answer is Published.UNKNOWN:
            self._park([finished], None)  # published again later under the same ids
            return
        self._follow_up_refused(finished, answer.value)
        self._queue(finished)

    async def _settle(self, batch: list[Finished]) -> None:
        if not batch:
            return
        try:
            answers = await self._subscription.settle([(f.delivery, f.decision.outcome) for f in batch])
        except BrokerkitError as error:
            self._park(batch, error, reported=True)
            return
        done: list[Finished] = []
        over = 0
        for finished, answer in zip(batch, answers, strict=True):
            if answer is Settled.FAILED:
                self._park([finished], None, reported=True)
                continue
            over += 1
            if answer is Settled.DONE:
                done.append(finished)
            else:
                self.counts.lost += 1
        self._count(done)
        if over:
            self._over(over)

    # -- other decisions -------------------------------------------------------------------------------------------

    def _superseded(self, finished: Finished) -> None:
        """Somebody else has reported this run's end, or runs it now: no report, no reply, no follow-ups."""
        self.counts.stale += 1
        finished.decision = Decision(ACK, None)
        finished.followups = ()

    def _too_large(self, finished: Finished) -> None:
        if finished.decision.status is not TaskStatus.SUCCESS:
            # There is no result to leave out: the message goes where it must, and the record stays as it was.
            _log.warning("the store does not take the report of %s", describe(finished.delivery.message))
            finished.replayed = True
            return
        finished.decision = unreturnable(ResultTooLargeForStore(len(finished.decision.result or b"")))
        finished.followups = ()

    def _follow_up_refused(self, finished: Finished, why: str) -> None:
        error = FollowUpFailed(f"a follow-up was not accepted: {why}")
        finished.followups = ()
        if finished.handler is None:
            finished.decision = refused(Reason.FOLLOW_UP_FAILED, str(error))
        else:
            finished.decision = failed(finished.handler, finished.delivery.message, error, random.random)

    def _park(self, batch: list[Finished], error: BrokerkitError | None, *, reported: bool = False) -> None:
        """Try again later; the leases are kept meanwhile."""
        why = str(error) if error else "the broker or the store did not take it"
        if batch[0].tries == 0:
            _log.warning("%s (%d in all) could not be committed and is tried again: %s",
                         describe(batch[0].delivery.message), len(batch), why)  # fmt: skip
        for finished in batch:
            finished.reported = finished.reported or reported
            pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(finished.tries, 10)) * (0.5 + random.random() / 2)
            finished.tries += 1
            self._clock.call_later(pause, partial(self._queue, finished))

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


class ResultTooLargeForStore(Exception):
    """The record is over the store's limit."""

    def __init__(self, size: int) -> None:
        super().__init__(f"the store does not take a result of {size} bytes; return a reference to it instead")
