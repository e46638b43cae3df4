"""A transport whose connections go through a proxy."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from brokerkit.message import Message, Outgoing
from brokerkit.topology import Queue, Topology
from brokerkit.transports.redis import RedisTransport
from tests.proxy import Pipe, Proxy, proxy_to
from tests.redis.server import Server


@pytest.fixture
async def proxy(server: Server) -> AsyncIterator[Proxy]:
    """Between the server and us."""
    async with proxy_to(server.url) as between:
        yield between


def outgoing(number: int, queue: str = "work") -> Outgoing:
    """A message to a queue or inbox."""
    return Outgoing(Message(id=f"m{number}", name="job", body=b"{}"), "", queue)


@asynccontextmanager
async def transport_to(url: str, **options: object) -> AsyncIterator[RedisTransport]:
    """A transport with the queue ``work``."""
    query = "&".join(f"{name}={value}" for name, value in options.items())
    async with RedisTransport(f"{url}?{query}") as transport:
        await transport.apply(Topology("app", queues=[Queue("work")]))
        yield transport


def main_pipe(transport: RedisTransport, proxy: Proxy) -> Pipe:
    """Over which messages are published, and fetched."""
    return pipe_of(transport._broker.servers, proxy)


def pipe_of(session: object, proxy: Proxy) -> Pipe:
    """Over which a session goes."""
    ours = session._link._transport.get_extra_info("sockname")  # type: ignore[attr-defined]
    return next(pipe for pipe in proxy.pipes if pipe.client.get_extra_info("peername") == ours)
