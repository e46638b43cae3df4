"""Delayed messages on Redis: many processes promote them, each becomes one message, whatever happens to the server."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest

from brokerkit import App
from tests.chaos import app as chaos
from tests.chaos.history import read
from tests.chaos.processes import Hire, until
from tests.chaos.sizes import sized
from tests.redis.servers import Serve

MANY = sized(5_000, 50_000)
WORKERS = 4
DELAY = 2.0
FEW = 1_000
LEASE = 2

pytestmark = [pytest.mark.slow, pytest.mark.broker, pytest.mark.timeout(300)]


async def test_four_promoters_make_one_message_of_each_that_is_due(serve: Serve, log: Path, hire: Hire) -> None:
    url = serve().url
    workers = hire(url)
    async with App(url, name="chaos") as app:
        app.declare(chaos.tick.queue)
        await app.transport.apply(app.topology())
        for _ in range(WORKERS):
            workers.start()
        await asyncio.to_thread(workers.ready)
        await app.send_many([chaos.tick.options(delay=DELAY).message(number) for number in range(MANY)])
        await asyncio.to_thread(until, partial(_lines, log, MANY), 60, "all has run")
        await asyncio.to_thread(workers.stop)
        stats = await app.queue_stats("ticks")
    lines = read(log)
    ran = Counter(line.what for line in lines)
    assert len(ran) == MANY, "not all have run"
    assert {number: count for number, count in ran.items() if count > 1} == {}, "some have run twice"
    assert len({line.pid for line in lines}) > 1, "one process promoted them all"
    assert (stats.ready, stats.in_flight, stats.delayed, stats.dead) == (0, 0, 0, 0)


async def test_what_became_due_while_the_server_was_away_runs_when_it_is_back(
    serve: Serve, log: Path, hire: Hire
) -> None:
    server = serve(appendonly="yes", appendfsync="always")
    url = f"{server.url}?lease={LEASE}"
    workers = hire(url)
    async with App(url, name="chaos") as app:
        workers.start()
        app.declare(chaos.tick.queue)
        await app.transport.apply(app.topology())
        due = time.time() + 2
        calls = [chaos.tick.options(at=_moment(due + number / FEW)).message(number) for number in range(FEW)]
        await app.send_many(calls)
        await asyncio.to_thread(workers.ready)
        server.kill()
        await asyncio.sleep(max(0.0, due + 0.5 - time.time()))
        back = time.time()
        server.start()
        await asyncio.to_thread(until, partial(_lines, log, FEW), 60, "all has run")
        took = time.time() - max(back, due + 1)
        await asyncio.to_thread(workers.stop)
    assert {line.what for line in read(log)} == {str(number) for number in range(FEW)}
    assert took <= LEASE + 5, f"the last one ran {took:.1f} s after it could"


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _lines(log: Path, count: int) -> bool:
    return log.read_bytes().count(b"\n") >= count
