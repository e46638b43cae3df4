"""Workers die by SIGKILL; what ran is counted from a log outside the broker."""

from __future__ import annotations

import asyncio
import random
from functools import partial
from pathlib import Path

import pytest

from brokerkit import App, TaskStatus
from brokerkit.records import TaskRecord
from brokerkit.settings import BROKERS_OWN
from tests.chaos import app as chaos
from tests.chaos.history import History, read
from tests.chaos.processes import Workers, until

TASKS = 5_000
KILLS = 20
WORKERS = 3
SLOTS = 8

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "executions.log"
    path.touch()
    return path


async def test_20_sigkills_during_5000_messages_lose_nothing_and_repeat_only_what_ran(
    sqlite_url: str, log: Path
) -> None:
    workers = Workers(sqlite_url, log)
    chance = random.Random(20)
    async with App(sqlite_url, name="chaos", store=BROKERS_OWN) as app:
        app.declare(chaos.work)
        await app.transport.apply(app.topology())
        for _ in range(WORKERS):
            workers.start()
        await asyncio.to_thread(workers.ready)
        handles = []
        for kill in range(KILLS):
            numbers = range(kill * TASKS // KILLS, (kill + 1) * TASKS // KILLS)
            size = log.stat().st_size
            handles += await app.send_many([chaos.job.message(number) for number in numbers])
            await asyncio.to_thread(until, partial(_grown, log, size + 500), 30, "work has begun")
            await asyncio.sleep(chance.uniform(0, 0.1))
            workers.kill(chance.choice(workers.alive))
            await asyncio.to_thread(workers.wait_for, workers.start())
        records = [await _finished(app, handle.id) for handle in handles]
        stats = await app.queue_stats("work")
    await asyncio.to_thread(workers.stop)
    history = History(read(log))
    assert history.lost(range(TASKS)) == []
    assert len(workers.killed) == KILLS
    at_work = {line.pid for starts in history.starts.values() for line in starts}
    assert len(workers.killed & at_work) >= KILLS * 3 // 4, "the work was over before the kills were"
    assert history.unexplained(workers.killed) == []
    assert history.cut_short() <= KILLS * SLOTS, "more was repeated than could run"
    assert max(history.in_commit().values()) <= 2 * SLOTS, "what had been committed was repeated"
    assert {record.status for record in records} == {TaskStatus.SUCCESS}
    assert (stats.ready, stats.in_flight, stats.delayed, stats.dead) == (0, 0, 0, 0)


def _grown(log: Path, size: int) -> bool:
    return log.stat().st_size > size


async def _finished(app: App, task_id: str) -> TaskRecord:
    async with asyncio.timeout(120):
        while True:
            record = await app.record(task_id)
            assert record is not None
            if record.status.terminal:
                return record
            await asyncio.sleep(0.05)
