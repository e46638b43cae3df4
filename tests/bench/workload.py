"""The app that is measured: tasks that do nothing but count themselves."""

from __future__ import annotations

import asyncio
import time
from itertools import islice
from typing import Literal, NamedTuple, Self, cast

from brokerkit import App, Exchange, Handle, Queue
from brokerkit.settings import BROKERS_OWN
from brokerkit.topology import QueueType

BLOB = bytes(range(256)) * 2
BLOB_SIZE = 248
"""With the map and the name around it this makes a body of 256 bytes."""
BODY_SIZE = 256

Level = Literal["none", "outcome"]


class Place(NamedTuple):
    """Where measured processes meet, and what is theirs there: on one argument, ``amqp://host/#name,classic``.

    Args:
        url: The broker.
        name: What the names of queues and exchanges begin with.
        queue_type: How RabbitMQ keeps the queues.
    """

    url: str
    name: str = "bench"
    queue_type: QueueType = "quorum"

    @classmethod
    def at(cls, text: str) -> Self:
        """Read it from an argument."""
        url, _, ours = text.partition("#")
        name, _, kind = ours.partition(",")
        return cls(url, name or "bench", cast(QueueType, kind or "quorum"))

    @property
    def events(self) -> str:
        """The name of the exchange for events, and of the queue that gets them."""
        return self.name + "-events"

    def __str__(self) -> str:
        return f"{self.url}#{self.name},{self.queue_type}"


def payload() -> bytes:
    """What every message carries."""
    return BLOB[:BLOB_SIZE]


class Workload:
    """An app with one task that counts its calls.

    Args:
        url: The broker, and what is ours there: a ``Place`` as text.
        record: What the store keeps of each task.
        reply: Whether results are sent back.
        store: Where records are kept. Default with the broker.
    """

    def __init__(self, url: str, record: Level = "none", reply: bool = False, store: str = BROKERS_OWN) -> None:
        place = Place.at(url)
        self.app = App(place.url, store=store)
        self.queue = Queue(place.name, type=place.queue_type)
        self.exchange = Exchange(place.events, type="topic")
        bindings = [self.exchange.bind("order.*")]
        self.app.declare(self.exchange, Queue(place.events, type=place.queue_type, bindings=bindings))
        self.executed = 0
        self._awaited = 0
        self._reached = asyncio.Event()

        @self.app.task(queue=self.queue, record=record, reply=reply)
        async def noop(blob: bytes) -> None:
            self.executed += 1
            if self.executed == self._awaited:
                self._reached.set()

        @self.app.task(queue=self.queue, record=record)
        async def now(blob: bytes) -> float:
            return time.time()

        self.noop = noop
        self.now = now

    async def send(self, count: int, batch: int) -> list[Handle[None]]:
        """Send tasks in batches, each batch confirmed before the next one is made."""
        handles: list[Handle[None]] = []
        numbers = iter(range(count))
        blob = payload()
        while part := [self.noop.message(blob) for _ in islice(numbers, batch)]:
            handles += await self.app.send_many(part, batch=batch)
        return handles

    async def until_executed(self, count: int) -> None:
        """Wait until so many tasks have been executed in all."""
        self._awaited = count
        if self.executed < count:
            await self._reached.wait()

    async def until_empty(self, pause: float = 0.002) -> None:
        """Wait until the queue is empty: the last one has been acknowledged."""
        while True:
            stats = await self.app.queue_stats(self.queue)
            if not stats.ready and not stats.in_flight:
                return
            await asyncio.sleep(pause)
