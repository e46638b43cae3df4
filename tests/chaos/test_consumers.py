"""Worker processes that are killed leave no consumers behind on a Redis server."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path

import pytest

from brokerkit import App
from tests.chaos import app as chaos
from tests.chaos.history import History, read
from tests.chaos.processes import Hire, until
from tests.chaos.sizes import sized
from tests.redis.server import Server

AT_ONCE = sized(4, 25)
BATCHES = sized(2, 4)
"""Fewer than a message may be delivered before it is suspected."""
TASKS = 8 * AT_ONCE
PARK = b"~"
"""Holds what waits to be delivered again."""

pytestmark = [pytest.mark.slow, pytest.mark.broker, pytest.mark.timeout(300)]


async def test_the_consumers_of_killed_workers_go_and_what_they_held_runs(
    server: Server, log: Path, hire: Hire
) -> None:
    url = f"{server.url}?lease=2"
    workers = hire(url)
    async with App(url, name="chaos") as app:
        app.declare(chaos.awaiting.queue)
        await app.transport.apply(app.topology())
        for batch in range(BATCHES):
            numbers = range(batch * TASKS, (batch + 1) * TASKS)
            await app.send_many([chaos.awaiting.message(number, 600.0) for number in numbers])
            started = [workers.start() for _ in range(AT_ONCE)]
            await asyncio.to_thread(workers.ready)
            await asyncio.to_thread(until, partial(_all_work, log, {each.pid for each in started}), 90, "all work")
            for each in started:
                workers.kill(each)
        assert len(workers.killed) == AT_ONCE * BATCHES
        crowd = max(len(consumers) for consumers in _consumers(server).values())
        workers.start()
        await asyncio.to_thread(workers.ready)
        await asyncio.to_thread(until, partial(_few, server), 30, "the consumers of the dead are gone")
        stats = await app.queue_stats("long")
        assert (stats.ready or 0) + (stats.in_flight or 0) == TASKS * BATCHES, "messages went with their consumers"
        workers.kill(workers.alive[0])
    print(f"{crowd} consumers when all had been killed")
    assert History(read(log)).ends == {}


def _all_work(log: Path, pids: set[int]) -> bool:
    return {line.pid for line in read(log)} >= pids


def _consumers(server: Server) -> dict[str, list[bytes]]:
    """The consumers of each stream."""
    with server.client() as client:
        streams = client.scan_iter(_type="stream")
        return {
            stream.decode(): [
                each["name"]
                for group in client.xinfo_groups(stream)
                for each in client.xinfo_consumers(stream, group["name"])
            ]
            for stream in streams
        }


def _few(server: Server) -> bool:
    return all(len(set(consumers) - {PARK}) <= 1 for consumers in _consumers(server).values())
