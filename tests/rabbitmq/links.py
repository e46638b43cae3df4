"""Links and connections for tests, and names that nobody else uses."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from brokerkit.message import Message
from brokerkit.transports.rabbitmq.connection import Connection
from brokerkit.transports.rabbitmq.link import Link
from brokerkit.transports.rabbitmq.outlet import Prepared
from brokerkit.transports.rabbitmq.url import parse


def unique(what: str) -> str:
    return f"test-{what}-{uuid.uuid4().hex[:12]}"


@asynccontextmanager
async def linked(url: str, *, options: str = "") -> AsyncIterator[Link]:
    """A link that nobody replaces."""
    server = parse(url + options)
    link = await Link.open(server, server.hosts[0], name="test", timeout=20)
    try:
        yield link
    finally:
        await link.close()


@asynccontextmanager
async def connected(url: str, *, options: str = "", name: str = "test") -> AsyncIterator[Connection]:
    """A connection that is kept up."""
    connection = Connection(parse(url + options), name, jitter=lambda: 0.05)
    await connection.open()
    async with asyncio.TaskGroup() as group:
        running = group.create_task(connection.run())
        try:
            yield connection
        finally:
            running.cancel()
            await connection.close()


@asynccontextmanager
async def queue(url: str, *, kind: str = "classic", **arguments: Any) -> AsyncIterator[str]:
    """A durable queue, deleted in the end."""
    name = unique("queue")
    async with linked(url) as link:
        channel = await link.channel()
        await channel.rpc.queue_declare(name, durable=True, arguments={"x-queue-type": kind, **arguments})
    try:
        yield name
    finally:
        async with linked(url) as link:
            await (await link.channel()).rpc.queue_delete(name)


async def count(url: str, name: str) -> int:
    """Messages that are ready in a queue."""
    async with linked(url) as link:
        channel = await link.channel()
        found = await channel.rpc.queue_declare(name, passive=True)
        return found.message_count or 0


async def contents(url: str, name: str) -> Sequence[dict[str, Any]]:
    """The headers of a queue's messages, which are taken."""
    taken: list[dict[str, Any]] = []
    async with linked(url) as link:
        channel = await link.channel()
        while (got := await channel.rpc.basic_get(name, no_ack=True)).header.properties.message_id is not None:
            properties = got.header.properties
            taken.append({"message_id": properties.message_id, **(properties.headers or {})})
    return taken


def prepared(to: str, number: int = 0, *, exchange: str = "", body: bytes = b"x" * 256, **more: Any) -> Prepared:
    return Prepared(exchange, to, Message(id=f"m-{number}", name="task", body=body), **more)


async def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    """Wait until it holds."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)
