"""What RabbitMQ itself allows on this machine: frames made beforehand, over a bare blocking socket.

Nothing is decoded and nothing is executed. The handshake is the smallest one possible; heartbeats are off. Deliveries
of one queue all have one length, which makes counting them a division.
"""

from __future__ import annotations

import socket
import time
from typing import Any
from urllib.parse import unquote, urlsplit

from pamqp import base, body, commands, frame, header

from tests.bench.plain import messages
from tests.bench.workload import Place

WINDOW = 1_000
"""Publishes sent before a confirm is waited for, and deliveries acknowledged together, unless said otherwise."""
_OVERHEAD = 8
"""Bytes of a frame around its payload: type, channel, size, end."""


class Socket:
    """One connection with one channel.

    Args:
        url: The broker.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._socket = socket.create_connection((parts.hostname or "127.0.0.1", parts.port or 5672), timeout=60)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = b""
        self._socket.sendall(b"AMQP\x00\x00\x09\x01")
        self._read("Connection.Start")
        secret = f"\0{unquote(parts.username or 'guest')}\0{unquote(parts.password or 'guest')}"
        self.call(commands.Connection.StartOk(client_properties={}, response=secret), "Connection.Tune", channel=0)
        self.send(commands.Connection.TuneOk(2047, 131072, 0), channel=0)
        vhost = unquote(parts.path[1:]) or "/"
        self.call(commands.Connection.Open(vhost), "Connection.OpenOk", channel=0)
        self.call(commands.Channel.Open(), "Channel.OpenOk")

    def send(self, method: base.Frame, channel: int = 1) -> None:
        self._socket.sendall(frame.marshal(method, channel))

    def call(self, method: base.Frame, answer: str, channel: int = 1) -> None:
        """Send a method and wait for its answer."""
        self.send(method, channel)
        self._read(answer)

    def write(self, data: bytes) -> None:
        self._socket.sendall(data)

    def chunk(self) -> bytes:
        """Bytes as they come, beginning with what was read too much."""
        data, self._buffer = self._buffer, b""
        if not data:
            data = self._socket.recv(1 << 20)
        if not data:
            raise ConnectionError("the broker hung up")
        return data

    def take(self) -> bytes:
        """The next frame."""
        data = self.chunk()
        while len(data) < 7 or len(data) < (size := int.from_bytes(data[3:7], "big") + _OVERHEAD):
            data += self._socket.recv(1 << 20)
        self._buffer = data[size:]
        return data[:size]

    def _read(self, wanted: str) -> None:
        found = frame.unmarshal(self.take())[2]
        if found.name != wanted:
            raise ConnectionError(f"{found.name} instead of {wanted}: {found!r}")

    def close(self) -> None:
        self._socket.close()


def message_frames(queue: str) -> bytes:
    """The three frames of one persistent message of the usual size."""
    content = messages(1)[0].body
    properties = commands.Basic.Properties(message_id="0" * 36, message_type="noop", delivery_mode=2)
    parts = (
        commands.Basic.Publish(exchange="", routing_key=queue, mandatory=True),
        header.ContentHeader(body_size=len(content), properties=properties),
        body.ContentBody(content),
    )
    return b"".join(frame.marshal(part, 1) for part in parts)


def declare(connection: Socket, place: Place) -> None:
    """Make sure that the queue is there."""
    arguments: dict[str, Any] = {"x-queue-type": place.queue_type}
    connection.call(commands.Queue.Declare(queue=place.name, durable=True, arguments=arguments), "Queue.DeclareOk")


def fill(url: str, count: int) -> None:
    """Put messages into the queue, confirmed."""
    connection = Socket(url)
    declare(connection, Place.at(url))
    connection.call(commands.Confirm.Select(), "Confirm.SelectOk")
    _publish(connection, Place.at(url).name, count, WINDOW)
    connection.close()


def _publish(connection: Socket, queue: str, count: int, window: int) -> None:
    one, sent, confirmed = message_frames(queue), 0, 0
    while sent < count:
        batch = min(window, count - sent)
        connection.write(one * batch)
        sent += batch
        while confirmed < sent:
            taken = frame.unmarshal(connection.take())[2]
            if not isinstance(taken, commands.Basic.Ack):
                raise ConnectionError(f"{taken} instead of a confirm")
            confirmed = taken.delivery_tag if taken.multiple else confirmed + 1


async def publish(url: str, count: int, batch: int) -> dict[str, Any]:
    """Confirmed messages, each batch before the next."""
    connection = Socket(url)
    declare(connection, Place.at(url))
    connection.call(commands.Confirm.Select(), "Confirm.SelectOk")
    started = time.perf_counter()
    _publish(connection, Place.at(url).name, count, batch)
    seconds = time.perf_counter() - started
    connection.close()
    return {"seconds": seconds}


async def drain(url: str, count: int) -> dict[str, Any]:
    """Deliveries counted and acknowledged, as many together as one read brings."""
    queue = Place.at(url).name
    fill(url, count)
    connection = Socket(url)
    connection.call(commands.Basic.Qos(0, WINDOW, False), "Basic.QosOk")
    started = time.perf_counter()
    connection.call(commands.Basic.Consume(queue=queue, consumer_tag="c"), "Basic.ConsumeOk")
    size, received, acknowledged = _delivery_size(queue), 0, 0
    while acknowledged < count:
        received += len(connection.chunk())
        if received // size > acknowledged:
            acknowledged = received // size
            connection.send(commands.Basic.Ack(acknowledged, multiple=True))
    connection.call(commands.Channel.Close(200, "done", 0, 0), "Channel.CloseOk")  # so the acks have been taken
    seconds = time.perf_counter() - started
    connection.close()
    return {"seconds": seconds}


def _delivery_size(queue: str) -> int:
    deliver = commands.Basic.Deliver(consumer_tag="c", delivery_tag=1, exchange="", routing_key=queue)
    sent = commands.Basic.Publish(exchange="", routing_key=queue, mandatory=True)
    return len(frame.marshal(deliver, 1)) + len(message_frames(queue)) - len(frame.marshal(sent, 1))
