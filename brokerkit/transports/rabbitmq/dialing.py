"""From a host to a socket that is read by our own reader and tells at once when it is gone."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import Any

from aiormq.connection import TransportFactory
from yarl import URL

from brokerkit.transports.rabbitmq.reader import DeliveryReader
from brokerkit.transports.rabbitmq.url import Host

_TLS_GOODBYE = 1.0
"""Seconds to wait for the peer's side of a TLS shutdown."""
_METHOD = 1
_CLOSE, _CLOSE_OK = b"\x00\x14\x00\x28", b"\x00\x14\x00\x29"


class Writer(asyncio.StreamWriter):
    """Tells when aiormq ends a channel: from then on, a frame of ours on that number would end the connection."""

    on_close: Callable[[int], None] = staticmethod(lambda _: None)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if data[7:11] in {_CLOSE, _CLOSE_OK} and data[0] == _METHOD:
            self.on_close(int.from_bytes(data[1:3], "big"))
        super().write(data)

    def pass_on(self, data: bytes) -> None:
        """Write what holds no close of a channel, without looking."""
        super().write(data)


class _Protocol(asyncio.StreamReaderProtocol):
    """Says so when the socket has ended, before anybody who waits for it wakes up."""

    def __init__(self, reader: asyncio.StreamReader, dialer: Dialer) -> None:
        super().__init__(reader)
        self._dialer = dialer

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._dialer.ended(exc)


class Dialer(TransportFactory):
    """Makes the one connection of a link.

    Args:
        host: Where to.
        context: How to encrypt, or None.
        heartbeat: Seconds, for the system's own detection of a dead peer.
        deadline: Loop time by which the link must be open; until ``opened`` is called the socket is cut then.
        reader: What will read it.
        on_lost: Called when the socket has ended, with the cause if there is one.
    """

    def __init__(
        self,
        host: Host,
        context: ssl.SSLContext | None,
        heartbeat: int,
        deadline: float,
        reader: DeliveryReader,
        on_lost: Callable[[Exception | None], None],
    ) -> None:
        self._host, self._context, self._heartbeat = host, context, heartbeat
        self._deadline = deadline
        self._timer: asyncio.TimerHandle | None = None
        self._on_lost = on_lost
        self._reader = reader
        self._writer: Writer | None = None
        self.cause: Exception | None = None

    async def create(self, url: URL, **kwargs: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        loop = asyncio.get_running_loop()
        protocol = _Protocol(self._reader, self)
        async with asyncio.timeout_at(self._deadline):
            transport, _ = await loop.create_connection(
                lambda: protocol, self._host.name, self._host.port, ssl=self._context, **self._tls(loop.time())
            )
        _tune(transport.get_extra_info("socket"), self._heartbeat)
        self._writer = writer = Writer(transport, protocol, self._reader, loop)
        # Cut rather than cancelled: aiormq's own clean-up waits for the peer, which may be what is missing.
        self._timer = loop.call_at(self._deadline, self._too_late)
        return self._reader, writer

    def _tls(self, now: float) -> dict[str, Any]:
        if self._context is None:
            return {}
        return {"ssl_handshake_timeout": max(self._deadline - now, 0.1), "ssl_shutdown_timeout": _TLS_GOODBYE}

    def _too_late(self) -> None:
        self.cause = TimeoutError()
        self.abort()

    def opened(self, on_close: Callable[[int], None]) -> None:
        """The link is open: the deadline no longer holds; ``on_close`` gets the channels that aiormq ends."""
        self._stop_timer()
        assert self._writer is not None
        self._writer.on_close = on_close

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def ended(self, cause: Exception | None) -> None:
        """The socket is gone."""
        self._stop_timer()
        self.cause = self.cause or cause
        self._on_lost(cause)

    def send(self, data: bytes) -> None:
        """Write whole frames; they go out in the order of the calls."""
        assert self._writer is not None
        self._writer.pass_on(data)

    async def drain(self) -> None:
        """Wait until the system takes more bytes. Raises ``OSError`` when the socket is gone."""
        assert self._writer is not None
        await self._writer.drain()

    def abort(self) -> None:
        """Cut the socket, whatever is still to be sent."""
        self._stop_timer()
        if self._writer is not None:
            self._writer.transport.abort()


def _tune(sock: Any, heartbeat: int) -> None:
    """Small frames at once; and a dead peer is noticed by the system even while nothing of ours runs."""
    options = [
        (socket.IPPROTO_TCP, "TCP_NODELAY", 1),
        (socket.SOL_SOCKET, "SO_KEEPALIVE", 1),
        (socket.IPPROTO_TCP, "TCP_KEEPIDLE", heartbeat),
        (socket.IPPROTO_TCP, "TCP_KEEPINTVL", max(1, heartbeat // 3)),
        (socket.IPPROTO_TCP, "TCP_KEEPCNT", 3),
        (socket.IPPROTO_TCP, "TCP_USER_TIMEOUT", 2 * heartbeat * 1000),
    ]
    for level, name, value in options:
        if hasattr(socket, name):  # not all of them everywhere
            sock.setsockopt(level, getattr(socket, name), value)
