"""Calls that are given up, long silences, and full queues: nothing gets mixed up, lost or connected anew."""

from __future__ import annotations

import asyncio
import logging
import random

import pytest

from brokerkit import App, Queue
from brokerkit.errors import QueueFull
from brokerkit.testing.conformance.bench import bench
from brokerkit.transports.redis import RedisTransport
from tests.chaos.sizes import sized
from tests.conformance.redis_harness import RedisHarness
from tests.redis.server import Server

CALLS = sized(3_000, 10_000)
SILENCE = sized(4, 600)
CAP = 200

pytestmark = [pytest.mark.broker, pytest.mark.slow]


async def test_a_call_that_is_cancelled_leaves_everybody_elses_answers_alone(server: Server) -> None:
    chance = random.Random(35)
    with server.client() as client:
        client.mset({f"key-{number}": number for number in range(100)})
    async with RedisTransport(server.url) as transport:
        servers = transport._broker.servers
        connections = server.info("clients")["connected_clients"]

        async def ask(number: int) -> bool:
            try:
                async with asyncio.timeout(chance.expovariate(1000)):
                    answer = await servers.ask("GET", f"key-{number}")
            except TimeoutError:
                return False
            assert answer == str(number).encode(), "an answer to somebody else"
            return True

        answered = 0
        for _ in range(CALLS // 50):
            answered += sum(await asyncio.gather(*(ask(chance.randrange(100)) for _ in range(50))))
        assert CALLS // 10 < answered < CALLS * 9 // 10, "hardly any was cancelled, or answered"
        assert await servers.ask("GET", "key-7") == b"7"
        assert server.info("clients")["connected_clients"] == connections


@pytest.mark.timeout(900)
async def test_a_silence_longer_than_any_timeout_is_no_failure(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    harness = RedisHarness(f"{server.url}")
    harness.url += "&command_timeout=1"
    async with bench(harness) as b, b.reader() as reader:
        connections, said = server.info("stats")["total_connections_received"], len(caplog.records)
        with caplog.at_level(logging.INFO, "brokerkit"), pytest.raises(TimeoutError):
            async with asyncio.timeout(SILENCE):
                await reader.subscription.receive(reader.limit(1))
        mine = server.info("stats")["total_connections_received"] - connections
        assert mine == 1, "only the one that asks how many there were"
        assert caplog.records[said:] == []
        await b.send_some(1)
        async with asyncio.timeout(1):
            await reader.drain(1)


async def test_a_queue_that_is_full_takes_no_more_and_says_so_each_time(server: Server) -> None:
    queue = Queue("bounded", max_length=CAP)
    app = App(server.url)
    ran: set[int] = set()

    @app.task(queue=queue, record="none", reply=False)
    async def take(number: int) -> None:
        ran.add(number)

    async def send(numbers: range) -> set[int]:
        taken = set()
        for number in numbers:
            try:
                await take.send(number)
            except QueueFull:
                continue
            taken.add(number)
        return taken

    async with app:
        senders = (send(range(start, 10 * CAP, 4)) for start in range(4))
        taken = set[int]().union(*await asyncio.gather(*senders))
        stats = await app.queue_stats(queue)
        assert len(taken) == stats.ready == CAP
        async with app.worker(), asyncio.timeout(20):
            while len(ran) < CAP:
                await asyncio.sleep(0.01)
        await take.send(-1)
        assert ran == taken
