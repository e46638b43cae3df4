"""An app whose runs are counted."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence

from brokerkit import App, Queue
from brokerkit.errors import BrokerkitError


class Ran:
    """An app with a task on some queues, and what it ran.

    Args:
        url: Its broker.
        names: Of its queues, and of their tasks.
    """

    def __init__(self, url: str, names: Sequence[str] = ("near", "far")) -> None:
        self.app = App(url)
        self.count = Counter[int]()
        self.tasks = {name: self.app.task(name=name, queue=Queue(name), record="none")(self._run) for name in names}
        self.near, self.far, *_ = (*self.tasks.values(), *self.tasks.values())

    async def _run(self, number: int) -> int:
        self.count[number] += 1
        return number

    async def until(self, numbers: Sequence[int], within: float = 30) -> None:
        """Wait until all of them ran."""
        async with asyncio.timeout(within):
            while not all(self.count[number] for number in numbers):
                await asyncio.sleep(0.02)

    async def sent(self, number: int) -> None:
        """Send it, however often that takes."""
        while True:
            try:
                await self.near.send(number)
            except BrokerkitError:  # whether it is there is not known: perhaps it runs twice
                await asyncio.sleep(0.05)
            else:
                return

    async def heals(self, number: int, within: float = 5.0) -> None:
        """A message that is sent from now on is run, and its sender gets its reply."""
        began = time.monotonic()
        async with asyncio.timeout(4 * within):
            await self.sent(number)
            await self.until([number])
        assert time.monotonic() - began < within, "it took too long"
