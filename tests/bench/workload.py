"""The app that is measured: tasks that do nothing but count themselves."""

from __future__ import annotations

import asyncio
import time
from itertools import islice
from typing import Literal

from brokerkit import App, Exchange, Handle, Queue

BLOB = bytes(range(256)) * 2
BLOB_SIZE = 248
"""With the map and the name around it this makes a body of 256 bytes."""
BODY_SIZE = 256

QUEUE = "bench"
EXCHANGE = Exchange("bench-events", type="topic")
EVENTS = Queue("bench-events", bindings=[EXCHANGE.bind("order.*")])

Level = Literal["none", "outcome"]


def payload() -> bytes:
    """What every message carries."""
    return BLOB[:BLOB_SIZE]


class Workload:
    """An app with one task that counts its calls.

    Args:
        url: The broker.
        record: What the store keeps of each task.
        reply: Whether results are sent back.
    """

    def __init__(self, url: str, record: Level = "none", reply: bool = False) -> None:
        self.app = App(url)
        self.app.declare(EXCHANGE, EVENTS)
        self.executed = 0
        self._awaited = 0
        self._reached = asyncio.Event()

        @self.app.task(queue=QUEUE, record=record, reply=reply)
        async def noop(blob: bytes) -> None:
            self.executed += 1
            if self.executed == self._awaited:
                self._reached.set()

        @self.app.task(queue=QUEUE, record=record)
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
            stats = await self.app.queue_stats(QUEUE)
            if not stats.ready and not stats.in_flight:
                return
            await asyncio.sleep(pause)
