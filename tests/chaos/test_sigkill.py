"""Workers die by SIGKILL under load; what ran is counted from a log outside the broker."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from brokerkit import App, TaskStatus
from brokerkit.client.handle import Handle
from brokerkit.settings import BROKERS_OWN
from tests.chaos import app as chaos
from tests.chaos.grounds import Ground
from tests.chaos.history import History, read
from tests.chaos.processes import Hire, Workers, until
from tests.chaos.sizes import sized

TASKS = sized(1_200, 20_000)
KILLS = sized(6, 50)
WORKERS = 3
SLOTS = 8 + 1
"""Of one worker: its concurrency, and the quarantine beside it."""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


async def test_sigkills_under_load_lose_nothing_and_repeat_only_what_ran(ground: Ground, log: Path, hire: Hire) -> None:
    workers = hire(ground.url, ground.store)
    async with App(ground.url, name="chaos", store=BROKERS_OWN if ground.records else None) as app:
        app.declare(chaos.work)
        await app.transport.apply(app.topology())
        handles = await _sent_while_workers_die(app, workers, log, ground.beside)
        await asyncio.to_thread(until, partial(_all_ended, log), 120, "all has ended")
        statuses = [await _finished(handle) for handle in handles] if ground.records else []
        await asyncio.to_thread(workers.stop)
        left = await ground.left(app)
    history = History(read(log))
    assert history.lost(range(TASKS)) == []
    assert len(workers.killed) == KILLS
    at_work = {line.pid for starts in history.starts.values() for line in starts}
    assert len(workers.killed & at_work) >= KILLS * 2 // 3, "the work was over before the kills were"
    assert history.unexplained(workers.killed, in_steps=ground.in_steps) == []
    assert history.cut_short() <= KILLS * SLOTS, "more was repeated than could run"
    if ground.records:
        assert max(history.in_commit().values(), default=0) <= 2 * SLOTS, "what had been committed was repeated"
        assert statuses == [TaskStatus.SUCCESS] * TASKS
    assert left == {}


async def _sent_while_workers_die(
    app: App, workers: Workers, log: Path, beside: Callable[[], None]
) -> list[Handle[int]]:
    """Send in parts; in the midst of the work on each, a worker is killed and another one started."""
    chance = random.Random(KILLS)
    handles: list[Handle[int]] = []
    for _ in range(WORKERS):
        workers.start()
    await asyncio.to_thread(workers.ready)
    for kill in range(KILLS):
        numbers = range(kill * TASKS // KILLS, (kill + 1) * TASKS // KILLS)
        size = log.stat().st_size
        handles += await app.send_many([chaos.job.message(number) for number in numbers])
        await asyncio.to_thread(until, partial(_grown, log, size + 500), 30, "work has begun")
        await asyncio.sleep(chance.uniform(0, 0.1))
        beside()
        workers.kill(chance.choice(workers.alive))
        await asyncio.to_thread(workers.wait_for, workers.start())
    return handles


def _grown(log: Path, size: int) -> bool:
    return log.stat().st_size > size


def _all_ended(log: Path) -> bool:
    return log.read_bytes().count(b"end ") >= TASKS and History(read(log)).lost(range(TASKS)) == []


async def _finished(handle: Handle[int]) -> TaskStatus:
    """Its recorded outcome, once it is there: the commit comes after the end of the run."""
    async with asyncio.timeout(60):
        while True:
            record = await handle.record()
            assert record is not None
            if record.status.terminal:
                return record.status
            await asyncio.sleep(0.05)
