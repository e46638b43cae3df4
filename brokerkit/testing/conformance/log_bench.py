"""A log, its groups, and somebody who reads them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from brokerkit.delivery import GroupSource
from brokerkit.message import Message
from brokerkit.testing.conformance.bench import Bench, Reader, bench
from brokerkit.testing.conformance.harness import Harness
from brokerkit.topology import Exchange, Group, Log, Topology
from brokerkit.transport import Published, Transport


class LogBench:
    """A log behind a fanout exchange of its own."""

    def __init__(self, b: Bench, log: Log, exchange: Exchange) -> None:
        self.b = b
        self.log = log
        self.exchange = exchange

    async def group(self, name: str, **options: Any) -> Group:
        """Add a group, as an app of its own would."""
        group = Group(self.log, name, **options)
        app = self.b.harness.name("app")
        await self.b.transport.apply(Topology(app, exchanges=[self.exchange], logs=[self.log], groups=[group]))
        return group

    async def publish(self, count: int = 1, **fields: Any) -> list[Message]:
        sent = [self.b.message(exchange=self.exchange.name, routing_key="event", **fields) for _ in range(count)]
        for each in sent:
            answer = await self.offer(each)
            assert answer is Published.CONFIRMED, f"a log always accepts, but it answered {answer}"
        return sent

    async def offer(self, each: Message) -> Published:
        return await self.b.publish_one(each, self.exchange.name, "event")

    def reader(self, group: Group, transport: Transport | None = None) -> AbstractAsyncContextManager[Reader]:
        return self.b.reader(GroupSource(group.log, group.name), transport=transport)

    async def check_lost(self, group: Group, count: int, why: str) -> None:
        """So many were removed before the group saw them, if the broker counts that; else it says that it doesn't."""
        lost = (await self.b.transport.stats(group.key)).lost
        wanted = count if self.b.transport.capabilities.losses_counted else None
        assert lost == wanted, f"{why}, so {wanted} are lost, not {lost}"


@asynccontextmanager
async def log_bench(harness: Harness, **options: Any) -> AsyncIterator[LogBench]:
    """Connect, and apply a log with these options."""
    async with bench(harness) as b:
        exchange = Exchange(harness.name("exchange"), type="fanout")
        log = Log(harness.name("log"), bindings=[exchange.bind()], **options)
        await b.transport.apply(Topology(harness.name("app"), exchanges=[exchange], logs=[log]))
        yield LogBench(b, log, exchange)
