"""What the tests share that break a RabbitMQ node: an app that keeps count, and a plain client beside it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager

import aiormq
import pytest
from aiormq.abc import AbstractChannel

from brokerkit import App, GiveUp, Queue, Retry
from brokerkit.settings import Settings

ON_OUR_NODE = [pytest.mark.broker]
"""For tests that break a node. Each process that runs any starts a node of its own, so they do not meet."""

PATIENCE = 10.0
"""Seconds within which work goes on after a fault."""


class Probes:
    """An app with one task, and what became of each call of it, by its number.

    Args:
        url: The broker.
        queue: The task's queue.
        deadline: Seconds for one publish.

    Attributes:
        begun: How often each was started.
        ended: How often each came to its end.
        cancelled: Those whose handler was cancelled.
        gates: What a handler waits for before it ends, if there is one for its number.
    """

    def __init__(self, url: str, queue: Queue | None = None, *, deadline: float = 10.0) -> None:
        self.app = App(url, name="faults", store=None, settings=Settings(publish_deadline=deadline))
        self.queue = queue or Queue("probes")
        self.begun: Counter[int] = Counter()
        self.ended: Counter[int] = Counter()
        self.cancelled: list[int] = []
        self.gates: dict[int, asyncio.Event] = {}

        @self.app.task(queue=self.queue, reply=False, retry=Retry.none())
        async def probe(number: int, seconds: float, bad: bool) -> None:
            self.begun[number] += 1
            try:
                await asyncio.sleep(seconds)
                if number in self.gates:
                    await self.gates[number].wait()
            except asyncio.CancelledError:
                self.cancelled.append(number)
                raise
            self.ended[number] += 1
            if bad:
                raise GiveUp("bad from the beginning")

        self._probe = probe

    async def send(self, *numbers: int, seconds: float = 0.0, bad: Iterable[int] = ()) -> None:
        """Send calls, confirmed, whose handlers take so many seconds; bad ones end in the dead-letter queue."""
        spoiled = {*bad}
        await self.app.send_many([self._probe.message(number, seconds, number in spoiled) for number in numbers])

    async def until_ended(self, *numbers: int, within: float = PATIENCE) -> None:
        """Wait until each has come to its end at least once."""
        await until(lambda: all(self.ended[number] for number in numbers), within)

    async def until_begun(self, number: int) -> None:
        """Wait until its handler has been started."""
        await until(lambda: self.begun[number] > 0)

    async def until_so_many_ended(self, count: int) -> None:
        """Wait until handlers have come to their end so often in all."""
        await until(lambda: self.ended.total() >= count)

    def gate(self, number: int) -> asyncio.Event:
        """Let the handler of this number wait for the event."""
        return self.gates.setdefault(number, asyncio.Event())

    def repeated(self) -> dict[int, int]:
        """What was started more than once, and how often."""
        return {number: times for number, times in self.begun.items() if times > 1}


async def until(done: Callable[[], bool], within: float = PATIENCE) -> None:
    """Look every 10 ms until it is so."""
    async with asyncio.timeout(within):
        while not done():
            await asyncio.sleep(0.01)


@asynccontextmanager
async def plain_channel(url: str) -> AsyncIterator[AbstractChannel]:
    """A channel of a client that is not ours."""
    connection = await aiormq.connect(url)
    try:
        yield await connection.channel()
    finally:
        await connection.close()


def vhost_of(url: str) -> str:
    """The virtual host of a URL of the node."""
    return url.rpartition("/")[2].partition("?")[0]
