"""Asking again when a connection is lost, for what may be done twice."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from brokerkit.errors import ConnectionLost
from brokerkit.transports.redis.errors import NotYet
from brokerkit.transports.redis.link import Argument
from brokerkit.transports.redis.scripts import Script
from brokerkit.transports.redis.servers import Servers
from brokerkit.transports.redis.session import Session

T = TypeVar("T")

FIRST_PAUSE, LONGEST_PAUSE = 0.01, 1.0
"""Seconds before a call is made again, at first and at most, on a connection that is there."""


async def insist(servers: Servers, key: Argument, call: Callable[[], Awaitable[T]]) -> T:
    """Make a call until it is answered, however often the connection is lost, and however long the server cannot
    serve us.

    Args:
        servers: The connections.
        key: A key of the call.
        call: Makes it.

    Raises:
        TransportError: The server answered with an error.
    """
    pause = FIRST_PAUSE
    while True:
        try:
            return await call()
        except NotYet as error:
            servers.complain(str(error))
        except ConnectionLost:
            pass  # the connections tell of it
        await asyncio.sleep(pause)
        await servers.ready(key if isinstance(key, str) else str(key))
        pause = min(2 * pause, LONGEST_PAUSE)


class Insistent:
    """Servers that are asked again, for so long at most.

    Args:
        servers: The connections.
        seconds: How long.
    """

    def __init__(self, servers: Servers, seconds: float) -> None:
        self._servers, self._seconds = servers, seconds

    async def ask(self, *command: Argument) -> Any:
        """Send a command that may be carried out twice; its first argument is a key.

        Raises:
            ConnectionLost: There was no answer for so long.
            TransportError: The server answered with an error.
        """
        return await self._within(command[1], lambda: self._servers.ask(*command))

    async def run(self, script: Script, keys: Sequence[Argument], args: Sequence[Argument]) -> Any:
        """Run a script that may be run twice. Raises as ``ask``."""
        return await self._within(keys[0], lambda: self._servers.run(script, keys, args))

    async def run_once(self, script: Script, keys: Sequence[Argument], args: Sequence[Argument]) -> Any:
        """Run a script that may not be run twice, as soon as there is a connection.

        Raises:
            ConnectionLost: There was none for so long; or it ended before the answer came, and it may have run.
            TransportError: The server answered with an error.
        """
        try:
            async with asyncio.timeout(self._seconds):
                await self._servers.ready(str(keys[0]))
        except TimeoutError:
            raise self._gone() from None
        return await self._servers.run(script, keys, args)

    @property
    def where(self) -> str:
        """What they are called in texts."""
        return self._servers.where

    @property
    def all(self) -> Sequence[Session]:
        """The connection to each server, for what is asked of all."""
        return self._servers.all

    async def _within(self, key: Argument, call: Callable[[], Awaitable[T]]) -> T:
        try:
            async with asyncio.timeout(self._seconds):
                return await insist(self._servers, key, call)
        except TimeoutError:
            raise self._gone() from None

    def _gone(self) -> ConnectionLost:
        return ConnectionLost(f"no answer from {self._servers.where} for {self._seconds:g} s")
