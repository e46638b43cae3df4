"""A worker in this process."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from brokerkit import App, Worker, WorkerSettings
from brokerkit.cli.errors import ExitCode
from brokerkit.cli.output import count
from brokerkit.cli.stopping import Level, Stopper, leave_hard
from brokerkit.registry import consumers_of

_log = logging.getLogger("brokerkit.cli")


def serve(app: App, settings: WorkerSettings, stopper: Stopper) -> ExitCode:
    """Work until told to stop.

    Args:
        app: Not open.
        settings: The worker's.
        stopper: Not started.

    Returns:
        How it ended. A process whose handlers do not end leaves from here with ``HARD`` and does not return.
    """
    stopper.start()
    _run(_Serving(app, settings, stopper).work())
    return ExitCode.DONE


def _run(main: Coroutine[Any, Any, None]) -> None:
    runner = _fast_runner() or asyncio.run
    runner(main)  # not while an ImportError is handled: it would be the context of whatever a handler raises


def _fast_runner() -> Callable[[Coroutine[Any, Any, None]], None] | None:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.run


class _Serving:
    def __init__(self, app: App, settings: WorkerSettings, stopper: Stopper) -> None:
        self._app, self._settings, self._stopper = app, settings, stopper
        self._worker: Worker | None = None
        self._asked = asyncio.Event()

    async def work(self) -> None:
        self._task = asyncio.current_task()
        self._stopper.attach(self._react)
        try:
            await self._serve()
        except asyncio.CancelledError:
            if not self._stopper.level:
                raise
            _log.info("stopped before it had started")

    async def _serve(self) -> None:
        chosen = {name: getattr(self._settings, name) for name in self._settings.__struct_fields__}
        async with self._app as app, app.worker(**chosen) as worker:
            self._worker = worker
            worker.on_stuck = self._leave
            _log.info("%s", ready_line(app, worker.slots, self._settings))
            if app.transport.capabilities.name == "memory":
                _log.warning(
                    "memory:// lives inside this process, nobody else can send to it; give the app a broker that is "
                    "shared, as sqlite:///shop.db"
                )
            self._stopper.ready()
            await self._asked.wait()
            _log.info("stopping: %s", _work_left(worker, self._settings.grace))
        _log.info("stopped after %s", count(worker.counts.done, "message"))

    def _leave(self) -> None:
        stuck = self._worker.stuck if self._worker is not None else 0
        _log.error("%s did not end; leaving without acknowledging them", count(stuck, "handler"))
        leave_hard()

    def _react(self, level: Level) -> None:
        if self._worker is None:
            if self._task is not None:
                self._task.cancel()
        elif level is Level.DRAIN:
            self._asked.set()
        else:
            self._asked.set()
            _log.warning("cancelling %s", count(self._worker.running, "handler"))
            self._worker.hurry()


def _work_left(worker: Worker, grace: float) -> str:
    if not worker.running:
        return "nothing runs"
    return f"{count(worker.running, 'handler')} may run for {grace:g} s more; a second signal cancels them"


def ready_line(app: App, slots: int, settings: WorkerSettings) -> str:
    """What a worker says when it begins."""
    consumed = ", ".join(sorted(settings.queues or {consumer.source_key for consumer in consumers_of(app)}))
    broker = f"{app.transport.capabilities.name}{_place(app.address)}"
    return f"ready: app {app.name} on {broker}, {slots} slots, pid {os.getpid()}, consuming {consumed}"


def _place(address: str) -> str:
    """Where the broker is. Of a file the whole path: two programs that say sqlite:///shop.db may mean two files."""
    scheme, _, rest = address.partition("://")
    if scheme == "sqlite":
        return f" in {Path(rest.removeprefix('/').partition('?')[0]).resolve()}"
    return f" at {address}" if rest else ""
