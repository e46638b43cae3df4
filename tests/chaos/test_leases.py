"""Who works keeps what it holds, however long it takes; who was away for longer than its lease has nothing to say."""

from __future__ import annotations

import asyncio
import signal
from functools import partial
from pathlib import Path

import pytest

from brokerkit import App
from tests.chaos import app as chaos
from tests.chaos.history import History, read
from tests.chaos.processes import Hire, until
from tests.chaos.sizes import sized
from tests.redis.server import Server

LEASE = 1.0
LONG = 5 * LEASE
ZOMBIES = 8
ROUNDS = sized(1, 25)
"""200 zombies in all, on request."""

pytestmark = [pytest.mark.slow, pytest.mark.broker, pytest.mark.timeout(300)]


@pytest.fixture
def url(server: Server) -> str:
    return f"{server.url}?lease={LEASE}"


async def test_a_task_of_five_leases_runs_once_whatever_it_does_to_its_process(url: str, log: Path, hire: Hire) -> None:
    calls = [
        chaos.awaiting.message(0, LONG),
        chaos.blocking.message(1, LONG),
        chaos.sleeping.message(2, LONG),
        chaos.computing.message(3, LONG),
    ]
    workers = hire(url)
    async with App(url, name="chaos") as app:
        for _ in calls:
            workers.start()
        await asyncio.to_thread(workers.ready)
        handles = await app.send_many(calls)
        await asyncio.gather(*(handle.result(timeout=60) for handle in handles))
        stats = await app.queue_stats("long")
        await asyncio.to_thread(workers.stop)
    lines = read(log)
    assert History(lines).lost(range(len(calls))) == []
    assert len(lines) == 2 * len(calls), f"something ran again, or beside itself: {lines}"
    assert (stats.ready, stats.delayed, stats.dead) == (0, 0, 0)


@pytest.mark.parametrize("late", [False, True], ids=["while the other one runs", "after the other one"])
async def test_a_process_that_was_stopped_past_its_lease_is_refused_everywhere(
    url: str, log: Path, hire: Hire, late: bool
) -> None:
    workers = hire(url)
    async with App(url, name="chaos") as app:
        zombie = workers.start()
        await asyncio.to_thread(workers.ready)
        for round_ in range(ROUNDS):
            numbers = range(round_ * ZOMBIES, (round_ + 1) * ZOMBIES)
            handles = await app.send_many([chaos.awaiting.message(number, 1.0) for number in numbers])
            await asyncio.to_thread(until, partial(_count, log, "start", zombie.pid, ZOMBIES), 20, "it works")
            zombie.send_signal(signal.SIGSTOP)
            other = workers.start()
            await asyncio.to_thread(workers.wait_for, other)
            await asyncio.to_thread(until, partial(_count, log, "start", other.pid, ZOMBIES), 20, "it runs elsewhere")
            if late:
                await asyncio.to_thread(until, partial(_count, log, "end", other.pid, ZOMBIES), 20, "and is done")
            zombie.send_signal(signal.SIGCONT)
            assert [await handle.result(timeout=20) for handle in handles] == [other.pid] * ZOMBIES
            await asyncio.to_thread(until, partial(_count, log, "end", zombie.pid, ZOMBIES), 20, "the zombie ends, too")
            await asyncio.to_thread(workers.retire, other)
            after = await app.send(chaos.awaiting.message(-1, 0.0))
            assert await after.result(timeout=20) == zombie.pid, "the zombie lives on"
            async with App(url, name="chaos") as asks:  # no reply comes here: it reads the records
                recorded = [await asks.handle(handle.id, chaos.awaiting).result(timeout=20) for handle in handles]
            assert recorded == [other.pid] * ZOMBIES
        stats = await app.queue_stats("long")
        await asyncio.to_thread(workers.stop)
    assert (stats.ready, stats.in_flight, stats.delayed, stats.dead) == (0, 0, 0, 0)


def _count(log: Path, word: str, pid: int, count: int) -> bool:
    return sum(line.word == word and line.pid == pid for line in read(log)) >= count
