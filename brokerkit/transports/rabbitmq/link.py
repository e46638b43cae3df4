"""One AMQP connection, from open to loss. It never reconnects; see ``connection.py``."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Self

from aiormq.connection import Connection
from aiormq.exceptions import AMQPConnectionError
from pamqp.common import FieldTable
from yarl import URL

from brokerkit.errors import ConnectionLost, TransportError
from brokerkit.transports.rabbitmq import control
from brokerkit.transports.rabbitmq.cancelling import true_cancellations
from brokerkit.transports.rabbitmq.channel import ANSWER_WITHIN, ChannelLost, LinkChannel, Rpc
from brokerkit.transports.rabbitmq.dialing import Dialer
from brokerkit.transports.rabbitmq.errors import Closed, while_connecting, while_running
from brokerkit.transports.rabbitmq.quiet import quiet
from brokerkit.transports.rabbitmq.reader import DeliveryReader, Sink
from brokerkit.transports.rabbitmq.url import Host, Server
from brokerkit.transports.rabbitmq.versions import parse_version

_LAST_STEPS = 1.0
"""Seconds that aiormq's tasks get once their socket is cut."""
_SECOND_LOOK = 1.0
"""Seconds between finding the broker silent and believing it: our own loop may have stood still meanwhile."""


class _Nobody:
    """Gets what arrives for a channel that is being closed."""

    def delivered(
        self, tag: int, redelivered: bool, exchange: bytes, routing_key: bytes, header: bytes, body: bytes
    ) -> None: ...
    def confirmed(self, tag: int, multiple: bool, ok: bool) -> None: ...
    def returned(self, reply_code: int, reply_text: str, header: bytes, body: bytes) -> None: ...
    def cancelled(self, consumer_tag: str) -> None: ...
    def fed(self) -> None: ...


_NOBODY = _Nobody()


class Link:
    """A connection. Made by ``Link.open``; used from one event loop.

    Attributes:
        server: Whom it leads to, and ``host`` which node.
        generation: Counts the links of one ``Connection``: what one delivered cannot be settled on another.
        version: The broker's, (major, minor).
        server_properties: What the broker says of itself.
        frame_max: The largest frame, in bytes.
        lost: Set when it is gone, for whatever reason.
        reason: Why it is gone; None while it lives.
        closed: What the broker said when it closed it, if it did.
        opened_at: Loop time.
        blocked: Why the broker takes no messages for now; None while it does.
        on_lost: Called synchronously, once, at the loss.
        on_blocked: Called synchronously with each change of ``blocked``.
    """

    version: tuple[int, int]
    server_properties: dict[str, Any]
    frame_max: int
    opened_at: float

    def __init__(
        self, server: Server, host: Host, *, generation: int, deadline: float, tls: ssl.SSLContext | None
    ) -> None:
        self.server, self.host, self.generation = server, host, generation
        self.lost = asyncio.Event()
        self.reason: ConnectionLost | None = None
        self.closed: Closed | None = None
        self.blocked: str | None = None
        self.on_lost: list[Callable[[Link], None]] = []
        self.on_blocked: list[Callable[[str | None], None]] = []
        self._channels: dict[int, LinkChannel] = {}
        self._loop = asyncio.get_running_loop()
        self._watch: asyncio.TimerHandle | None = None
        self._reader = DeliveryReader(on_error=self._malformed, on_control=self._control)
        self._dialer = Dialer(host, tls, server.options.heartbeat, deadline, self._reader, self._ended)
        self._amqp: Connection

    @classmethod
    async def open(
        cls,
        server: Server,
        host: Host,
        *,
        name: str,
        timeout: float,
        tls: ssl.SSLContext | None = None,
        generation: int = 0,
    ) -> Self:
        """Connect and log in.

        Args:
            server: How to log in.
            host: To which of its nodes.
            name: What the broker's own tools show of us.
            timeout: Seconds for all of it.
            tls: How to encrypt; see ``tls.py``.
            generation: See above.

        Raises:
            Refused: Trying again does not help (a ``ConnectFailed``).
            ConnectFailed: It may help.
            ConfigurationError: The broker is too old.
        """
        deadline = asyncio.get_running_loop().time() + timeout
        link = cls(server, host, generation=generation, deadline=deadline, tls=tls)
        try:
            await link._connect(name)
        except BaseException as error:
            await link._undo()
            if not isinstance(error, Exception):
                raise
            raise while_connecting(server, host, link._dialer.cause or error, link.closed) from error
        return link

    async def _connect(self, name: str) -> None:
        server, host = self.server, self.host
        address = URL.build(
            scheme="amqp", user=server.user, password=server.password, host=host.name, port=host.port, path="/",
            query={"heartbeat": str(server.options.heartbeat)},
        )  # fmt: skip
        properties: FieldTable = {
            "product": "brokerkit",
            "connection_name": f"{name} {socket.gethostname()}:{os.getpid()}",
        }
        with quiet():
            self._amqp = Connection(address, transport_factory=self._dialer, client_properties=properties)
            self._amqp.vhost = server.vhost
            with true_cancellations():
                await self._amqp.connect()
        self._dialer.opened(self._given_up)
        self.server_properties = dict(self._amqp.server_properties)
        self.frame_max = self._amqp.connection_tune.frame_max or 131072
        self.opened_at = self._loop.time()
        self.version = parse_version(str(self.server_properties.get("version", "")))
        self._look_after(server.options.heartbeat)

    async def _undo(self) -> None:
        self._dialer.abort()
        if hasattr(self, "opened_at"):
            await self.close()

    @property
    def worked(self) -> bool:
        """A message, confirm or return has come over it."""
        return self._reader.worked

    # Sending

    def write(self, data: bytes) -> None:
        """Send whole frames, nothing else between them; nothing happens once the link is lost.

        For frames of a channel use ``LinkChannel.write``.
        """
        if self.reason is None:
            self._dialer.send(data)

    async def drain(self) -> None:
        """Wait until the system takes more bytes. Raises ``ConnectionLost``."""
        try:
            await self._dialer.drain()
        except OSError as error:
            raise self.reason or while_running(error) from error
        if self.reason is not None:
            raise self.reason

    # Channels

    async def channel(
        self, sink: Sink | None = None, *, confirms: bool = False, timeout: float = ANSWER_WITHIN
    ) -> LinkChannel:
        """Open a channel.

        Args:
            sink: Gets what the broker sends of messages; None for a channel that only asks questions.
            confirms: The broker confirms what is published on it.
            timeout: Seconds.

        Raises:
            ConnectionLost: The link is or goes down.
            TransportError: The broker does not open one, or not in time.
        """
        if self.reason is not None:
            raise self.reason
        number = self._free_number()
        with quiet():
            rpc = Rpc(self._amqp, number, publisher_confirms=False)
            self._amqp.channels[number] = rpc
            channel = self._channels[number] = LinkChannel(self, rpc)
            if sink is not None:
                self._reader.sinks[number] = sink
            try:
                await rpc.open(timeout=timeout)
                if confirms:
                    await channel.confirms(timeout)
            except BaseException as error:
                channel.ended(self.reason)
                if number not in self._amqp.channels:  # it never got as far as the broker
                    self._channel_closed(number, None)
                if not isinstance(error, Exception):
                    raise
                raise channel.error or while_running(error) from error
        return channel

    def _free_number(self) -> int:
        """The smallest: aiormq takes the largest plus one, and so leaves the broker's range after many reopenings."""
        most = self._amqp.connection_tune.channel_max or 65535
        taken = self._amqp.channels
        for number in range(1, most + 1):
            if number not in taken and number not in self._channels:
                return number
        raise TransportError(f"all {most} channels of the connection are open")

    def mute(self, number: int) -> None:
        """What still arrives for this channel belongs to nobody."""
        if number in self._reader.sinks:
            self._reader.sinks[number] = _NOBODY

    def _given_up(self, number: int) -> None:
        channel = self._channels.get(number)
        if channel is not None:
            channel.ended(TransportError("the channel was given up: the broker did not answer in time"))

    # What the broker says of the connection itself

    def _control(self, number: int, payload: bytes) -> None:
        method = payload[:4]
        if method == control.CHANNEL_CLOSE:
            self._channel_closed(number, ChannelLost(control.closed_of(payload)))
        elif method == control.CHANNEL_CLOSE_OK:
            self._channel_closed(number, None)
        elif method == control.CONNECTION_BLOCKED:
            self._set_blocked(control.text_at(payload, 4) or "no reason given")
        elif method == control.CONNECTION_UNBLOCKED:
            self._set_blocked(None)
        elif method == control.CONNECTION_CLOSE:
            self.closed = control.closed_of(payload)
            self._lose(f"the broker closed it: {self.closed}")

    def _channel_closed(self, number: int, error: ChannelLost | None) -> None:
        self._reader.sinks.pop(number, None)
        channel = self._channels.pop(number, None)
        if channel is not None:
            channel.ended(error)

    def _set_blocked(self, reason: str | None) -> None:
        self.blocked = reason
        for callback in self.on_blocked:
            callback(reason)

    # Its end

    def lose(self, reason: str) -> None:
        """Give it up: cut the socket, whatever is still to be sent."""
        self._lose(reason)
        self._dialer.abort()

    async def close(self, timeout: float = 5.0) -> None:
        """Say goodbye, or cut when that takes longer than ``timeout`` seconds. Idempotent; leaves nothing running."""
        self._lose("it was closed")
        try:
            with quiet(), suppress(TimeoutError, ConnectionLost), true_cancellations():
                await self._amqp.close(AMQPConnectionError("closed"), timeout=timeout)
        finally:
            self._dialer.abort()
        await asyncio.wait([self._amqp.closing], timeout=_LAST_STEPS)

    def _malformed(self, error: Exception) -> None:
        self.lose(f"what it sends is not AMQP: {error}")

    def _ended(self, cause: Exception | None) -> None:
        self._lose(str(cause) if cause else "the broker or something in between cut it")

    def _lose(self, reason: str) -> None:
        if self.reason is not None:
            return
        self.reason = ConnectionLost(f"the connection to {self.server.at(self.host)} was lost: {reason}")
        self.lost.set()
        if self._watch is not None:
            self._watch.cancel()
        channels, self._channels = self._channels, {}
        for channel in channels.values():
            channel.ended(self.reason)
        for callback in self.on_lost:
            callback(self)

    def _look_after(self, heartbeat: int) -> None:
        """Believe the link dead when the broker has been silent for two heartbeats."""
        patience = 2.0 * heartbeat

        def look(suspected: bool) -> None:
            silent = self._loop.time() - self._reader.last_heard
            if silent < patience:
                self._watch = self._loop.call_later(patience - silent, look, False)
            elif not suspected:
                self._watch = self._loop.call_later(min(_SECOND_LOOK, heartbeat / 4), look, True)
            else:
                self.lose(f"nothing was heard for {silent:.0f} s")

        look(False)
