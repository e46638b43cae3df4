"""Where replies and signals for one listener arrive."""

from __future__ import annotations

import asyncio
from typing import Generic, TypeVar

T = TypeVar("T")


class Mailbox(Generic[T]):
    """Holds items until the one reader fetches them. A closed one answers with an empty list.

    Args:
        address: What it is known by.
    """

    def __init__(self, address: str = "") -> None:
        self._address = address
        self._items: list[T] = []
        self._closed = False
        self._waiter: asyncio.Future[None] | None = None

    @property
    def address(self) -> str:
        return self._address

    async def receive(self) -> list[T]:
        while not self._items and not self._closed:
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        items, self._items = self._items, []
        return items

    def put(self, item: T) -> None:
        self._items.append(item)
        self._wake()

    def close(self) -> None:
        self._closed = True
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
