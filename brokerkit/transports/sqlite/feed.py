"""What a listener waits for: fetched when somebody rings, kept until it is taken."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

from brokerkit.errors import TransportError

T = TypeVar("T")


class Gate:
    """Lets one waiter through each time somebody opens it."""

    def __init__(self) -> None:
        self._waiter: asyncio.Future[None] | None = None
        self._open = False

    def open(self) -> None:
        self._open = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def wait(self) -> None:
        if not self._open:
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        self._open = False


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
