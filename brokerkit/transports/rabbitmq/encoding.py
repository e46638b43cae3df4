"""A message as the payload of an AMQP HEADER frame."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Mapping
from functools import lru_cache
from struct import Struct
from typing import Any

import msgspec

from brokerkit.errors import EncodeError
from brokerkit.message import Message, Scalar
from brokerkit.transports.rabbitmq.frames import CLASS
from brokerkit.transports.rabbitmq.table import field, short

MAX_HEADER = 120 * 1024
"""Bytes of a content header. RabbitMQ's frames take 128 KiB; the rest is for what it adds when it dead-letters."""

_RESERVED = ("bk-", "x-death", "x-first-death-", "x-last-death-", "x-delivery-count", "x-acquired-count")
"""How names of headers begin that are ours or the broker's; a sender's header of such a name is not taken along.

RabbitMQ below 4.0 reads an ``x-death`` that comes back to it, and drops what seems to go in circles.
"""
_ROUTING = frozenset({"CC", "BCC"})
"""RabbitMQ closes the channel when these are not lists of routing keys: https://www.rabbitmq.com/docs/sender-selected"""

CONTENT_TYPE, ENCODING, HEADERS, MODE, PRIORITY, CORRELATION, REPLY_TO, EXPIRATION, MESSAGE_ID, TIMESTAMP, TYPE = (
    1 << bit for bit in range(15, 4, -1)
)
"""Flags of the properties, in the order in which the properties stand."""

_ALWAYS = CONTENT_TYPE | HEADERS | MODE | MESSAGE_ID
_START = Struct(">HHQH").pack
_U32, _SECONDS = Struct(">I").pack, Struct(">Q").pack
_PERSISTENT = b"\x02"

# Beginnings of headers: the name as a short string, and the type. RabbitMQ from 4.0 on sorts headers by name, and so do
# older ones when they add some; written in that order, they can be read by layout whoever has written them.
ATTEMPT, CREATED, ID = b"\x0abk-attemptl", b"\x0abk-createdl", b"\x05bk-idS"
URGENCY, PARENT, KEY, ROOT = b"\x04bk-pl", b"\x09bk-parentS", b"\x05bk-rkS", b"\x07bk-rootS"
RUN, ENTERED, EXCHANGE = b"\x06bk-runl", b"\x05bk-tsl", b"\x04bk-xS"

_head = Struct(">12sq12sq7sI").pack
"""Attempt, time of creation, length of the id."""
_undated_head = Struct(">12sq7sI").pack
_urgency, _run = Struct(">6sq").pack, Struct(">8sq").pack


class _Remembered(dict[Any, bytes]):
    """What was written before, by its value; only a cache. Programs use few names, exchanges and keys."""

    _MOST, _LONGEST = 4096, 512

    def __init__(self, write: Callable[[Any], bytes]) -> None:
        super().__init__()
        self._write = write

    def __missing__(self, value: Any) -> bytes:
        data = self._write(value)
        if len(data) <= self._LONGEST:
            if len(self) >= self._MOST:
                self.clear()
            self[value] = data
        return data


_shorts = _Remembered(lambda text: short(text, "a property"))
_keys = _Remembered(lambda key: field("bk-rk", key))
_exchanges = _Remembered(lambda exchange: field("bk-x", exchange))
_urgencies = _Remembered(lambda priority: _urgency(URGENCY, priority))
_runs = _Remembered(lambda run: _run(RUN, run))

_NONE: Mapping[str, Scalar | None] = {}


def encode(
    message: Message, message_id: str, extra: Mapping[str, Scalar | None] = _NONE, priority: int | None = None
) -> bytes:
    """The content header of a message.

    Args:
        message: The message. Of its own headers, those with names that are ours or the broker's are left out.
        message_id: The AMQP property, fresh for each attempt to publish. The message's own id travels in ``bk-id``.
        extra: Headers of the transport (``bk-starts``, ``bk-ts`` ...), other than those of the message's fields; what
            is None is left out.
        priority: AMQP priority, or None for none. The message's own travels in ``bk-p``.

    Raises:
        EncodeError: AMQP or RabbitMQ cannot carry it.
    """
    try:
        table = b"".join(_table(message, extra))
        flags, properties = _properties(message, message_id, priority)
        start = _START(CLASS, 0, len(message.body), flags)
        header = b"".join((start, _shorts[message.content_type], _U32(len(table)), table, *properties))
    except UnicodeEncodeError as error:
        raise EncodeError(f"text that is not valid Unicode cannot be sent: {error.object[:40]!r}") from error
    except (struct.error, OverflowError, ValueError) as error:
        raise EncodeError(f"a number of message {message.id} does not fit into its place: {error}") from error
    if len(header) > MAX_HEADER:
        raise EncodeError(f"the message's headers take {len(header)} bytes; AMQP takes {MAX_HEADER}")
    return header


def _table(message: Message, extra: Mapping[str, Scalar | None]) -> list[bytes]:
    identity = message.id.encode()
    if message.created:
        head = _head(ATTEMPT, message.attempt, CREATED, int(message.created * 1000 + 0.5), ID, len(identity))
    else:
        head = _undated_head(ATTEMPT, message.attempt, ID, len(identity))
    parts = [head, identity, _urgencies[message.priority]]
    if message.parent is not None:
        parts.append(_long(PARENT, message.parent))
    parts.append(_keys[message.routing_key])
    if message.root is not None:
        parts.append(_long(ROOT, message.root))
    parts.append(_runs[message.run])
    for name, value in extra.items():
        if value is not None:
            parts.append(field(name, value))
    parts.append(_exchanges[message.exchange])
    _rarer(message, parts)
    if message.headers:
        parts += _own(message.headers)
    return parts


def _long(start: bytes, text: str) -> bytes:
    data = text.encode()
    return start + _U32(len(data)) + data


def _rarer(message: Message, parts: list[bytes]) -> None:
    """The headers of fields that most messages leave at their defaults."""
    if message.postponed:
        parts.append(field("bk-post", message.postponed))
    if message.due is not None:
        # Rounded up, but for the noise of binary fractions: never early.
        parts.append(field("bk-due", math.ceil(round(message.due * 1000, 3))))
    if message.expires is not None:
        parts.append(field("bk-exp", round(message.expires * 1000)))
    if message.timeout is not None:
        parts.append(field("bk-timeout", float(message.timeout)))
    if message.retry:
        parts.append(field("bk-retry", message.retry))
    if message.metadata:
        parts.append(field("bk-meta", msgspec.json.encode(message.metadata).decode()))


def _own(headers: Mapping[str, Scalar]) -> list[bytes]:
    for name in _ROUTING & headers.keys():
        raise EncodeError(f"a header cannot be called {name}: RabbitMQ takes that for routing keys")
    return [field(name, value) for name, value in headers.items() if not reserved(name)]


@lru_cache(4096)
def reserved(name: str) -> bool:
    """Whether a header of this name is ours or the broker's, never the sender's."""
    return name.startswith(_RESERVED)


def _properties(message: Message, message_id: str, priority: int | None) -> tuple[int, list[bytes]]:
    """The flags, and the properties that come after the headers."""
    flags = _ALWAYS
    properties = [_PERSISTENT]
    if priority is not None:
        flags |= PRIORITY
        properties.append(bytes((priority,)))
    if message.correlation_id is not None:
        flags |= CORRELATION
        properties.append(short(message.correlation_id, "the correlation id"))
    if message.reply_to is not None:
        flags |= REPLY_TO
        properties.append(_shorts[message.reply_to])
    properties.append(short(message_id, "the message id"))
    if message.created:
        flags |= TIMESTAMP
        properties.append(_SECONDS(int(message.created)))
    if message.name:
        flags |= TYPE
        properties.append(_shorts[message.name])
    return flags, properties
