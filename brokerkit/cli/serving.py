"""A worker in this process."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Coroutine
from typing import Any

from brokerkit import App, Worker, WorkerSettings
from brokerkit.cli.errors import ExitCode
from brokerkit.cli.output import count
from brokerkit.cli.stopping import Level, Stopper, leave_hard

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
    try:
        import uvloop
    except ImportError:
        asyncio.run(main)
    else:
        uvloop.run(main)


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
            _log.info("%s", ready_line(app, self._settings))
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


def ready_line(app: App, settings: WorkerSettings) -> str:
    """What a worker says when it begins."""
    queues = {task.queue.name for task in app.tasks.values()} | {each.source_key for each in app.subscribers}
    consumed = ", ".join(sorted(settings.queues or queues))
    broker = app.transport.capabilities.name
    return f"ready: app {app.name} on {broker}, {settings.concurrency} slots, pid {os.getpid()}, consuming {consumed}"
