"""An app with a task that fails as it is told, on each broker; several of them share it, as several processes do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from brokerkit import App, Context, Queue, Retry, TaskFailed
from brokerkit.settings import BROKERS_OWN
from brokerkit.transport import Transport
from brokerkit.transports.memory import MemoryBroker, MemoryTransport
from tests.api.probes import dead_letters, soon
from tests.conformance.rabbitmq_harness import rabbit
from tests.conformance.redis_harness import on_redis

BROKERS = ["memory", "sqlite", "redis", "rabbitmq"]


class Shop:
    """An app whose task fails until it is open.

    Args:
        place: A URL or a transport.
        store: Where records are kept; None for nowhere.
        queue: Its queue's name.
    """

    def __init__(self, place: str | Transport, store: str | None, queue: str) -> None:
        self.app = App(place, store=store)
        self.queue = queue
        self.open = False
        self.seen: list[str] = []

        @self.app.task(queue=Queue(queue), retry=Retry.none())
        async def charge(ctx: Context, order: str) -> str:
            self.seen.append(order)
            if self.open:
                return order
            if order.startswith("key"):
                raise KeyError(order)
            raise ConnectionError(f"the bank has closed at 10.0.0.{len(self.seen)} for {order}")

        @self.app.task(queue=Queue(queue), retry=Retry.none())
        async def refund(order: str) -> str:
            if self.open:
                return order
            raise ConnectionError("the bank has closed")

        self.charge, self.refund = charge, refund

    async def fail(self, *orders: str, refunds: int = 0, headers: dict[str, str] | None = None) -> list[str]:
        """Have orders fail, in their order; the ids."""
        charge = self.charge.options(headers=headers) if headers else self.charge
        found: list[str] = []
        for call in [*(charge.message(order) for order in orders), *(self.refund.message("r") for _ in range(refunds))]:
            handle = await self.app.send(call)
            try:
                await soon(handle.result())
            except TaskFailed:
                found.append(handle.id)
        await dead_letters(self.app, self.queue, len(found))
        return found


@asynccontextmanager
async def shops(broker: str, directory: Path, *, records: bool = True) -> AsyncIterator[Callable[[], Shop]]:
    """Makes shops that share a broker and its records, on names that nobody else uses."""
    own = BROKERS_OWN if records else None
    if broker == "memory":
        place = MemoryBroker()
        yield lambda: Shop(MemoryTransport(place), own, "payments")
    elif broker == "sqlite":
        yield lambda: Shop(f"sqlite:///{directory / 'shop.db'}", own, "payments")
    elif broker == "redis":
        async with on_redis("redis") as redis:
            yield lambda: Shop(redis.connect(), own, "payments")
    else:
        async with rabbit("rabbitmq") as rabbitmq:
            queue, store = rabbitmq.name("payments"), f"sqlite:///{directory / 'records.db'}"
            yield lambda: Shop(rabbitmq.connect(), store if records else None, queue)


async def until_seen(shop: Shop, count: int) -> None:
    """Wait until the task has run so many times."""
    async with asyncio.timeout(20):
        while len(shop.seen) < count:
            await asyncio.sleep(0.005)
