"""The same work without a framework, on Redis: a script with redis-py, a consumer group, and the same promises.

Messages are read by a group, and acknowledged and deleted in one transaction once they have run; what is stored or
replied beside them is in the same pipeline.
"""

from __future__ import annotations

import asyncio
import struct
import time
from random import uniform
from typing import Any

from redis.asyncio import Redis

from tests.bench.child import told_to_go_on
from tests.bench.plain import Handling, Plain, messages, record
from tests.bench.roles import PAUSE


class Stream:
    """A stream with one group.

    Args:
        url: The server.
        prefix: What the keys begin with.
    """

    def __init__(self, url: str, prefix: str) -> None:
        # Nothing is tried again behind our back, and no wait for a message is cut short.
        self.client: Any = Redis.from_url(url, socket_timeout=None, retry=None, protocol=2)
        self.key, self._prefix = f"{prefix}:plain", prefix

    async def open(self) -> None:
        if not await self.client.exists(self.key):
            await self.client.xgroup_create(self.key, "plain", "0", mkstream=True)

    async def put(self, batch: list[Plain], *, records: bool = False) -> None:
        """Publish messages."""
        async with self.client.pipeline(transaction=records) as pipe:
            for message in batch:
                pipe.xadd(self.key, {"id": message.id, "body": message.body})
                if records:
                    pipe.set(f"{self._prefix}:record:{message.id}", record(message, "PENDING"), ex=3600)
            await pipe.execute()

    async def take(self, limit: int, block: int | None = None) -> tuple[list[bytes], list[Plain]]:
        """Read messages."""
        found = await self.client.xreadgroup("plain", "me", {self.key: ">"}, count=limit, block=block)
        entries = found[0][1] if found else []
        return [entry for entry, _ in entries], [Plain(each[b"id"].decode(), each[b"body"]) for _, each in entries]

    async def settle(self, ids: list[bytes], batch: list[Plain], *, records: bool, replies: bool) -> None:
        """Acknowledge messages."""
        async with self.client.pipeline(transaction=True) as pipe:
            for message in batch if records else ():
                pipe.set(f"{self._prefix}:record:{message.id}", record(message, "SUCCESS"), ex=3600)
            if replies:
                pipe.rpush(f"{self._prefix}:replies", b"".join(message.id.encode() for message in batch))
            pipe.xack(self.key, "plain", *ids)
            pipe.xdel(self.key, *ids)
            await pipe.execute()


async def drain(url: str, prefix: str, count: int, concurrency: int, records: bool, replies: bool) -> dict[str, Any]:
    """Read, run, settle, in batches of as many as there are slots."""
    stream = Stream(url, prefix)
    await stream.open()
    for start in range(0, count, 500):
        await stream.put(messages(min(500, count - start)), records=records)
    handling = Handling()
    started = time.perf_counter()
    while handling.executed < count:
        ids, batch = await stream.take(concurrency)
        await handling.run(batch)
        await stream.settle(ids, batch, records=records, replies=replies)
    seconds = time.perf_counter() - started
    await stream.client.aclose()
    return {"seconds": seconds}


async def publish(url: str, prefix: str, count: int, batch: int, records: bool) -> dict[str, Any]:
    """Publish in batches, one pipeline each."""
    stream = Stream(url, prefix)
    await stream.open()
    started = time.perf_counter()
    for _ in range(count // batch):
        await stream.put(messages(batch), records=records)
    seconds = time.perf_counter() - started
    await stream.client.aclose()
    return {"seconds": seconds}


async def serve(url: str, prefix: str) -> dict[str, Any]:
    """Answer each message with the time at which it was taken."""
    stream = Stream(url, prefix)
    await stream.open()
    await told_to_go_on()
    while True:
        ids, batch = await stream.take(1, block=0)
        begun = time.time()
        if not batch[0].body:
            break
        await Handling().handle(batch[0])
        await stream.client.rpush(f"{prefix}:replies", struct.pack("d", begun))
        await stream.settle(ids, batch, records=False, replies=False)
    await stream.client.aclose()
    return {}


async def lonely_calls(url: str, prefix: str, count: int) -> dict[str, Any]:
    """One message at a time, with pauses; the reply comes to a list."""
    stream = Stream(url, prefix)
    answers: Any = Redis.from_url(url, socket_timeout=None, retry=None, protocol=2)
    await stream.open()
    dispatches, trips = [], []
    for number in range(count + 3):
        message = messages(1)
        sent = time.time()
        await stream.put(message)
        _, answer = await answers.blpop([f"{prefix}:replies"])
        begun = struct.unpack("d", answer)[0]
        if number >= 3:
            trips.append(time.time() - sent)
            dispatches.append(begun - sent)
        await asyncio.sleep(uniform(*PAUSE))
    await stream.put([Plain("end", b"")])
    await stream.client.aclose()
    await answers.aclose()
    return {"dispatches": dispatches, "trips": trips}


async def removed(url: str, prefix: str) -> dict[str, Any]:
    """Delete what a measurement has left."""
    client: Any = Redis.from_url(url)
    keys = [key async for key in client.scan_iter(f"{prefix}:*", count=1000)]
    for start in range(0, len(keys), 1000):
        await client.unlink(*keys[start : start + 1000])
    await client.aclose()
    return {}
