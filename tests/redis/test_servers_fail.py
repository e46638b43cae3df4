"""A server that goes away, comes back without what it had, loads, or is a replica now: all goes on by itself."""

from __future__ import annotations

import asyncio
import logging
import shutil
from pathlib import Path

import pytest

from brokerkit import App, Queue
from brokerkit.errors import TransportError
from tests.ports import free_port
from tests.redis.running import Ran
from tests.redis.server import Server
from tests.redis.servers import Serve

pytestmark = pytest.mark.broker

LEASE = "lease=1"
SOON = 5.0


@pytest.fixture(autouse=True)
def _told(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "brokerkit")


async def test_a_server_that_was_away_for_longer_than_a_lease_comes_back_with_its_data(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    server = serve(appendonly="yes", appendfsync="always")
    ran = Ran(f"{server.url}?{LEASE}")
    async with ran.app:
        for number in range(20):
            await ran.near.send(number)
        async with ran.app.worker():
            await ran.until([0])
            server.kill()
            await asyncio.sleep(1.5)
            server.start()
            server.loaded()
            await ran.heals(100, SOON)
            await ran.until(range(20))
    assert "was lost (" in caplog.text
    assert "cannot be reached" in caplog.text
    assert "is there again" in caplog.text


async def test_a_server_that_comes_back_empty_is_declared_to_again(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    ran = Ran(server.url)
    async with ran.app, ran.app.worker():
        await ran.heals(0)
        server.restart(killed=True)
        await ran.heals(1, SOON)
        assert await (await ran.near.send(2)).result(timeout=SOON) == 2
    assert "Redis has forgotten the topology of" in caplog.text


async def test_a_server_that_is_emptied_is_declared_to_again(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    ran = Ran(server.url)
    async with ran.app, ran.app.worker():
        for round_ in range(3):
            await ran.heals(round_)
            server.ask("FLUSHALL")
            await ran.heals(100 + round_, SOON)
            assert await (await ran.far.send(200 + round_)).result(timeout=SOON) == 200 + round_
    assert "is lost: its lease ran out, or Redis has lost its data" in caplog.text


async def test_whoever_only_publishes_declares_again_too(server: Server) -> None:
    app = App(server.url)

    @app.task(queue=Queue("orders"), record="none", reply=False)
    async def order(number: int) -> None:
        raise AssertionError

    async with app:
        await order.send(1)
        server.ask("FLUSHALL")
        await order.send(2)
        assert (await app.queue_stats("orders")).ready == 1


async def test_a_stream_that_was_deleted_is_created_again(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    ran = Ran(f"{server.url}?{LEASE}")
    async with ran.app, ran.app.worker():
        await ran.heals(0)
        server.ask("DEL", "bk:{near}:near:0")
        await ran.heals(1, SOON)
        server.ask("XGROUP", "DESTROY", "bk:{near}:near:0", "bk")
        server.ask("XADD", "bk:{near}:near:0", "*", "junk", "1")  # read from the beginning, so that it is found, too
        await ran.heals(2, SOON)
    assert "consumer groups were missing and have been created again: bk:{near}:near:0" in caplog.text


async def test_scripts_and_connections_may_go_at_any_time(server: Server) -> None:
    ran = Ran(f"{server.url}?{LEASE}")
    async with ran.app, ran.app.worker():
        for number in range(6):
            await ran.heals(number, SOON)
            if number % 3 == 0:
                server.ask("SCRIPT", "FLUSH")
            else:
                assert server.forget_clients("normal" if number % 3 == 1 else "pubsub")
        assert await (await ran.near.send(100)).result(timeout=10) == 100
        assert set(ran.count.values()) == {1}


async def test_a_server_that_is_loading_is_waited_for(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    server = serve(appendonly="yes", key_load_delay="300", loading_process_events_interval_bytes="1024")
    ran = Ran(f"{server.url}?{LEASE}")
    async with ran.app, ran.app.worker():
        await ran.heals(0)
        with server.client() as client:
            client.mset({f"filler{number}": "x" for number in range(4000)})
        server.ask("BGREWRITEAOF")  # a base file of keys takes its time to load
        async with asyncio.timeout(20):
            while server.info("persistence")["aof_rewrite_in_progress"]:
                await asyncio.sleep(0.02)
        server.restart(killed=True)
        assert server.info("persistence")["loading"]
        sending = asyncio.create_task(ran.near.send(1))
        await asyncio.to_thread(server.loaded)
        await sending
        await ran.until([1], within=10)
    assert "is loading its data; try again soon" in caplog.text


@pytest.mark.parametrize(
    ("stale", "words"), [("yes", "is a replica that cannot be written"), ("no", "is a replica that")]
)
async def test_a_server_that_has_become_a_replica_is_used_once_it_is_none_again(
    server: Server, caplog: pytest.LogCaptureFixture, stale: str, words: str
) -> None:
    ran = Ran(f"{server.url}?{LEASE}")
    async with ran.app, ran.app.worker():
        await ran.heals(0)
        server.ask("CONFIG", "SET", "replica-serve-stale-data", stale)
        server.ask("REPLICAOF", "127.0.0.1", free_port())  # nobody is there, so that it keeps its data
        sending = asyncio.create_task(ran.near.send(1))
        before = server.info("stats")["total_connections_received"]
        await asyncio.sleep(1.0)
        after = server.info("stats")["total_connections_received"]
        server.ask("REPLICAOF", "NO", "ONE")
        await sending
        await ran.until([1], within=SOON)
        await ran.heals(2, SOON)
    assert words in caplog.text
    assert after - before < 60, "it was overrun"


async def test_a_primary_without_the_replicas_it_wants_is_waited_for(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    ran = Ran(f"{server.url}?{LEASE}")
    async with ran.app, ran.app.worker():
        await ran.heals(0)
        server.ask("CONFIG", "SET", "min-replicas-to-write", 1)
        sending = asyncio.create_task(ran.near.send(1))
        await asyncio.sleep(0.2)
        before = server.rejected()
        await asyncio.sleep(1.5)
        rejected = server.rejected() - before
        server.ask("CONFIG", "SET", "min-replicas-to-write", 0)
        await sending
        await ran.until([1], within=SOON)
    assert "has too few replicas to write" in caplog.text
    assert caplog.text.count("has too few replicas to write") < 10
    assert 0 < rejected < 60, "it was overrun"


async def test_a_frozen_server_that_goes_on_has_lost_nothing(server: Server) -> None:
    ran = Ran(f"{server.url}?{LEASE}&command_timeout=1&connect_timeout=1")
    async with ran.app, ran.app.worker():
        await ran.heals(0)
        server.freeze()
        sending = [asyncio.create_task(ran.near.send(number)) for number in range(1, 20)]
        await asyncio.sleep(3)
        server.thaw()
        await asyncio.gather(*sending)
        await ran.until(range(20), within=10)
        assert set(ran.count.values()) == {1}


async def test_a_server_that_cannot_save_is_said_to_be_and_waited_for(
    serve: Serve, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server = serve(save="3600 1", enable_protected_configs="local")
    ran = Ran(f"{server.url}?{LEASE}")
    async with ran.app, ran.app.worker():
        await ran.heals(0)
        shutil.rmtree(tmp_path / "redis-0")
        server.ask("BGSAVE")
        async with asyncio.timeout(10):
            while server.info("persistence")["rdb_last_bgsave_status"] == "ok":
                await asyncio.sleep(0.02)
        with pytest.raises(TransportError, match="cannot save its data to disk and takes no more; look at its log"):
            await ran.near.send(1)
        before = server.calls() + server.rejected()
        await asyncio.sleep(1.5)
        assert server.calls() + server.rejected() - before < 200, "it was overrun"
        server.ask("CONFIG", "SET", "dir", str(tmp_path))
        server.ask("BGSAVE")
        await ran.heals(2, 10)
    assert "nothing can be received from Redis: " in caplog.text


@pytest.mark.parametrize("how", ["kill", "freeze"])
async def test_a_worker_ends_although_its_server_does_not_answer(server: Server, how: str) -> None:
    ran = Ran(f"{server.url}?{LEASE}&command_timeout=2")
    async with asyncio.timeout(30):
        async with ran.app, ran.app.worker():
            await ran.heals(0)
            getattr(server, how)()
