"""The worker: wires the parts together, runs them, drains them."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import secrets
import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from brokerkit.calls import Composer
from brokerkit.clock import Clock
from brokerkit.context import Context
from brokerkit.errors import BrokerkitError
from brokerkit.handlers import Handler, SourceHandlers
from brokerkit.ids import IdFactory
from brokerkit.lanes import LaneScheduler, SourcePlan
from brokerkit.publisher import Publisher
from brokerkit.records import TaskStatus
from brokerkit.store import Store
from brokerkit.supervisor import Supervisor
from brokerkit.transport import AtomicCommit, Delivery, Presence, Presences, Signals, Subscription, Transport
from brokerkit.worker.commit import Counts, GroupCommit
from brokerkit.worker.decision import Decision, Stop
from brokerkit.worker.finished import Finished
from brokerkit.worker.intake import Intake, Parts
from brokerkit.worker.lag import LagMonitor
from brokerkit.worker.quarantine import Quarantine
from brokerkit.worker.recovery import Recovery
from brokerkit.worker.replying import Replier
from brokerkit.worker.settings import WorkerSettings
from brokerkit.worker.slots import Execution, Slots
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


class Worker:
    """Consumes, executes, commits. Made by ``app.worker()``.

    Attributes:
        name: ``host:pid:random``.
        settings: How it works.
    """

    def __init__(
        self,
        environment: Environment,
        handlers: Mapping[str, SourceHandlers],
        plans: Sequence[SourcePlan],
        settings: WorkerSettings,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.name = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self.settings = settings
        self._environment = environment
        self._handlers = handlers
        self._plans = plans
        self._clock = environment.clock
        self._started = self._clock.now()
        self._state = "running"
        self._threads = ThreadPool(settings.sync_threads)
        self._slots = Slots(settings.concurrency, self._clock, self, self._finished, jitter)
        presences = environment.transport if isinstance(environment.transport, Presences) else None
        self._upkeep = Upkeep(
            self._clock, self.name, self._slots.running,
            store=environment.store, presences=presences, presence=self._presence,
        )  # fmt: skip
        self.lag = LagMonitor(settings.loop_lag)
        self.stuck = 0
        """Handlers that were still running when the grace had ended."""

    # -- what contexts need ----------------------------------------------------------------------------------------

    @property
    def composer(self) -> Composer:
        """Makes follow-ups."""
        return self._environment.composer

    def report(self, context: Context, fraction: float | None, note: str) -> None:
        """Remember progress."""
        self._upkeep.report(context, fraction, note)

    async def in_thread(self, context: Context, function: Callable[[], Any]) -> Any:
        """Run a sync handler."""
        execution = self._slots.running[(context.source, context.id)]

        def begin() -> None:
            context.started = self._clock.now()
            self._slots.begin(execution)

        return await self._threads.run(function, begin, context.cancel)

    # -- what others ask -------------------------------------------------------------------------------------------

    @property
    def counts(self) -> Counts:
        """What it has done."""
        return self._commit.counts

    @property
    def running(self) -> int:
        """Messages that are executed now."""
        return len(self._slots.running)

    def cancel(self, message_id: str, run: int) -> bool:
        """Ask a running message to end; True when it runs here."""
        found = [e for (_, key), e in self._slots.running.items() if key == message_id and e.context.run == run]
        for execution in found:
            self._slots.stop(execution, Stop.CANCEL)
        return bool(found)

    # -- its life --------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Worker]:
        """Work while the context is open, then drain."""
        sources = [self._handlers[plan.key].source for plan in self._plans]
        async with self._environment.transport.consume(sources) as subscription:
            self._assemble(subscription)
            with self.lag.watching():
                async with Supervisor(f"worker {self.name}") as supervisor:
                    self._spawn(supervisor)
                    try:
                        yield self
                    finally:
                        await self._drain(subscription)
        self._threads.close()

    def _assemble(self, subscription: Subscription) -> None:
        environment = self._environment
        replier = Replier(
            environment.transport, self._clock, environment.ids,
            limit=environment.result_limit, deadline=self.settings.publish_deadline,
        )  # fmt: skip
        atomic = environment.transport if isinstance(environment.transport, AtomicCommit) else None
        usable = atomic if environment.shared or environment.store is None else None
        self._commit = GroupCommit(
            subscription, environment.publisher, replier, self._clock, self.name,
            store=environment.store, atomic=usable, records=environment.store is not None,
        )  # fmt: skip
        quarantine = Quarantine(
            subscription, self._slots, self._clock,
            handler_of=lambda delivery: self._intake.handler_of(delivery),
            limit_of=self._crash_limit,
            refuse=lambda delivery, reason, text: self._intake.refuse(delivery, reason, text),
        )  # fmt: skip
        recovery = Recovery(
            environment.store, self._clock, self.name,
            finish=self._commit.add,
            again=lambda deliveries: self._intake.recovered(deliveries),
            announced=lambda deliveries: self._intake.ready(deliveries),
        )  # fmt: skip
        parts = Parts(subscription, LaneScheduler(self._plans), self._slots, self._commit, quarantine, recovery)
        self._intake = Intake(parts, self._handlers, self._clock, max_unsettled=self.settings.max_unsettled)
        self._commit.on_settled = self._intake.room_changed
        self._quarantine, self._recovery = quarantine, recovery

    def _spawn(self, supervisor: Supervisor) -> None:
        supervisor.spawn(self._commit.run(), "commit")
        supervisor.spawn(self._recovery.run(), "recovery")
        supervisor.spawn(self._quarantine.run(), "quarantine")
        supervisor.spawn(self._upkeep.run(), "upkeep")
        supervisor.spawn(self._upkeep.beat(), "presence")
        if isinstance(self._environment.transport, Signals):
            supervisor.spawn(self._listen(self._environment.transport), "signals")
        self._receiving = supervisor.spawn(self._intake.run(), "intake")

    async def _listen(self, signals: Signals) -> None:
        async with signals.signals() as stream:
            while True:
                for signal in await stream.receive():
                    if signal.kind == "cancel":
                        self.cancel(signal.target, signal.run)

    async def _drain(self, subscription: Subscription) -> None:
        """Stop: no more intake, hand back what has not started, grace, cancel, release, commit."""
        self._state = "draining"
        self._receiving.cancel()
        await asyncio.wait([self._receiving])
        self._intake.hand_back(self._intake.stop())
        await subscription.pause()
        await self._within(self.settings.grace, self._slots.idle())
        self._slots.stop_all(Stop.SHUTDOWN)
        await self._within(LAST_WORDS, self._slots.idle())
        self.stuck = self.running
        await self._within(LAST_WORDS, self._commit.flushed())
        self._slots.close()
        await self._last_progress()
        await self._upkeep.leave()

    async def _within(self, seconds: float, wait: Any) -> None:
        """Wait at most so many seconds of real time: a drain must end also when the clock stands still."""
        try:
            async with asyncio.timeout(seconds):
                await wait
        except TimeoutError:
            _log.warning("still running or uncommitted after %.1f s of draining: %d", seconds, self.running)

    async def _last_progress(self) -> None:
        try:
            await self._upkeep.write_progress()
        except BrokerkitError as error:
            _log.warning("progress could not be stored: %s", error)

    # -- between the parts -----------------------------------------------------------------------------------------

    def _finished(self, execution: Execution, decision: Decision) -> None:
        delivery, context = execution.delivery, execution.context
        followups = context.followups if context.followups and _keeps(decision) else ()
        started, now = context.started, self._clock.now()
        self._commit.add(Finished(delivery, decision, execution.handler, followups, started, now))
        self._intake.ended((context.source, context.id))
        self._intake.room_changed()

    def _crash_limit(self, delivery: Delivery) -> int:
        handlers = self._handlers[delivery.lane.source]
        handler: Handler | None = handlers.find(delivery.message.name)
        return handler.max_deliveries if handler is not None else handlers.max_deliveries

    def _presence(self) -> Presence:
        return Presence(
            worker=self.name,
            app=self._environment.app,
            sources=tuple(plan.key for plan in self._plans),
            concurrency=self.settings.concurrency,
            running=self.running,
            started=self._started,
            seen=self._clock.now(),
            state=self._state,
            done=self.counts.done,
        )


def _keeps(decision: Decision) -> bool:
    """Follow-ups leave only with a success."""
    return decision.status is TaskStatus.SUCCESS
