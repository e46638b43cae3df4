"""What a listener waits for: fetched when somebody rings, kept until it is taken."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

from brokerkit.errors import TransportError
from brokerkit.transports.gate import Gate

T = TypeVar("T")


class Feed(Generic[T]):
    """Fetches after each wake-up, until nothing more comes.

    Args:
        fetch: Starts fetching what is there.
    """

    def __init__(self, fetch: Callable[[], asyncio.Future[list[T]]]) -> None:
        self._fetch = fetch
        self._fetching = self._again = self._closed = False
        self._items: list[T] = []
        self._gate = Gate()

    async def receive(self) -> list[T]:
        """Wait for at least one; [] once closed."""
        while not self._items and not self._closed:
            await self._gate.wait()
        items, self._items = self._items, []
        return items

    def wake(self, _sources: Iterable[int] = ()) -> None:
        """There may be something."""
        if self._fetching or self._closed:
            self._again = True
            return
        try:
            future = self._fetch()
        except TransportError:
            return
        self._fetching, self._again = True, False
        future.add_done_callback(self._fetched)

    def close(self) -> None:
        self._closed = True
        self._gate.open()

    def _fetched(self, future: asyncio.Future[list[T]]) -> None:
        self._fetching = False
        if future.cancelled() or future.exception() is not None:
            # Whoever rings next, at the latest the look-out of each second, tries again.
            return
        found = future.result()
        self._items += found
        if found:
            self._gate.open()
        if found or self._again:
            self.wake()
