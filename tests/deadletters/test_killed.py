"""A redrive that is killed in the middle: what is where afterwards is counted by clients that are not ours."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sqlite3
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
import redis.asyncio

from brokerkit import App, Queue, Topology
from brokerkit.delivery import Lane, QueueSource
from brokerkit.message import Message, Outgoing
from brokerkit.outcome import DeadLetter, Reason
from brokerkit.transport import Transport
from tests.conformance.rabbitmq_harness import rabbit
from tests.conformance.redis_harness import on_redis
from tests.rabbitmq.plain import plain

COUNT = 5_000 if os.environ.get("BROKERKIT_TEST_FULL") else 600
ROOT = Path(__file__).parent.parent.parent
AT_ONCE = 100
"""Messages that RabbitMQ has confirmed and that may still be dead letters when the process dies."""


class Place(NamedTuple):
    """A broker, and how to count there without brokerkit.

    Args:
        url: The broker.
        queue: A queue with dead letters.
        bodies: The bodies in the queue, and in its dead-letter queue.
    """

    url: str
    queue: str
    bodies: Callable[[], Awaitable[tuple[list[bytes], list[bytes]]]]


@asynccontextmanager
async def sqlite_place(directory: Path) -> AsyncIterator[Place]:
    async def bodies() -> tuple[list[bytes], list[bytes]]:
        connection = sqlite3.connect(directory / "shop.db")
        rows = connection.execute("SELECT dead IS NULL, body FROM messages").fetchall()
        connection.close()
        return [_body(body) for waits, body in rows if waits], [_body(body) for waits, body in rows if not waits]

    yield Place(f"sqlite:///{directory / 'shop.db'}", "jobs", bodies)


@asynccontextmanager
async def redis_place(directory: Path) -> AsyncIterator[Place]:
    async with on_redis("redis") as harness:

        async def bodies() -> tuple[list[bytes], list[bytes]]:
            async with redis.asyncio.Redis.from_url(harness.server) as client:
                found: tuple[list[bytes], list[bytes]] = [], []
                async for key in client.scan_iter(f"{harness.prefix}:*jobs*:0", _type="stream"):
                    entries: Any = await client.xrange(key)
                    for _, fields in entries:
                        found[b"d" in fields].append(_body(fields[b"m"]))
                return found

        yield Place(harness.url, "jobs", bodies)


@asynccontextmanager
async def rabbitmq_place(directory: Path) -> AsyncIterator[Place]:
    async with rabbit("rabbitmq") as harness, plain(harness.url) as beside:
        queue = harness.name("jobs")
        async with harness.connect() as transport:  # what it declares is deleted at the end
            await transport.apply(Topology("jobs", queues=[Queue(queue)]))

        async def bodies() -> tuple[list[bytes], list[bytes]]:
            return await beside.drained(queue), await beside.drained(f"{queue}.dead")

        yield Place(harness.url, queue, bodies)


def _body(encoded: bytes) -> bytes:
    return msgspec.msgpack.decode(encoded, type=Message).body


PLACES = {"sqlite": sqlite_place, "redis": redis_place, "rabbitmq": rabbitmq_place}


@pytest.mark.broker
@pytest.mark.slow
@pytest.mark.parametrize("broker", PLACES)
async def test_a_redrive_that_is_killed_loses_nothing(broker: str, tmp_path: Path) -> None:
    async with PLACES[broker](tmp_path) as place:
        async with App(place.url, store=None, topology=Topology("jobs", queues=[Queue(place.queue)])) as app:
            await _kill_messages(app.transport, place.queue)
        said = await _killed_in_the_middle(place)
        async with App(place.url, store=None, topology=Topology("jobs", queues=[Queue(place.queue)])) as app:
            stats = await _calm(app, place.queue)
        waiting, dead = await place.bodies()
    assert 0 < said < COUNT, "it was killed in the middle"
    times = Counter(waiting + dead)
    assert set(times) == {b"%d" % number for number in range(COUNT)}, "none is lost"
    twice = [body for body, count in times.items() if count > 1]
    assert len(twice) <= (AT_ONCE if broker == "rabbitmq" else 0)
    assert len(waiting) == len(set(waiting)), "none was sent back twice"
    assert len(waiting) >= said, "what it said was done"
    assert stats == (len(waiting), len(dead)), "and it is counted as it is"


async def _kill_messages(transport: Transport, queue: str) -> None:
    """Not by SIGKILL: they fail."""
    lane = Lane(queue, 0)
    async with transport.consume([QueueSource(queue)]) as subscription:
        messages = [Message(id=f"m-{number}", name="job", body=b"%d" % number) for number in range(COUNT)]
        await transport.publish([Outgoing(message, "", queue) for message in messages], deadline=30)
        left = COUNT
        while left:
            taken = await subscription.receive({lane: left})
            await subscription.settle([(each, DeadLetter(Reason.FAILED, "ValueError: no")) for each in taken])
            left -= len(taken)


async def _killed_in_the_middle(place: Place) -> int:
    """How many it said it had sent back."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.deadletters.redriver", place.url, place.queue,
        cwd=ROOT, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    line = await asyncio.wait_for(process.stdout.readline(), 30)
    await asyncio.sleep(random.uniform(0, 0.4))
    process.send_signal(signal.SIGKILL)
    rest, _ = await process.communicate()
    assert process.returncode == -signal.SIGKILL
    return int((line + rest).split(b"\n")[-2].split()[0])


async def _calm(app: App, queue: str) -> tuple[int | None, int | None]:
    """What waits and what is dead, once the broker has noticed that the process is gone."""
    before: tuple[int | None, int | None] = (None, None)
    async with asyncio.timeout(20):
        while True:
            stats = await app.queue_stats(queue)
            if (found := (stats.ready, stats.dead)) == before and sum(part or 0 for part in found) >= COUNT:
                return found
            before = found
            await asyncio.sleep(0.2)
