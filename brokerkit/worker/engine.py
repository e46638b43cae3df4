"""The engine: wires the parts of a worker together for one subscription, and drains them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

import msgspec

from brokerkit.abilities import Presence, Presences, Signals, atomic_commit_of, signals_of
from brokerkit.calls import Composer
from brokerkit.clock import Clock
from brokerkit.context import Context
from brokerkit.errors import BrokerkitError, ConnectionLost, EncodeError
from brokerkit.handlers.handler import SourceHandlers
from brokerkit.ids import IdFactory
from brokerkit.lanes import LaneScheduler, SourcePlan
from brokerkit.message import Scalar
from brokerkit.publisher import Publisher
from brokerkit.records import TaskStatus
from brokerkit.store import Store
from brokerkit.supervisor import Supervisor
from brokerkit.transport import Subscription, Transport
from brokerkit.worker.commit import Counts, GroupCommit
from brokerkit.worker.decision import Decision, Stop, unreturnable
from brokerkit.worker.finished import Finished
from brokerkit.worker.intake import Intake
from brokerkit.worker.replying import Replier
from brokerkit.worker.settings import WorkerSettings
from brokerkit.worker.slots import Execution, Ready, Slots
from brokerkit.worker.threads import ThreadPool
from brokerkit.worker.upkeep import Upkeep

_log = logging.getLogger("brokerkit.worker")

LAST_WORDS = 5.0
"""Seconds that cancelled handlers get to clean up, and that the last commit gets."""


class Environment(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker is given by its app.

    Args:
        app: The app's name.
        transport: Connected.
        store: Where records go and are read, or None.
        shared: The transport keeps the store's records in its own transactions.
        publisher: Publishes follow-ups.
        composer: Makes follow-ups.
        clock: Supplies the time.
        ids: Makes ids.
        result_limit: Largest result that is replied, in bytes.
        state: What contexts give as ``state``.
    """

    app: str
    transport: Transport
    store: Store | None
    shared: bool
    publisher: Publisher
    composer: Composer
    clock: Clock
    ids: IdFactory
    result_limit: int
    state: Any = None


class Engine:
    """One worker at work. To contexts it is their ``Services``, to slots their ``ReadySource``.

    Attributes:
        counts: What it has done.
        slots: What runs.
        state: What contexts give as ``state``.
        stuck: Handlers that still ran when everything else had ended.
    """

    def __init__(
        self,
        name: str,
        environment: Environment,
        subscription: Subscription,
        handlers: Mapping[str, SourceHandlers],
        plans: Sequence[SourcePlan],
        settings: WorkerSettings,
        jitter: Callable[[], float],
    ) -> None:
        self.composer = environment.composer
        self.state = environment.state
        self.stuck = 0
        self._name = name
        self._environment = environment
        self._subscription = subscription
        self._settings = settings
        self._sources = tuple(plan.key for plan in plans)
        clock = self._clock = environment.clock
        self._started = clock.now()
        self._state = "running"
        self._patience: asyncio.Timeout | None = None
        self._threads = ThreadPool(settings.sync_threads)
        concurrency = _concurrency(settings, handlers)
        self.slots = Slots(concurrency, clock, self, source=self, finish=self._finished, jitter=jitter)
        self._commit = self._group_commit()
        self.counts: Counts = self._commit.counts
        self._intake = Intake(
            subscription,
            LaneScheduler(plans),
            self.slots,
            self._commit,
            handlers,
            clock,
            store=environment.store,
            worker=name,
            max_unsettled=settings.max_unsettled,
            tombstones=environment.transport.capabilities.cancel == "tombstone",
        )
        self._commit.on_settled = self._intake.settled
        transport = environment.transport
        self._upkeep = Upkeep(
            clock,
            name,
            self.slots.running,
            store=environment.store,
            presences=transport if isinstance(transport, Presences) else None,
            presence=self._presence,
        )

    def _group_commit(self) -> GroupCommit:
        environment, deadline = self._environment, self._settings.publish_deadline
        transport, store = environment.transport, environment.store
        replier = Replier(transport, self._clock, environment.ids, limit=environment.result_limit, deadline=deadline)
        atomic = atomic_commit_of(transport) if environment.shared else None
        return GroupCommit(
            self._subscription,
            environment.publisher,
            replier,
            self._clock,
            self._name,
            store=None if atomic else store,
            atomic=atomic,
        )

    # -- its life --------------------------------------------------------------------------------------------------

    def start(self, supervisor: Supervisor) -> None:
        """Begin: each part is one background task."""
        self.slots.open(supervisor)
        supervisor.spawn(self._commit.run(), "commit")
        supervisor.spawn(self._intake.recovery.run(), "recovery")
        supervisor.spawn(self._intake.quarantine.run(), "quarantine")
        supervisor.spawn(self._upkeep.run(), "upkeep")
        supervisor.spawn(self._upkeep.beat(), "presence")
        if (signals := signals_of(self._environment.transport)) is not None:
            supervisor.spawn(self._listen(signals), "signals")
        supervisor.spawn(self._intake.run(), "intake")
        supervisor.spawn(self._intake.relieve(), "relief")

    async def drain(self, on_stuck: Callable[[], None]) -> None:
        """Stop: no more intake, hand back what has not started, grace, cancel, commit. Closing the subscription then
        releases what is left."""
        self._state = "draining"
        self._intake.stop()
        try:
            await self._within(LAST_WORDS, self._subscription.pause(), "intake does not pause")
        except BrokerkitError as error:
            _log.warning("intake could not be paused: %s", error)
        await self._within(self._settings.grace, self.slots.idle(), "handlers still run")
        self.slots.stop_all(Stop.SHUTDOWN)
        await self._within(LAST_WORDS, self.slots.idle(), "cancelled handlers still run")
        self.stuck = len(self.slots.running)
        await self._within(LAST_WORDS, self._commit.flushed(), "outcomes are not committed")
        if self.stuck:
            on_stuck()
        self.slots.close()
        self._threads.close()
        await self._within(LAST_WORDS, self._upkeep.write_patches(), "progress is not stored")
        await self._within(LAST_WORDS, self._upkeep.leave(), "the worker's presence is not taken back")

    async def _within(self, seconds: float, wait: Coroutine[Any, Any, None], otherwise: str) -> None:
        """Wait at most so many seconds of real time: a drain must end also when the clock stands still."""
        try:
            async with asyncio.timeout(seconds) as self._patience:
                await wait
        except TimeoutError:
            _log.warning("in a drain %s", otherwise)
        finally:
            self._patience = None

    def hurry(self) -> None:
        """End a drain's grace now: cancel what runs, and wait for it no longer than for its clean-up."""
        self.slots.stop_all(Stop.SHUTDOWN)
        if self._patience is not None:
            self._patience.reschedule(asyncio.get_running_loop().time() + LAST_WORDS)

    async def _listen(self, signals: Signals) -> None:
        async with signals.signals() as stream:
            self._intake.hears_since(self._clock.now())
            while received := await stream.receive():
                for signal in received:
                    if signal.kind == "cancel":
                        self.cancel(signal.target, signal.run)
        raise ConnectionLost("the transport has ended the stream of signals")

    def cancel(self, message_id: str, run: int) -> None:
        """Ask a message that runs here to end; one that was only fetched does not start."""
        self._intake.cancel(message_id, run)
        for (_, running_id), execution in tuple(self.slots.running.items()):
            if running_id == message_id and execution.context.run == run:
                self.slots.stop(execution, Stop.CANCEL)

    # -- what contexts need ----------------------------------------------------------------------------------------

    def report(self, context: Context, fraction: float | None, note: str) -> None:
        """Remember progress."""
        self._upkeep.report(context, fraction, note)

    def label(self, context: Context, labels: Mapping[str, Scalar]) -> None:
        """Remember labels."""
        self._upkeep.label(context, labels)

    async def in_thread(self, context: Context, function: Callable[[], Any]) -> Any:
        """Run a sync handler. Its time begins when a thread is free."""
        execution = self.slots.running.get((context.source, context.id))
        if execution is None or execution.context is not context:
            raise RuntimeError(f"this attempt at {context.name} {context.id} has ended: nothing of it can be run")

        def begin() -> None:
            if not execution.begun:  # an async handler that calls a thread has begun before
                context.started = self._clock.now()
                self.slots.begin(execution)

        return await self._threads.run(function, begin, context.cancel)

    # -- between the parts -----------------------------------------------------------------------------------------

    @property
    def waiting(self) -> int:
        """Messages that wait to start."""
        return self._intake.waiting

    def next_ready(self) -> Ready | None:
        """The next message to run."""
        return self._intake.next_ready()

    def _finished(self, execution: Execution, decision: Decision, now: float) -> None:
        context = execution.context
        context.ended = True
        if decision.result is not None and len(decision.result) > self._environment.result_limit:
            decision = self._unsendable(execution, decision)
        followups = context.followups if context.followups and decision.status is TaskStatus.SUCCESS else ()
        finished = Finished(execution.delivery, decision, execution.handler, followups, context.started, now)
        if decision.status is not None:  # what is handed back has no report to go with; the next tick writes it
            finished.patch = self._upkeep.take(context.message.id)
        self._commit.add(finished)
        self._intake.ended()

    def _unsendable(self, execution: Execution, decision: Decision) -> Decision:
        """A result too large for a reply is found in the record; where none is kept it would be nowhere."""
        if execution.handler.record != "none":
            return decision
        size, limit = len(decision.result or b""), self._environment.result_limit
        return unreturnable(EncodeError(f"no record is kept, and a reply of {size} bytes is over the limit of {limit}"))

    def _presence(self) -> Presence:
        return Presence(
            worker=self._name,
            app=self._environment.app,
            sources=self._sources,
            concurrency=self.slots.concurrency,
            running=len(self.slots.running),
            started=self._started,
            seen=self._clock.now(),
            state=self._state,
            done=self.counts.done,
        )


def _concurrency(settings: WorkerSettings, handlers: Mapping[str, SourceHandlers]) -> int:
    """How many messages to run at a time. Where all handlers need a thread, a message beyond their number would wait
    here for one while other workers have some free."""
    if any(handler.is_async for source in handlers.values() for handler in source.all()):
        return settings.concurrency
    return min(settings.concurrency, settings.sync_threads)
