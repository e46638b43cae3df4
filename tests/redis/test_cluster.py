"""A cluster whose slots move, whose primaries die, and which is down: nothing is lost, and what can go on does."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections.abc import Awaitable, Iterator
from pathlib import Path

import pytest

from brokerkit import App, Queue, Retry
from brokerkit.errors import ConfigurationError, ConnectFailed, PublishFailed, TopologyError
from brokerkit.topology import DeadLetter, RedisOptions
from brokerkit.transports.redis import RedisTransport
from brokerkit.transports.redis.scripts import Script
from tests.redis.cluster import Cluster
from tests.redis.running import Ran

pytestmark = [pytest.mark.broker, pytest.mark.slow]


@pytest.fixture
def replicated(tmp_path: Path) -> Iterator[Cluster]:
    """Three primaries with a replica each, to be killed."""
    started = Cluster(tmp_path, replicas=1)
    started.start()
    yield started
    started.close()


async def test_slots_move_while_their_queue_is_in_use(cluster: Cluster) -> None:
    ran = Ran(f"{cluster.url}?prefix=moving&lease=3")
    key = "moving:{near}:near:0"
    async with ran.app, ran.app.worker():
        for start in range(0, 600, 200):
            async with asyncio.TaskGroup() as both:
                both.create_task(_send_slowly(ran, range(start, start + 200)))
                await asyncio.sleep(0.05)
                both.create_task(asyncio.to_thread(cluster.move, key))
        await ran.until(range(600))
        async with asyncio.timeout(20):
            while (stats := await ran.app.queue_stats("near")).ready or stats.in_flight:
                await asyncio.sleep(0.02)
    assert set(ran.count.values()) == {1}
    assert stats.dead == 0


async def test_a_script_that_hands_over_goes_where_it_is_asked_to_while_a_slot_moves(cluster: Cluster) -> None:
    body, key = b"#!lua\nreturn redis.call('GET', KEYS[1])", "untold:{near}"
    moved, told = threading.Event(), threading.Event()
    script = Script("look", body, hashlib.sha1(body, usedforsecurity=False).hexdigest(), hands_over=True)

    def untold() -> None:
        moved.set()
        assert told.wait(20)

    async with RedisTransport(f"{cluster.url}?prefix=untold") as transport:
        servers = transport._broker.servers
        await servers.ask("SET", key, "here")
        move = asyncio.create_task(asyncio.to_thread(cluster.move, key, untold=untold))
        try:
            await asyncio.to_thread(moved.wait, 20)
            async with asyncio.timeout(5):
                assert await servers.run(script, [key], []) == b"here"
        finally:
            told.set()
            await move
            await servers.ask("DEL", key)


async def _send_slowly(ran: Ran, numbers: range) -> None:
    for number in numbers:
        await ran.near.send(number)
        await asyncio.sleep(0.002)


@pytest.mark.timeout(120)
async def test_a_primary_dies_and_its_replica_has_all_that_was_confirmed(replicated: Cluster) -> None:
    ran = Ran(f"{replicated.url}?lease=3")
    async with App(f"{replicated.url}?durability=replicas:1", name="sender") as sender:
        sender.declare(ran.near.queue)
        await sender.transport.apply(sender.topology())
        for number in range(100):
            await sender.send(ran.near.message(number))
        replicated.owner("bk:{near}:near:0").kill()
        async with ran.app, ran.app.worker():
            await ran.sent(100)
            await ran.until(range(101), within=60)


@pytest.mark.timeout(120)
async def test_a_worker_lives_through_the_death_of_a_primary(replicated: Cluster) -> None:
    ran = Ran(f"{replicated.url}?lease=3")
    async with ran.app, ran.app.worker():
        await ran.near.send(0)
        await ran.far.send(1)
        await ran.until(range(2))
        replicated.owner("bk:{near}:near:0").kill()
        await ran.sent(2)
        await ran.until(range(3), within=60)
        await (await ran.far.send(3)).result(timeout=30)
        assert await (await ran.near.send(4)).result(timeout=30) == 4


@pytest.mark.parametrize("its_inbox", [False, True], ids=["a-queue-there", "its-inbox-there"])
async def test_queues_of_living_servers_go_on_while_another_server_hangs(tmp_path: Path, its_inbox: bool) -> None:
    cluster = Cluster(tmp_path)
    cluster.start()
    try:
        names = {cluster.owner(f"bk:{{q{number}}}:q{number}:0").port: f"q{number}" for number in range(30)}
        ran = Ran(f"{cluster.url}?lease=3", names=list(names.values()))
        async with ran.app, ran.app.worker():
            process = ran.app.transport._broker.name  # type: ignore[attr-defined]
            inbox = cluster.owner(f"bk:{{{process}}}:replies")
            stuck = inbox if its_inbox else next(server for server in cluster.servers if server is not inbox)
            alive = next(server for server in cluster.servers if server is not stuck)
            for server in cluster.servers:  # else the others would call the whole cluster down
                server.ask("CONFIG", "SET", "cluster-node-timeout", 60_000)
            stuck.freeze()
            with pytest.raises(PublishFailed):
                async with asyncio.timeout(10):
                    await _with_deadline(ran.app, ran.tasks[names[stuck.port]].send(1000), 0.5)
            async with asyncio.timeout(8):
                for number in range(50):
                    await ran.tasks[names[alive.port]].send(number)
                await ran.until(range(50))
            stuck.thaw()
            if its_inbox:  # it was opened meanwhile
                assert await (await ran.tasks[names[stuck.port]].send(1001)).result(timeout=10) == 1001
    finally:
        cluster.close()


async def _with_deadline(app: App, sending: Awaitable[object], seconds: float) -> None:
    publisher = app._open.publisher
    publisher.deadline = seconds
    try:
        await sending
    finally:
        publisher.deadline = 10.0


async def test_a_cluster_that_goes_down_is_waited_for(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cluster = Cluster(tmp_path)
    cluster.start()
    try:
        ran = Ran(f"{cluster.url}?lease=3")
        async with ran.app, ran.app.worker():
            await ran.heals(0, 10)
            home = cluster.owner("bk:{near}:near:0")
            other = next(server for server in cluster.servers if server is not home)
            slot = next(first for first, _, (_, port, *_), *_ in home.ask("CLUSTER", "SLOTS") if port == other.port)
            for server in cluster.servers:
                server.ask("CLUSTER", "DELSLOTS", slot)
            sending = asyncio.create_task(ran.near.send(1))
            await asyncio.sleep(0.3)
            before = [server.rejected() for server in cluster.servers]
            await asyncio.sleep(1.5)
            assert sum(server.rejected() for server in cluster.servers) - sum(before) < 300, "it was overrun"
            for server in cluster.servers:
                server.ask("CLUSTER", "SETSLOT", slot, "NODE", cluster.identity(other))
            await sending
            await ran.until(range(2), within=10)
            await ran.heals(2, 10)
        assert set(ran.count.values()) == {1}
    finally:
        cluster.close()
    assert "is part of a cluster that is down; trying again" in caplog.text


async def test_a_cluster_that_is_down_is_said_to_be(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path)
    for server in cluster.servers:
        server.start()  # without slots
    try:
        with pytest.raises(ConnectFailed, match="is down: some of its slots have no server"):
            async with RedisTransport(cluster.url):
                pass
    finally:
        cluster.close()


async def test_a_server_of_a_cluster_is_not_used_as_if_it_were_alone(cluster: Cluster) -> None:
    with pytest.raises(ConnectFailed, match=r"is part of a cluster; use redis\+cluster://"):
        async with RedisTransport(cluster.primaries[0].url):
            pass


async def test_dead_letters_that_would_lie_elsewhere_are_refused_with_the_fix(cluster: Cluster) -> None:
    queues = [Queue("one", redis=RedisOptions(hash_tag="a"), dead_letter=DeadLetter("graves")), Queue("graves")]
    app = App(f"{cluster.url}?prefix=apart")
    app.declare(*queues)
    with pytest.raises(TopologyError, match=r"queues\.one\.dead_letter: .* give both the same redis hash_tag"):
        async with app:
            pass


async def test_queues_that_share_a_dead_letter_queue_lie_beside_it(cluster: Cluster) -> None:
    app = App(f"{cluster.url}?prefix=shared&lease=3")
    for name in ("one", "two"):
        queue = Queue(name, dead_letter=DeadLetter("graves"))

        @app.task(name=name, queue=queue)
        async def fail() -> None:
            raise ValueError("no")

    async with app, app.worker():
        for name in ("one", "two"):
            handle = await app.send(name, queue=name, retry=Retry.none())
            with pytest.raises(Exception, match="no"):
                await handle.result()
        assert {dead.source for name in ("one", "two") for dead in await app.dead_letters(name)} == {"one", "two"}


def test_a_cluster_has_no_other_database() -> None:
    with pytest.raises(ConfigurationError, match="has one database, 0"):
        RedisTransport("redis+cluster://localhost/1")
