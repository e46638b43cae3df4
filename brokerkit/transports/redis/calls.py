"""Calls that are carried out once, however often the connection is lost while their answers are on the way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from brokerkit.deadlines import TimeLimits
from brokerkit.transports.redis import keys as naming
from brokerkit.transports.redis.insisting import insist
from brokerkit.transports.redis.link import Argument
from brokerkit.transports.redis.scripts import Script
from brokerkit.transports.redis.servers import Servers

KEPT = 60.0
"""Seconds after which answers are kept for ten minutes more."""


class _Line:
    """The calls whose answers are kept in one place."""

    def __init__(self, key: str) -> None:
        self.key = key
        self.last = 0
        self.open: dict[int, None] = {}
        """Calls that somebody waits for, in order."""
        self._kept = -KEPT

    def begin(self) -> tuple[int, int, int]:
        """The number of a new call; the last one before it that is over, as are all before that; whether answers are to
        be kept for longer from now on."""
        self.last += 1
        self.open[self.last] = None
        now = asyncio.get_running_loop().time()
        if keep := now - self._kept >= KEPT:
            self._kept = now
        return self.last, next(iter(self.open)) - 1, int(keep)


class Calls:
    """Carries out calls once.

    Args:
        servers: The connections.
        process: What tells this process's calls from those of others.
        limits: Their time limits.
    """

    def __init__(self, servers: Servers, process: str, limits: TimeLimits) -> None:
        self._servers, self._process, self._limits = servers, process, limits
        self._lines: dict[str, _Line] = {}

    @property
    def where(self) -> str:
        """What the servers are called in texts."""
        return self._servers.where

    @property
    def keys(self) -> list[str]:
        """Where servers keep the answers of this process's calls."""
        return [line.key for line in self._lines.values()]

    async def once(
        self,
        near: str,
        script: Script,
        keys: Sequence[Argument],
        args: Sequence[Argument],
        *,
        within: float | None = None,
        then: Sequence[Argument] = (),
        enough: Callable[[Any], bool] = lambda _: True,
    ) -> Any:
        """Run a script that begins with ``once.lua``.

        Args:
            near: What keys begin with that lie beside those of the script.
            script: The script.
            keys: Its keys, without that of the answers.
            args: Its arguments, without the numbers of calls.
            within: Seconds until ``TimeoutError``; None for as long as it takes.
            then: A command to be carried out right after it; the answer is then that of both.
            enough: Whether an answer will do; else both are asked again, and the script is not run again.

        Raises:
            TimeoutError: It may or may not have been carried out.
            TransportError: The server answered with an error: it was not carried out.
        """
        line = self._lines.get(near)
        if line is None:
            line = self._lines[near] = _Line(naming.calls(near, self._process))
        number, *more = line.begin()
        all_keys, all_args = (line.key, *keys), (number, *more, *args)
        try:
            with self._limits.within(within):
                while True:
                    answer = await insist(
                        self._servers, line.key, lambda: self._servers.run(script, all_keys, all_args, then=then)
                    )
                    if enough(answer):
                        return answer
        finally:
            del line.open[number]
