"""AMQP streams as pamqp writes them, and a reader to feed with them."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterable
from typing import Any

import pamqp.frame
from pamqp import commands
from pamqp.body import ContentBody
from pamqp.common import FieldTable
from pamqp.header import ContentHeader
from pamqp.heartbeat import Heartbeat

from brokerkit.transports.rabbitmq.reader import DeliveryReader

HEARTBEAT = Heartbeat().marshal()
Event = tuple[Any, ...]


class Recorder:
    """A sink that writes down what it is told."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.feeds = 0

    def delivered(
        self, tag: int, redelivered: bool, exchange: bytes, routing_key: bytes, header: bytes, body: bytes
    ) -> None:
        self.events.append(("delivered", tag, redelivered, exchange, routing_key, header, body))

    def confirmed(self, tag: int, multiple: bool, ok: bool) -> None:
        self.events.append(("confirmed", tag, multiple, ok))

    def returned(self, reply_code: int, reply_text: str, header: bytes, body: bytes) -> None:
        self.events.append(("returned", reply_code, reply_text, header, body))

    def cancelled(self, consumer_tag: str) -> None:
        self.events.append(("cancelled", consumer_tag))

    def fed(self) -> None:
        self.feeds += 1


class Bench:
    """A reader, with a recorder for each of some channels, and what is left for aiormq."""

    def __init__(self, *channels: int) -> None:
        self.errors: list[Exception] = []
        self.controls: list[tuple[int, bytes]] = []
        self.time = 100.0
        self.reader = DeliveryReader(
            on_error=self.errors.append, on_control=lambda channel, payload: self.controls.append((channel, payload))
        )
        self.reader._now = lambda: self.time
        self.reader._beat_after = self.time + 1
        self.sinks = {channel: Recorder() for channel in channels}
        self.reader.sinks.update(self.sinks)

    def feed(self, pieces: Iterable[bytes]) -> None:
        for piece in pieces:
            self.reader.feed_data(piece)

    def passed(self) -> bytes:
        """What was passed on so far."""
        data = bytes(self.reader._buffer)  # type: ignore[attr-defined]
        self.reader._buffer.clear()  # type: ignore[attr-defined]
        return data


def bench(*channels: int) -> Bench:
    """For tests without an event loop of their own, which hypothesis has no place for."""

    async def make() -> Bench:
        return Bench(*channels)

    return asyncio.run(make())


def content(channel: int, body: bytes, frame_max: int, header: bytes | None = None) -> bytes:
    header = ContentHeader(body_size=len(body)).marshal() if header is None else header
    frames = [b"\x02" + channel.to_bytes(2, "big") + len(header).to_bytes(4, "big") + header + b"\xce"]
    size = frame_max - 8
    pieces = (ContentBody(body[start : start + size]) for start in range(0, len(body), size))
    return b"".join([*frames, *(pamqp.frame.marshal(piece, channel) for piece in pieces)])


def delivery(
    channel: int, tag: int, body: bytes = b"body", *, frame_max: int = 4096, redelivered: bool = False,
    exchange: str = "shop", key: str = "orders", headers: FieldTable | None = None,
) -> tuple[bytes, Event]:  # fmt: skip
    """The bytes of a delivery, and what the sink is to be told."""
    header = ContentHeader(
        body_size=len(body), properties=commands.Basic.Properties(message_id=str(tag), headers=headers)
    ).marshal()
    method = pamqp.frame.marshal(commands.Basic.Deliver("ctag", tag, redelivered, exchange, key), channel)
    event = ("delivered", tag, redelivered, exchange.encode(), key.encode(), header, body)
    return method + content(channel, body, frame_max, header), event


def returned(channel: int, code: int, text: str, body: bytes, frame_max: int = 4096) -> tuple[bytes, Event]:
    header = ContentHeader(body_size=len(body)).marshal()
    method = pamqp.frame.marshal(commands.Basic.Return(code, text, "shop", "nowhere"), channel)
    return method + content(channel, body, frame_max, header), ("returned", code, text, header, body)


def method(frame: Any, channel: int) -> bytes:
    return pamqp.frame.marshal(frame, channel)


def sample() -> tuple[bytes, list[Event], bytes]:
    """One of everything: a stream, what channel 1 is told of it, and what is passed on."""
    taken = [
        delivery(1, 1, b"body"),
        delivery(1, 2, b"", redelivered=True, exchange="", key=""),
        delivery(1, 3, b"\xce" * 70, frame_max=32),
        returned(1, 312, "NO_ROUTE", b"unroutable"),
        returned(1, 312, "", b""),
        (method(commands.Basic.Ack(7, True), 1), ("confirmed", 7, True, True)),
        (method(commands.Basic.Nack(8, False, True), 1), ("confirmed", 8, False, False)),
        (method(commands.Basic.Cancel("ctag", True), 1), ("cancelled", "ctag")),
        delivery(1, 2**62, b"x", key="k" * 255, headers={"a": {"b": [1, "c"]}}),
    ]
    passing = [
        HEARTBEAT,
        method(commands.Queue.DeclareOk("q", 5, 1), 1),
        delivery(2, 1, b"of another channel")[0],
        method(commands.Basic.ConsumeOk("ctag"), 1),
        method(commands.Basic.Ack(7, True), 3),
        method(commands.Basic.GetOk(1, False, "shop", "k", 0), 1) + content(1, b"got", 4096),
        method(commands.Channel.Close(404, "NOT_FOUND", 0, 0), 4),
        HEARTBEAT,
    ]
    pairs = itertools.zip_longest((part for part, _ in taken), passing, fillvalue=b"")
    stream = b"".join(itertools.chain.from_iterable(pairs))
    return stream, [event for _, event in taken], b"".join(passing)


def split(data: bytes) -> list[bytes]:
    frames: list[bytes] = []
    while data:
        size, _, _ = pamqp.frame.unmarshal(data)
        frames.append(data[:size])
        data = data[size:]
    return frames
