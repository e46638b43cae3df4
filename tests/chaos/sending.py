"""A sender that goes on whatever happens to its server, and remembers what was confirmed, and when."""

from __future__ import annotations

import asyncio
import time
from itertools import count

from brokerkit import App
from brokerkit.errors import TransportError
from tests.chaos import app as chaos

BATCH = 20


class Sender:
    """Sends batches of ``tick`` one after the other.

    Args:
        app: The app to send with, opened.

    Attributes:
        confirmed: When each number was confirmed, by the monotonic clock.
        unknown: Numbers that may have arrived or not.
    """

    def __init__(self, app: App) -> None:
        self._app = app
        self._stopping = False
        self._numbers = count()
        self.confirmed: dict[int, float] = {}
        self.unknown: set[int] = set()

    async def run(self) -> None:
        """Send until ``stop``."""
        while not self._stopping:
            numbers = [next(self._numbers) for _ in range(BATCH)]
            try:
                await self._app.send_many([chaos.tick.message(number) for number in numbers])
            except TransportError:
                self.unknown.update(numbers)
            else:
                self.confirmed.update(dict.fromkeys(numbers, time.monotonic()))
            await asyncio.sleep(0.002)

    def stop(self) -> None:
        """Send no more batches."""
        self._stopping = True

    async def sends(self, more: int = 10 * BATCH) -> None:
        """Wait until so many more have been confirmed."""
        wanted = len(self.confirmed) + more
        async with asyncio.timeout(30):
            while len(self.confirmed) < wanted:
                await asyncio.sleep(0.01)
