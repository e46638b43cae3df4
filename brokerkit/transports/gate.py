"""What a listener waits for."""

from __future__ import annotations

import asyncio


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
