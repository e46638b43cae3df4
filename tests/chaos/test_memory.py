"""A long stream of messages leaves nothing behind on a Redis server, nor in the worker that ran it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest

from brokerkit import App
from tests.chaos import app as chaos
from tests.chaos.processes import Hire
from tests.chaos.sizes import sized
from tests.redis.server import Server

MANY = sized(50_000, 1_000_000)
WARM = sized(10_000, 50_000)
"""After so many everything has its size."""
BACKLOG = 5_000
OWN = 256 * 1024
"""Bytes by which what a server takes for itself varies: some five for each message, or a quarter of one."""

pytestmark = [pytest.mark.slow, pytest.mark.broker, pytest.mark.timeout(900)]


async def test_what_has_been_acknowledged_takes_no_memory(server: Server, log: Path, hire: Hire) -> None:
    workers = hire(server.url)
    async with App(server.url, name="chaos") as app:
        worker = workers.start()
        await asyncio.to_thread(workers.ready)
        numbers = iter(range(WARM + MANY))
        await _through(app, islice(numbers, WARM))
        resident, before = _resident(worker.pid), await _at_rest(server)
        await _through(app, numbers)
        grown, after = _resident(worker.pid) / resident - 1, await _at_rest(server)
        lengths = {
            stream: server.ask("XLEN", stream) for stream in after.keys if server.ask("TYPE", stream) == b"stream"
        }
        print(
            f"worker {resident / 2**20:.1f} MiB {grown:+.1%}, server {before.used} bytes {after.used - before.used:+d}"
        )
        await asyncio.to_thread(workers.stop)
    with log.open("rb") as lines:
        ran = sorted(int(line.split()[1]) for line in lines)
    assert ran == list(range(WARM + MANY))
    assert lengths
    assert set(lengths.values()) == {0}
    assert set(after.keys) == set(before.keys)
    assert sum(after.keys.values()) <= 1.05 * sum(before.keys.values()), "keys have grown"
    assert after.used - before.used <= OWN
    assert grown <= 0.10, f"the worker takes {grown:+.1%} of memory"


async def _through(app: App, numbers: Iterator[int]) -> None:
    """Send them all, never too many ahead, and wait until nothing is left."""
    while calls := [chaos.tick.message(number) for number in islice(numbers, 1_000)]:
        await app.send_many(calls)
        await _left(app, BACKLOG)
    await _left(app, 0)


class Memory(NamedTuple):
    """What a server takes.

    Args:
        used: Bytes in all.
        keys: Bytes of each key.
    """

    used: int
    keys: dict[str, int]


async def _at_rest(server: Server) -> Memory:
    """Once the buffers of its connections have been given back, which takes seconds."""
    seen = [server.memory()]
    while len(seen) < 4 or min(seen[-3:]) < min(seen[:-3]) * 0.99:
        await asyncio.sleep(0.5)
        seen.append(server.memory())
    return Memory(min(seen), {key: server.ask("MEMORY", "USAGE", key, "SAMPLES", 0) for key in sorted(server.keys())})


async def _left(app: App, most: int) -> None:
    async with asyncio.timeout(120):
        while True:
            stats = await app.queue_stats("ticks")
            if (stats.ready or 0) + (stats.in_flight or 0) <= most:
                return
            await asyncio.sleep(0.02)


def _resident(pid: int) -> int:
    return int(psutil.Process(pid).memory_info().rss)
