"""A link that is kept up: opened within a deadline the first time, with patience ever after."""

from __future__ import annotations

import asyncio
import logging
import random
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress

from brokerkit.errors import ConfigurationError, ConnectFailed, ConnectionLost, TransportError
from brokerkit.transports.rabbitmq.errors import Refused
from brokerkit.transports.rabbitmq.link import Link
from brokerkit.transports.rabbitmq.url import Server

_log = logging.getLogger("brokerkit")

_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 5.0
"""Seconds between two attempts: drawn from 0 to a limit that doubles from the one to the other (full jitter), so that
the clients of a broker do not come back all at once."""
_STABLE = 5.0
"""Seconds that a link has to live for the pauses to begin from the shortest again."""
_SOON = 2
"""How often the limit of the pauses has doubled, at the most, after a link that lived less but did work: whoever cuts
it, the broker is there. Not at once, because the work may be what ended it."""
_SAY_AGAIN = 30.0
"""Seconds between two log lines of a broker that stays away."""


class _Ended(ConnectionLost):
    """It was closed by us."""


class Connection:
    """Keeps one link to a server.

    ``open`` it, keep ``run`` running in a task group, ``close`` it. Everything else may be called concurrently.

    Args:
        server: Whom to connect to.
        name: What it is for ("publish", "consume"), in logs and in the broker's own tools.
        jitter: Draws from 0 to 1. Default ``random.random``.

    Attributes:
        on_up: Awaited in turn after each reconnect, not for the first link. When one raises a ``TransportError``, the
            link is given up and the next one is tried.
        on_down: Called synchronously at each loss.
        on_blocked: Called synchronously when the broker takes no messages for now, with its reason, and with None when
            it does again.
    """

    def __init__(self, server: Server, name: str, *, jitter: Callable[[], float] = random.random) -> None:
        self.server, self.name = server, name
        self.on_up: list[Callable[[Link], Awaitable[None]]] = []
        self.on_down: list[Callable[[Link], None]] = []
        self.on_blocked: list[Callable[[str | None], None]] = []
        self._jitter = jitter
        self._tls: ssl.SSLContext | None = None
        self._link: Link | None = None
        self._up = asyncio.Event()
        self._why: TransportError = ConnectionLost(f"the connection to {server} is not open")
        self._generation = 0
        self._attempts = self._since = 0
        self._down_since = self._said = 0.0
        self._closed = False

    @property
    def current(self) -> Link | None:
        """The link, while there is one."""
        return self._link

    @property
    def why(self) -> TransportError:
        """Why there is no link."""
        return self._why

    async def link(self, seconds: float) -> Link:
        """The link, waited for.

        Raises:
            ConnectionLost: None came up within so many seconds.
            ConnectFailed: The same, and the broker refuses us.
        """
        try:
            async with asyncio.timeout(seconds):
                return await self.up()
        except TimeoutError:
            raise self._why from None

    async def up(self) -> Link:
        """The link, however long it takes. Raises ``ConnectionLost`` once closed."""
        while self._link is None:
            if self._closed:
                raise self._why
            await self._up.wait()
        return self._link

    async def open(self) -> None:
        """Connect for the first time. A broker that is not there yet is tried again until ``connect_timeout``.

        Raises:
            ConnectFailed: In one line.
            ConfigurationError: A file of the TLS options is no good, or the broker is too old.
        """
        loop = asyncio.get_running_loop()
        limit = self.server.options.connect_timeout
        deadline = loop.time() + limit
        self._tls = await asyncio.to_thread(self.server.tls_context)
        while True:
            try:
                self._take(await self._attempt(deadline - loop.time()))
                return
            except (Refused, ConfigurationError):
                raise
            except ConnectFailed as error:
                pause = self._pause()
                if loop.time() + pause >= deadline:
                    raise ConnectFailed(f"{error} (tried for {limit:g} s)") from error
                if self._attempts == 1:
                    _log.warning("%s; trying again for %g s", error, limit)
                await asyncio.sleep(pause)

    async def run(self) -> None:
        """Replace each link that is lost, until cancelled or closed. The first link must be open."""
        with suppress(_Ended):
            while True:
                link = await self.up()
                await link.lost.wait()
                await link.close()
                while self._link is None and not self._closed:
                    await asyncio.sleep(self._pause())
                    await self._reconnect()

    async def close(self, seconds: float = 5.0) -> None:
        """Close the link, politely for so many seconds. Idempotent."""
        self._closed = True
        self._why = _Ended(f"the connection to {self.server} was closed")
        link, self._link = self._link, None
        self._up.set()
        if link is not None:
            await link.close(seconds)

    # One link after the other

    async def _reconnect(self) -> None:
        try:
            link = await self._attempt(self.server.options.connect_timeout)
        except (ConnectFailed, ConfigurationError) as error:  # once it has worked, nothing is final
            self._failed(error if isinstance(error, ConnectFailed) else ConnectFailed(str(error)))
            return
        if self._closed:
            await link.close()
            return
        away = link.opened_at - self._down_since
        _log.warning("connected again to %s after %.1f s (%s)", self.server.at(link.host), away, self.name)
        self._take(link)
        try:
            for listener in self.on_up:
                await listener(link)
        except TransportError as error:
            if link.reason is None:
                _log.error("the new connection to %s cannot be used: %s", self.server.at(link.host), error)
                link.lose("it could not be used")
            await link.close()

    async def _attempt(self, seconds: float) -> Link:
        hosts, options = self.server.hosts, self.server.options
        host = hosts[self._attempts % len(hosts)]
        self._attempts += 1
        self._generation += 1
        return await Link.open(
            self.server,
            host,
            name=f"brokerkit {self.name}",
            timeout=min(seconds, options.connect_timeout / len(hosts)),
            tls=self._tls,
            generation=self._generation,
        )

    def _pause(self) -> float:
        rounds = (self._attempts - self._since) // len(self.server.hosts)
        return self._jitter() * min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** min(rounds, 16))

    def _take(self, link: Link) -> None:
        self._link = link
        link.on_lost.append(self._lost)
        link.on_blocked.append(self._blocked)
        self._up.set()
        if link.reason is not None:  # it was lost before anybody listened
            self._lost(link)

    def _lost(self, link: Link) -> None:
        if link is not self._link:  # closed by us
            return
        assert link.reason is not None
        self._link, self._why = None, link.reason
        self._up.clear()
        now = self._down_since = self._said = asyncio.get_running_loop().time()
        if now - link.opened_at >= _STABLE:
            self._since = self._attempts
        elif link.worked:
            self._since = max(self._since, self._attempts - _SOON * len(self.server.hosts))
        _log.warning("%s; connecting again (%s)", link.reason, self.name)
        for callback in self.on_down:
            callback(link)

    def _failed(self, error: ConnectFailed) -> None:
        now = asyncio.get_running_loop().time()
        if str(error) != str(self._why) or now - self._said >= _SAY_AGAIN:
            self._said = now
            _log.warning("%s; trying again (%s)", error, self.name)
        self._why = error

    def _blocked(self, reason: str | None) -> None:
        if reason is None:
            _log.warning("%s takes messages again (%s)", self.server, self.name)
        else:
            _log.warning("%s takes no messages for now: %s (%s)", self.server, reason, self.name)
        for callback in self.on_blocked:
            callback(reason)
