"""The worker as its app and its operator see it."""

from __future__ import annotations

import logging
import os
import random
import secrets
import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager

from brokerkit.handlers.handler import SourceHandlers
from brokerkit.lanes import SourcePlan
from brokerkit.supervisor import Supervisor
from brokerkit.worker.commit import Counts
from brokerkit.worker.engine import Engine, Environment
from brokerkit.worker.lag import LagMonitor
from brokerkit.worker.settings import WorkerSettings

_log = logging.getLogger("brokerkit.worker")


class Worker:
    """Consumes, executes, commits. Made by ``app.worker()``.

    Attributes:
        name: ``host:pid:random``.
        settings: How it works.
        lag: Finds handlers that block the event loop.
        on_stuck: Called in the drain when handlers still run after everything else has been committed, before their
            messages are released: a process may end hard here. Default nothing.
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
        self.lag = LagMonitor(settings.loop_lag)
        self._environment = environment
        self._handlers = handlers
        self._plans = plans
        self._jitter = jitter
        self.on_stuck: Callable[[], None] = lambda: None
        self._engine: Engine | None = None

    @property
    def counts(self) -> Counts:
        """What it has done since it started."""
        return self._engine.counts if self._engine is not None else Counts()

    @property
    def slots(self) -> int:
        """Handlers that run at the same time: the settings' ``concurrency``, or ``sync_threads`` where that is less and
        every handler is sync."""
        return self._engine.slots.concurrency if self._engine is not None else 0

    @property
    def running(self) -> int:
        """Messages that are executed now."""
        return len(self._engine.slots.running) if self._engine is not None else 0

    @property
    def stuck(self) -> int:
        """Handlers that still ran when the grace, and the seconds to clean up after it, had ended. Their messages are
        not acknowledged; a process that has some must end hard, since a thread cannot be killed."""
        return self._engine.stuck if self._engine is not None else 0

    def hurry(self) -> None:
        """End the grace of a drain now: running handlers are cancelled and their messages released uncounted."""
        if self._engine is not None:
            self._engine.hurry()

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Worker]:
        """Work while the context is open, then drain."""
        _warn_of_long_runs(self._handlers, self._environment.transport.capabilities.settle_within)
        sources = [self._handlers[plan.key].source for plan in self._plans]
        async with self._environment.transport.consume(sources) as subscription:
            engine = Engine(
                self.name, self._environment, subscription, self._handlers, self._plans, self.settings, self._jitter
            )
            self._engine = engine
            with self.lag.watching():
                async with Supervisor(f"worker {self.name}") as supervisor:
                    engine.start(supervisor)
                    try:
                        yield self
                    finally:
                        if not supervisor.failed:  # else nobody is left to finish or commit anything
                            await engine.drain(self.on_stuck)


def _warn_of_long_runs(handlers: Mapping[str, SourceHandlers], limit: float) -> None:
    """Name the handlers that may outlive the broker's patience."""
    for source in handlers.values() if limit else ():
        for handler in source.all():
            if handler.timeout is not None and handler.timeout >= limit:
                _log.warning(
                    "%s may run for %g s, but the broker takes a message back after %g s: then it goes on only if this "
                    "worker gets it again; raise the broker's consumer timeout or lower the task's",
                    handler.name,
                    handler.timeout,
                    limit,
                )
