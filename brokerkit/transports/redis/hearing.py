"""What is said to this process: wake-ups, messages handed over, replies and signals, on connections of their own."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import struct
from typing import TYPE_CHECKING, Any

from brokerkit.errors import ConnectionLost
from brokerkit.transports.redis.listening import RedisInbox, RedisSignals
from brokerkit.transports.redis.servers import servers
from brokerkit.transports.redis.url import Location

if TYPE_CHECKING:
    from brokerkit.transports.redis.subscription import RedisSubscription

_log = logging.getLogger("brokerkit")

CATCH_UP = 1.0
"""Seconds."""
_SAID = (b"smessage", b"message")


class Hearing:
    """Hears, and tells whom it concerns.

    Args:
        location: The servers.
        signals: The channel of signals.

    Attributes:
        servers: The connections.
        subscriptions: By number.
        inboxes: By the key of the list of their replies.
        listeners: Who hears signals.
    """

    def __init__(self, location: Location, signals: str) -> None:
        self.servers = servers(location, "brokerkit-ear", on_push=self._heard, on_up=self._look)
        self.subscriptions: dict[int, RedisSubscription] = {}
        self.inboxes: dict[str, RedisInbox] = {}
        self.listeners: dict[RedisSignals, None] = {}
        self._signals = signals

    async def open(self) -> None:
        """Connect. Raises ``TransportError``."""
        self.servers.hear(self._signals)
        await self.servers.open()
        await self.servers.listen(self._signals)

    async def catch_up(self) -> None:
        """What was said before this is heard before this returns, where anything is heard."""
        with contextlib.suppress(ConnectionLost, TimeoutError):
            async with asyncio.timeout(CATCH_UP):
                await self.servers.ask("PING", self._signals)

    def doubt(self, alive: str) -> None:
        """The server does not know any more that this inbox is read."""
        for inbox in self.inboxes.values():
            if inbox.plan.alive == alive:
                inbox.doubt()

    def _look(self) -> None:
        """After every loss: something may have been missed."""
        for subscription in self.subscriptions.values():
            subscription.wake_all()
        for inbox in self.inboxes.values():
            inbox.doubt()

    def _heard(self, push: list[Any]) -> None:
        if push[0] not in _SAID:
            return
        channel, body = push[1:]
        try:
            self._tell(channel, body)
        except (ValueError, LookupError, struct.error) as error:  # anybody may say something there
            _log.error("what was said on %s cannot be read: %s", channel.decode(errors="replace"), error)

    def _tell(self, channel: bytes, body: bytes) -> None:
        if channel.decode() == self._signals:
            for listener in self.listeners:
                listener.add(body)
            return
        head, handed, rest = body.partition(b"\n")
        whom, _, what = head.decode().partition(" ")
        if whom == "inbox":
            if (inbox := self.inboxes.get(what)) is not None:
                if handed:
                    inbox.take(rest)
                inbox.wake()
        elif (subscription := self.subscriptions.get(int(whom))) is not None:
            # For one that has gone nothing is to be done: what it was handed goes back with all that it held.
            for feed in subscription.feeds:
                if feed.hand(what, rest) if handed else feed.wake(what):
                    break

    def end(self) -> None:
        """Nobody is told anything any more."""
        for inbox in self.inboxes.values():
            inbox.close()
        for listener in self.listeners:
            listener.close()
        self.listeners.clear()
