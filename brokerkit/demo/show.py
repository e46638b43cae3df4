"""Runs the demo: a temporary SQLite file, two worker processes, a poison task, a killed worker, and the counting."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from brokerkit import App
from brokerkit.cli.errors import ExitCode
from brokerkit.cli.output import show_json, show_lines
from brokerkit.cli.stopping import interruptible
from brokerkit.cli.workforce import Change, Restarts, Workforce
from brokerkit.demo import report
from brokerkit.demo.findings import Findings, total
from brokerkit.demo.journal import ENVIRONMENT_JOURNAL, Reader
from brokerkit.demo.plan import Key, Part, send, send_poison
from brokerkit.demo.progress import Progress
from brokerkit.demo.tasks import app, uploads
from brokerkit.settings import ENVIRONMENT_URL

WORKERS = 2
CONCURRENCY = 8
PATIENCE = 60.0
"""Seconds after which the demo counts what there is."""
GRACE = 5.0
LEASE = 4.0
"""Seconds after which a dead worker is noticed where sockets do not tell at once."""
LOOK = 0.1
POISON_AT, KILL_AT = 0.1, 0.5
"""How much must be done before the poison is sent, and before a worker is killed."""


def play(*, as_json: bool) -> ExitCode:
    """Run the demo and print what happened."""
    directory = Path(tempfile.mkdtemp(prefix="brokerkit-demo-"))
    keep = False
    try:
        with _environment(directory):
            result = interruptible(Demo(directory, Progress(quiet=as_json)).run())
        keep = not result.ok
        result.directory = str(directory) if keep else ""
    finally:
        if not keep:
            shutil.rmtree(directory, ignore_errors=True)
    if as_json:
        show_json(result)
    else:
        show_lines(report.lines(result))
    return ExitCode.DONE if result.ok else ExitCode.FAILED


@contextmanager
def _environment(directory: Path) -> Iterator[None]:
    """Where the app finds its broker and its journal, here and in the workers."""
    added = {
        ENVIRONMENT_URL: f"sqlite:///{directory / 'demo.db'}?lease={LEASE:g}",
        ENVIRONMENT_JOURNAL: str(directory / "journal"),
    }
    before = {name: os.environ.get(name) for name in added}
    os.environ.update(added)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


class Demo:
    """One run.

    Args:
        directory: For its files.
        progress: Where it shows what happens.
    """

    def __init__(self, directory: Path, progress: Progress) -> None:
        self._directory = directory
        self._progress = progress
        self._journal = Reader(directory / "journal")
        self._findings = Findings()
        self._parts: list[Part] = []
        self._dead: set[Key] = set()
        self._reason = ""
        self._killed: list[int] = []
        self._died: set[int] = set()
        self._quiet = False

    async def run(self) -> report.Result:
        """Send, crash, wait, count."""
        command = ["worker", "brokerkit.demo.tasks:app", "--app-dir", str(self._directory)]
        command += ["--concurrency", str(CONCURRENCY), "--grace", str(GRACE)]
        with (self._directory / "workers.log").open("wb") as log:
            workforce = Workforce(
                command, WORKERS, grace=GRACE, report=self._changed,
                restarts=Restarts(pause=0.1, longest=0.5, deaths=20), errors=log,
            )  # fmt: skip
            async with app, asyncio.TaskGroup() as group:
                working = group.create_task(workforce.run())
                try:
                    await self._story(workforce, working)
                    await self._last_commits()
                    result = await self._count()
                finally:
                    self._quiet = True
                    workforce.stop()
        self._progress.clear()
        result.seconds = round(self._progress.seconds, 2)
        return result

    async def _story(self, workforce: Workforce, working: asyncio.Task[ExitCode]) -> None:
        self._parts = await send(app)
        self._progress.say(f"{self._expected:,} messages sent to a broker in one SQLite file")
        poisoned = False
        while not working.done() and self._progress.seconds < PATIENCE:
            await asyncio.sleep(LOOK)
            self._findings.add(self._journal.new())
            part = len(self._findings.done) / self._expected
            if not poisoned and part >= POISON_AT:
                poisoned = True
                self._parts.append(await send_poison(app))
                self._progress.say("a poison task sent: it kills the process that runs it")
            if poisoned and not self._killed and part >= KILL_AT:
                self._kill_one(workforce)
            if poisoned:
                await self._look_for_dead()
            if self._dead and len(self._findings.done) + len(self._dead) >= self._expected:
                return
            self._show(workforce)

    async def _last_commits(self) -> None:
        """A handler writes its line before its message is settled, and a crash between the two runs it again."""
        end = self._progress.seconds + 2 * LEASE
        while self._progress.seconds < end:
            if not await _waiting(app):
                return
            await asyncio.sleep(LOOK)

    @property
    def _expected(self) -> int:
        return sum(len(part.keys) for part in self._parts)

    def _kill_one(self, workforce: Workforce) -> None:
        busy = [pid for pid in workforce.pids if self._findings.running[pid] > 0]
        if busy:
            pid = max(busy, key=lambda each: self._findings.running[each])
            self._killed.append(pid)
            workforce.kill(pid)
            self._progress.say(f"worker {pid} killed by the demo while it ran {self._findings.running[pid]} tasks")

    async def _look_for_dead(self) -> None:
        for dead in await app.dead_letters(uploads):
            if (key := (dead.source, dead.message.id)) not in self._dead:
                self._dead.add(key)
                self._reason = dead.reason.value
                self._progress.say(f"the poison task is in the dead-letter queue: {self._reason}")

    def _show(self, workforce: Workforce) -> None:
        self._progress.update(
            len(self._findings.done), self._expected, f"{self._findings.retried} retried, {len(workforce.pids)} workers"
        )

    def _changed(self, change: Change) -> None:
        if change.kind == "died":
            self._died.add(change.pid)
            if change.pid not in self._killed:
                self._progress.say(f"worker {change.pid} died ({change.how}) and is replaced")
        elif change.kind == "ready" and not self._quiet:
            self._progress.say(f"worker {change.pid} works")

    async def _count(self) -> report.Result:
        self._findings.add(self._journal.new())
        rows = [self._findings.row(part, self._dead) for part in self._parts]
        poisoned = {pid for part in self._parts if part.poison for pid in self._findings.pids(part)}
        result = report.Result(
            ok=False, problems=[], seconds=0.0, counts=total(rows), parts=rows,
            unexplained=self._findings.unexplained(self._died), early=self._findings.early,
            latest=round(self._findings.latest, 3), killed=len(self._killed),
            crashed=len(self._died & poisoned),
            vanished=len(self._died - poisoned - set(self._killed)), reason=self._reason,
            records=await self._records(), waiting=await _waiting(app),
        )  # fmt: skip
        result.problems = self._problems(result)
        result.ok = not result.problems
        return result

    async def _records(self) -> dict[str, int]:
        """What the store says of each task; events have no records."""
        ids = [key[1] for part in self._parts if part.tasks for key in part.keys]
        found = [await app.status(each) for each in ids]
        return dict(Counter(status.value for status in found if status is not None))

    def _problems(self, result: report.Result) -> list[str]:
        succeeded = sum(len(part.keys) for part in self._parts if part.tasks and not part.poison)
        checks = {
            f"{result.counts.lost} messages are lost": result.counts.lost > 0,
            f"{result.unexplained} runs were repeated without a crash": result.unexplained > 0,
            f"{result.early} delayed tasks started early": result.early > 0,
            f"{result.waiting} messages are left": result.waiting > 0,
            "no worker was killed": not result.killed,
            f"{result.vanished} workers died for no known reason": result.vanished > 0,
            "the poison task is not dead-lettered as crash_loop": result.reason != "crash_loop",
            "other tasks are dead-lettered": result.counts.dead_lettered > 1,
            "the store disagrees": result.records != {"SUCCESS": succeeded, "FAILURE": 1},
        }
        return [text for text, wrong in checks.items() if wrong]


async def _waiting(opened: App) -> int:
    """Messages in all queues and groups that are not settled."""
    topology = opened.topology()
    names = [*(queue.name for queue in topology.queues), *(group.key for group in topology.groups)]
    found = [await opened.queue_stats(name) for name in names]
    return sum((stats.ready or 0) + (stats.in_flight or 0) + (stats.delayed or 0) for stats in found)
