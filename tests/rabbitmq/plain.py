"""A broker reached with aiormq alone, for tests of what is declared there."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import aiormq
from aiormq.abc import AbstractChannel, AbstractConnection
from pamqp.commands import Basic

from brokerkit.transports.rabbitmq.declaring import Applied, apply
from brokerkit.transports.rabbitmq.plan import Named, Plan
from brokerkit.transports.rabbitmq.versions import Version, parse_version

EDITIONS = ("rabbitmq", "rabbitmq-newer")


class PlainChannel:
    """A channel as ``declaring`` wants it."""

    def __init__(self, rpc: AbstractChannel) -> None:
        self.rpc = rpc

    async def close(self) -> None:
        await self.rpc.close()


class Plain:
    """A connection that deletes in the end what was declared over it, but for what all apps share.

    Attributes:
        connection: The connection.
        version: The broker's.
        applied: What ``declare`` has declared.
        opened: How many channels ``open_channel`` has opened.
    """

    def __init__(self, connection: AbstractConnection, version: Version) -> None:
        self.connection, self.version = connection, version
        self.applied = Applied()
        self.opened = 0
        self._rubbish: dict[Named, None] = {}

    async def open_channel(self) -> PlainChannel:
        self.opened += 1
        return PlainChannel(await self.connection.channel(publisher_confirms=False))

    async def declare(self, *plans: Plan, applied: Applied | None = None) -> None:
        for plan in plans:
            self.sweep_later(plan.objects())
            await apply(self.open_channel, plan, applied or self.applied)

    def sweep_later(self, names: Sequence[Named]) -> None:
        self._rubbish |= dict.fromkeys(names)

    def keep(self) -> None:
        """Leave everything where it is."""
        self._rubbish.clear()

    async def sweep(self) -> None:
        """Delete it. Deleting what is not there is no error."""
        channel = await self.connection.channel(publisher_confirms=False)
        for kind, name in self._rubbish:
            await (channel.queue_delete(name) if kind == "queue" else channel.exchange_delete(name))

    async def exists(self, kind: str, name: str) -> bool:
        channel = await self.connection.channel(publisher_confirms=False)
        try:
            await (channel.queue_declare if kind == "queue" else channel.exchange_declare)(name, passive=True)
        except aiormq.exceptions.ChannelNotFoundEntity:
            return False
        await channel.close()
        return True

    async def take(self, queue: str, count: int, *, within: float = 20.0) -> list[tuple[float, bytes]]:
        """Wait for messages of a queue, take them off and return them with the time each came."""
        channel = await self.connection.channel(publisher_confirms=False)
        found: list[tuple[float, bytes]] = []
        complete = asyncio.Event()

        async def took(message: aiormq.abc.DeliveredMessage) -> None:
            found.append((time.time(), message.body))
            if len(found) >= count:
                complete.set()

        await channel.basic_consume(queue, took, no_ack=True)
        async with asyncio.timeout(within):
            await complete.wait()
        await channel.close()
        return found

    async def drained(self, queue: str) -> list[bytes]:
        """What lies in a queue now, taken off."""
        channel = await self.connection.channel(publisher_confirms=False)
        bodies = []
        while not isinstance((message := await channel.basic_get(queue, no_ack=True)).delivery, Basic.GetEmpty):
            bodies.append(message.body)
        await channel.close()
        return bodies


@asynccontextmanager
async def plain(url: str) -> AsyncIterator[Plain]:
    """A connection to a broker."""
    connection = await aiormq.connect(url)
    try:
        opened = Plain(connection, parse_version(str(connection.server_properties["version"])))
        try:
            yield opened
        finally:
            await opened.sweep()
    finally:
        await connection.close()


async def publish(
    channel: AbstractChannel, exchange: str, key: str, body: bytes, headers: Mapping[str, Any] | None = None
) -> None:
    """Publish persistently and wait for the confirm; raises ``PublishError`` when it is returned."""
    properties = Basic.Properties(delivery_mode=2, headers=dict(headers or {}))
    await channel.basic_publish(body, exchange=exchange, routing_key=key, properties=properties, mandatory=True)


async def eventually(check: Callable[[], Awaitable[bool]], *, within: float = 10.0, every: float = 0.02) -> None:
    """Wait until it is true; the broker's own moves have no event."""
    async with asyncio.timeout(within):
        while not await check():
            await asyncio.sleep(every)
