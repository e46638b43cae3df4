"""The brokers on which workers are killed, and what is particular to each."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple

import pytest

from brokerkit import App
from tests.rabbitmq.node import Node
from tests.redis.cluster import Cluster
from tests.redis.server import Server
from tests.redis.servers import Serve

LEASE = 3
"""Seconds until what a killed worker held on Redis runs again."""


def nothing() -> None:
    """The broker itself is well."""


class Ground(NamedTuple):
    """One broker.

    Args:
        url: Its URL.
        store: Where records are kept: "broker" or "none".
        left: The queues that are not empty, with how many messages are there.
        in_steps: A retry is published before what failed is acknowledged, so that a kill between the two repeats it.
        beside: Happens before each kill of a worker.
    """

    url: str
    store: str
    left: Callable[[App], Awaitable[Mapping[str, int]]]
    in_steps: bool = False
    beside: Callable[[], None] = nothing

    @property
    def records(self) -> bool:
        """Whether the outcome of each task is recorded."""
        return self.store != "none"


async def counted(app: App) -> Mapping[str, int]:
    """What the transport itself says is left."""
    found = {}
    for queue in app.topology().queues:
        stats = await app.queue_stats(queue.name)
        found[queue.name] = sum(each or 0 for each in (stats.ready, stats.in_flight, stats.delayed, stats.dead))
    return {name: count for name, count in found.items() if count}


@pytest.fixture
def sqlite_ground(sqlite_url: str) -> Ground:
    return Ground(sqlite_url, "broker", counted)


SIZES = {"stream": "XLEN", "hash": "HLEN", "zset": "ZCARD"}
OF_MESSAGES = ("0", "1", "index", "starts", "payloads", "delayed")
"""The last parts of the names of keys that have something for each message."""


def redis_ground_on(*servers: Server, url: str, beside: Callable[[], None] = nothing) -> Ground:
    """Redis, where the keys themselves are looked at as well."""

    def entries() -> Mapping[str, int]:
        found = {}
        for server in servers:
            with server.client() as client:
                for key in client.scan_iter("*:{*}:*", count=1000):
                    if key.decode().rpartition(":")[2] in OF_MESSAGES:
                        found[key.decode()] = int(server.ask(SIZES[client.type(key).decode()], key))
        assert found, "there are no such keys"
        return {key: size for key, size in found.items() if size}

    async def left(app: App) -> Mapping[str, int]:
        return {**await counted(app), **await asyncio.to_thread(entries)}

    return Ground(f"{url}?lease={LEASE}", "broker", left, beside=beside)


@pytest.fixture
def redis_ground(server: Server) -> Ground:
    return redis_ground_on(server, url=server.url)


@pytest.fixture
def dying_redis_ground(serve: Serve) -> Ground:
    """The server itself is killed as often as the workers, and keeps what it has confirmed."""
    server = serve(appendonly="yes", appendfsync="always")

    def die() -> None:
        server.restart(killed=True)
        server.loaded()  # else no worker can be started

    return redis_ground_on(server, url=server.url, beside=die)


@pytest.fixture
def cluster_ground(cluster: Cluster) -> Ground:
    return redis_ground_on(*cluster.primaries, url=cluster.url)


@pytest.fixture
def rabbitmq_ground(node: Node, url: str) -> Ground:
    async def left(_: App) -> Mapping[str, int]:
        queues = await asyncio.to_thread(node.queues, url.rpartition("/")[2])
        return {name: queue.messages for name, queue in queues.items() if queue.messages}

    return Ground(url, "none", left, in_steps=True)


@pytest.fixture(
    params=[
        "sqlite",
        pytest.param("redis", marks=pytest.mark.broker),
        pytest.param("dying_redis", marks=pytest.mark.broker),
        pytest.param("cluster", marks=pytest.mark.broker),
        pytest.param("rabbitmq", marks=pytest.mark.broker),
    ]
)
def ground(request: pytest.FixtureRequest) -> Ground:
    """Each of them in turn."""
    found: Ground = request.getfixturevalue(f"{request.param}_ground")
    return found
