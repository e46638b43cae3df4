"""What of the confirmed messages is lost when a Redis server dies: what the README's table says, and no more."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from brokerkit import App
from tests.chaos import app as chaos
from tests.chaos.grounds import counted
from tests.chaos.history import read
from tests.chaos.processes import Hire, Workers, until
from tests.chaos.sending import Sender
from tests.chaos.sizes import sized
from tests.redis.sentinel import Watched
from tests.redis.server import Server
from tests.redis.servers import Serve

KILLS = sized(3, 20)
LEASE = 2
DELAYED_FLUSH = 2.0
"""Seconds for which a server with ``appendfsync everysec`` holds writes back while the disk is busy with others."""
LATE = 0.5
"""Seconds after a kill until we have read each confirmation that had left before."""

pytestmark = [pytest.mark.slow, pytest.mark.broker, pytest.mark.timeout(300)]


class Load:
    """A sender, and a worker process once it is wanted.

    Args:
        app: The app to send with, opened.
        workers: To start the worker from.
    """

    def __init__(self, app: App, workers: Workers) -> None:
        self.sender = Sender(app)
        self.sends = self.sender.sends
        self._workers = workers

    async def work(self) -> None:
        """Have the messages run from now on."""
        if not self._workers.alive:
            self._workers.start()
            await asyncio.to_thread(self._workers.ready)


@asynccontextmanager
async def under_load(url: str, hire: Hire) -> AsyncIterator[Load]:
    """A load; on leaving, all that arrived has run."""
    workers = hire(url)
    async with App(url, name="chaos") as app, asyncio.TaskGroup() as group:
        app.declare(chaos.tick.queue)
        await app.transport.apply(app.topology())
        load = Load(app, workers)
        group.create_task(load.sender.run())
        try:
            await load.sends()
            yield load
            await load.sends()
        finally:
            load.sender.stop()
        await load.work()
        async with asyncio.timeout(60):
            while left := await counted(app):
                await asyncio.sleep(0.05)
        assert not left
        await asyncio.to_thread(workers.stop)


def lost(sender: Sender, log: Path) -> dict[int, float]:
    """What was confirmed and never ran: when it was confirmed."""
    ran = {int(line.what) for line in read(log)}
    return {number: at for number, at in sender.confirmed.items() if number not in ran}


async def test_with_appendfsync_always_a_killed_server_loses_nothing_confirmed(
    serve: Serve, log: Path, hire: Hire
) -> None:
    server, chance = serve(appendonly="yes", appendfsync="always"), random.Random(KILLS)
    async with under_load(f"{server.url}?lease={LEASE}", hire) as load:
        for kill in range(KILLS):
            if kill == KILLS // 2:
                await load.work()
            await load.sends(chance.randrange(200))
            server.restart(killed=True)
    print(f"{len(load.sender.confirmed)} confirmed, {len(load.sender.unknown)} unknown, {KILLS} kills")
    assert lost(load.sender, log) == {}


async def test_with_everysec_a_killed_server_loses_the_last_moment_at_most(serve: Serve, log: Path, hire: Hire) -> None:
    server, chance, killed = serve(appendonly="yes", appendfsync="everysec"), random.Random(KILLS), []
    async with under_load(f"{server.url}?lease={LEASE}", hire) as load:
        for _ in range(KILLS):
            await load.sends(chance.randrange(200))
            killed.append(time.monotonic())
            server.restart(killed=True)
    gone = lost(load.sender, log)
    print(f"{len(load.sender.confirmed)} confirmed, {len(gone)} lost, {KILLS} kills")
    unexplained = {at for at in gone.values() if not any(kill - DELAYED_FLUSH <= at <= kill + LATE for kill in killed)}
    assert unexplained == set()


async def test_with_everysec_a_host_that_dies_takes_the_last_second_with_it_and_no_more(
    serve: Serve, log: Path, hire: Hire
) -> None:
    server = serve(appendonly="yes", appendfsync="everysec")
    windows = []
    async with under_load(f"{server.url}?lease={LEASE}", hire) as load:
        for working in (False, True):  # then acknowledgements are lost as well
            if working:
                await load.work()
            size, at = _log_of(server).stat().st_size, time.monotonic()
            await asyncio.sleep(1.0)
            server.kill()
            windows.append((at, time.monotonic()))
            with _log_of(server).open("r+b") as file:  # what had not reached the disk when it lost power
                file.truncate(size)
            server.start()
            await load.sends()
    gone = lost(load.sender, log)
    print(f"{len(load.sender.confirmed)} confirmed, {len(gone)} lost")
    assert gone, "nothing was lost: the host did not die"
    assert {
        at for at in gone.values() if not any(first - DELAYED_FLUSH <= at <= last + LATE for first, last in windows)
    } == set()


def _log_of(server: Server) -> Path:
    (found,) = server.directory.glob("appendonlydir/*.incr.aof")
    return found


async def test_a_publish_that_is_to_be_on_disk_is_confirmed_when_the_server_has_brought_it_there(serve: Serve) -> None:
    server = serve(appendonly="yes", appendfsync="everysec")
    said = server.info("server")
    if "valkey_version" in said or tuple(map(int, said["redis_version"].split("."))) < (8, 0):
        pytest.skip("this redis-server does not tell when its log is on the disk")
    app = App(f"{server.url}?durability=fsync:0", name="chaos")
    app.declare(chaos.tick.queue)
    async with app:
        began = time.monotonic()
        for number in range(3):  # each is sent just after the log has been brought to the disk, once a second
            await app.send(chaos.tick.message(number))
        assert time.monotonic() - began > 1.0


async def test_a_replica_that_takes_over_has_all_that_was_confirmed(tmp_path: Path, log: Path, hire: Hire) -> None:
    watched = Watched(tmp_path, sentinels=1)
    try:
        watched.start()
        async with under_load(f"{watched.url}?lease={LEASE}&durability=replicas:1", hire) as load:
            watched.primary.kill()
            await asyncio.to_thread(until, watched.taken_over, 30, "the replica takes over")
            watched.calm()
            watched.primary.start()
            watched.primary.ask("REPLICAOF", "127.0.0.1", watched.replica.port)  # without one nothing is confirmed
    finally:
        watched.close()
    print(f"{len(load.sender.confirmed)} confirmed, {len(load.sender.unknown)} unknown")
    assert lost(load.sender, log) == {}
