"""Which queues are being replaced, for whoever sends straight to queues; see ``standins``."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

from brokerkit.errors import BrokerkitError, ConnectionLost
from brokerkit.transports.rabbitmq import standins
from brokerkit.transports.rabbitmq.asking import Asking, NotPermitted

if TYPE_CHECKING:
    from brokerkit.transports.rabbitmq.broker import RabbitmqBroker
    from brokerkit.transports.rabbitmq.outlet import Prepared

_log = logging.getLogger("brokerkit.rabbitmq")

_WITHIN = 2.0
"""Seconds for an answer: what is published is not to wait for questions."""
_MOST = 10_000
"""Queues that are looked after at most; beyond them it is forgotten which."""


class Replacements:
    """Looks every other second from the first message on that goes straight to a queue.

    Args:
        broker: The connections.

    Attributes:
        places: Where to send what is for these queues.
    """

    def __init__(self, broker: RabbitmqBroker) -> None:
        self.places: dict[str, str] = {}
        self._broker = broker
        self._queues: set[str] = set()
        self._known: frozenset[str] = frozenset()
        self._good_until = float("-inf")
        self._absent_until = float("-inf")
        self._under_way = False
        self._asking: Asking | None = None
        self._looking = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    def unknown(self, items: Iterable[Prepared]) -> set[str]:
        """The queues that some of these go straight to, if it is not known where those are now."""
        good = self._broker.clock.monotonic() < self._good_until
        if good and not self._under_way:
            return set()
        queues = {queue for each in items if (queue := each.straight_to) is not None}
        return queues if not good or not queues <= self._known else set()

    async def look(self, queues: Iterable[str]) -> None:
        """Find out for these as well, and keep looking. Where nobody answers, what was known is taken to be so."""
        if len(self._queues) > _MOST:
            self._queues.clear()
        self._queues.update(queues)
        await self._look()
        if self._task is None:
            self._task = self._broker.background.spawn(self._keep_looking(), "looking for queues that are replaced")

    async def reachable(self, queues: Collection[str]) -> set[str]:
        """Of queues that something was returned from, those that are there after all, or that others stand in for by
        now: whoever sends may have looked too long ago."""
        self._broker.forget_places()
        await self.look(queues)
        try:
            return {queue for queue in queues if await self._broker.exists("queue", self.places.get(queue, queue))}
        except BrokerkitError as error:
            _log.debug("whether queues are there is not known: %s", error)
            return set()

    async def look_again(self) -> None:
        """Somebody says that something has changed."""
        if self._task is not None:
            await self._look()

    async def _keep_looking(self) -> None:
        while True:
            await asyncio.sleep(standins.EVERY)
            await self._look()

    async def _look(self) -> None:
        async with self._looking:
            now = self._broker.clock.monotonic()
            good_until = now + standins.FRESH
            try:
                if self._broker.consuming.current is None:
                    raise ConnectionLost("the connection for questions is being opened again")
                async with asyncio.timeout(_WITHIN):
                    count = await self._count(now)
                self._under_way = bool(count)
                good_until = max(good_until, self._absent_until)
                queues = frozenset(self._queues)  # more may be asked for meanwhile
                places = {queue: await self._broker.standing_in(queue) for queue in queues} if count else {}
                self.places = {queue: place for queue, place in places.items() if place != queue}
                self._known = queues
            except (BrokerkitError, TimeoutError) as error:
                _log.debug("whether queues are being replaced is not known: %s", error)
                await self._ask_anew()
            self._good_until = good_until

    async def _ask_anew(self) -> None:
        """By another channel: this one may have gone with its connection."""
        asking, self._asking = self._asking, None
        if asking is not None:
            await asking.__aexit__()

    async def _count(self, now: float) -> int | None:
        """How many messages say that a queue is being replaced; None where none ever has been."""
        if now < self._absent_until:
            return None
        if self._asking is None:
            self._asking = Asking(self._broker.channel)
        try:
            found = await self._asking.count(standins.UNDER_WAY)
        except NotPermitted:
            found = None
        if found is None:
            self._absent_until = now + standins.ABSENT
        return None if found is None else found[0]
