"""Redis as a broker under test: shared with others, so every scenario has a prefix of its own and leaves nothing."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

import redis.asyncio

from brokerkit.clock import Clock, SystemClock
from brokerkit.store import Retention, Store
from brokerkit.stores.redis import RedisStore
from brokerkit.transport import Transport
from brokerkit.transports.redis import RedisTransport
from tests.brokers import broker_url

LEASE = 2.0


class RedisHarness:
    """Redis.

    Args:
        server: Its URL.
        prefix: What the keys of the scenario begin with; "" for one of its own.
    """

    short = True
    step = 0.3
    quiet = 0.15
    patience = 10.0

    def __init__(self, server: str, prefix: str = "") -> None:
        self.clock: Clock = SystemClock()
        self.server = server
        self.prefix = prefix or f"bktest-{uuid.uuid4().hex[:12]}"
        self.url = f"{self.server}?prefix={self.prefix}&lease={LEASE}"
        self._numbers = count(1)

    def connect(self) -> RedisTransport:
        return RedisTransport(self.url, clock=self.clock)

    async def crash(self, transport: Transport) -> None:
        assert isinstance(transport, RedisTransport)
        await transport.abandon()

    async def lose(self, transport: Transport) -> None:
        assert isinstance(transport, RedisTransport)
        await transport.disconnect()

    async def advance(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def name(self, stem: str) -> str:
        return f"{stem}-{next(self._numbers)}"

    def store(self, transport: Transport) -> Store:
        assert isinstance(transport, RedisTransport)
        return transport.store

    async def inject(self, queue: str, body: bytes) -> None:
        async with self._client() as client:
            await client.xadd(f"{self.prefix}:{{{queue}}}:{queue}:0", {"m": body})

    def _client(self) -> Any:
        if self.server.startswith("redis+cluster:"):
            one = self.server.partition("//")[2].partition(",")[0]
            return redis.asyncio.RedisCluster.from_url(f"redis://{one}")
        return redis.asyncio.Redis.from_url(self.server)

    async def clean(self) -> None:
        """Delete every key of this scenario."""
        async with self._client() as client:
            keys = [key async for key in client.scan_iter(f"{self.prefix}:*", count=1000)]
            for key in keys:
                await client.unlink(key)


class RedisStoreHarness:
    """Records on Redis without a broker.

    Args:
        inner: Whose prefix to use.
        options: More for the URL.
    """

    short = True
    step = 0.3

    def __init__(self, inner: RedisHarness, options: str = "") -> None:
        self.clock = inner.clock
        self.name = inner.name
        self.advance = inner.advance
        self._url = inner.url + options

    def connect(self, retention: Retention | None = None) -> RedisStore:
        return RedisStore(self._url, retention=retention)


@asynccontextmanager
async def on_redis(edition: str) -> AsyncIterator[RedisHarness]:
    """A harness for one scenario on an edition of ``tests/brokers.py``."""
    harness = RedisHarness(broker_url(edition))
    try:
        yield harness
    finally:
        await harness.clean()
