"""The same work without a framework, on RabbitMQ: a script on stock aiormq and the same promises.

Messages are persistent, published with ``mandatory`` and confirmed, and acknowledged after they have run. aiormq runs
the callback of each delivery in a task of its own; acknowledgements do not wait for the socket.
"""

from __future__ import annotations

import asyncio
import struct
import time
from random import uniform
from typing import Any

import aiormq
from aiormq.abc import AbstractChannel, AbstractConnection, DeliveredMessage
from pamqp.commands import Basic

from tests.bench.child import told_to_go_on
from tests.bench.plain import Handling, Plain, messages
from tests.bench.raw_rabbitmq import fill
from tests.bench.roles import PAUSE
from tests.bench.workload import Place

PREFETCH = 256
"""RabbitMQ's own advice is 100 to 300: https://www.rabbitmq.com/docs/confirms#channel-qos-prefetch-throughput"""


async def _connected(url: str) -> AbstractConnection:
    return await aiormq.connect(Place.at(url).url)


async def _declared(url: str, channel: AbstractChannel) -> str:
    place = Place.at(url)
    await channel.queue_declare(place.name, durable=True, arguments={"x-queue-type": place.queue_type})
    return place.name


def _properties(message_id: str, **more: Any) -> Basic.Properties:
    return Basic.Properties(message_id=message_id, message_type="noop", delivery_mode=2, **more)


async def drain(url: str, count: int, concurrency: int, replies: bool) -> dict[str, Any]:
    """Take, run, acknowledge; with replies, one message back for as many as there are slots."""
    fill(url, count)
    connection = await _connected(url)
    channel = await connection.channel()
    replying = await connection.channel()
    inbox = (await replying.queue_declare(exclusive=True)).queue or ""
    handling = Handling()
    finished = asyncio.Event()
    executed: list[str] = []
    acknowledged = 0

    async def take(message: DeliveredMessage) -> None:
        nonlocal acknowledged
        message_id = message.header.properties.message_id or ""
        await handling.handle(Plain(message_id, message.body))
        executed.append(message_id)
        if replies and (len(executed) == concurrency or handling.executed == count):
            ids, executed[:] = "".join(executed), []
            await replying.basic_publish(ids.encode(), routing_key=inbox)
        await channel.basic_ack(message.delivery_tag or 0, wait=False)
        acknowledged += 1
        if acknowledged == count:
            finished.set()

    await channel.basic_qos(prefetch_count=PREFETCH)
    started = time.perf_counter()
    await channel.basic_consume(Place.at(url).name, take)
    await finished.wait()
    await channel.close()  # so the acks have been taken
    seconds = time.perf_counter() - started
    await connection.close()
    return {"seconds": seconds}


async def publish(url: str, count: int, batch: int) -> dict[str, Any]:
    """Publish in batches, the confirms of each awaited together."""
    connection = await _connected(url)
    channel = await connection.channel(publisher_confirms=True)
    queue = await _declared(url, channel)
    started = time.perf_counter()
    for _ in range(count // batch):
        sends = [
            channel.basic_publish(message.body, routing_key=queue, properties=_properties(message.id), mandatory=True)
            for message in messages(batch)
        ]
        await asyncio.gather(*sends)
    seconds = time.perf_counter() - started
    await connection.close()
    return {"seconds": seconds}


async def serve(url: str) -> dict[str, Any]:
    """Answer each message with the time at which it was taken."""
    connection = await _connected(url)
    channel = await connection.channel()
    queue = await _declared(url, channel)
    ended = asyncio.Event()

    async def take(message: DeliveredMessage) -> None:
        begun = struct.pack("d", time.time())
        properties = message.header.properties
        if not properties.reply_to:
            ended.set()
        else:
            await Handling().handle(Plain("", message.body))
            await channel.basic_publish(begun, routing_key=properties.reply_to)
        await channel.basic_ack(message.delivery_tag or 0)

    await channel.basic_qos(prefetch_count=PREFETCH)
    await channel.basic_consume(queue, take)
    await told_to_go_on()
    await ended.wait()
    await connection.close()
    return {}


async def lonely_calls(url: str, count: int) -> dict[str, Any]:
    """One message at a time, with pauses; the reply comes to a queue of our own."""
    connection = await _connected(url)
    channel = await connection.channel(publisher_confirms=True)
    queue = await _declared(url, channel)
    inbox = (await channel.queue_declare(exclusive=True)).queue or ""
    answers: asyncio.Queue[float] = asyncio.Queue()

    async def take(message: DeliveredMessage) -> None:
        answers.put_nowait(struct.unpack("d", message.body)[0])

    await channel.basic_consume(inbox, take, no_ack=True)
    dispatches, trips = [], []
    for number in range(count + 3):
        message = messages(1)[0]
        properties = _properties(message.id, reply_to=inbox)
        sent = time.time()
        await channel.basic_publish(message.body, routing_key=queue, properties=properties, mandatory=True)
        begun = await answers.get()
        if number >= 3:
            trips.append(time.time() - sent)
            dispatches.append(begun - sent)
        await asyncio.sleep(uniform(*PAUSE))
    await channel.basic_publish(b"", routing_key=queue, properties=_properties("end"))
    await connection.close()
    return {"dispatches": dispatches, "trips": trips}


async def waiting(url: str) -> dict[str, Any]:
    """How many messages are still in the queue."""
    connection = await _connected(url)
    found = await (await connection.channel()).queue_declare(Place.at(url).name, passive=True)
    await connection.close()
    return {"left": found.message_count or 0}


async def removed(url: str) -> dict[str, Any]:
    """Delete what a measurement has declared."""
    place = Place.at(url)
    connection = await _connected(url)
    channel = await connection.channel()
    for name in (place.name, f"{place.name}.dead", place.events, f"{place.events}.dead"):
        await channel.queue_delete(name)
    await channel.exchange_delete(place.events)
    await connection.close()
    return {}
