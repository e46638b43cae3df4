"""The properties in an AMQP content header, whoever wrote them."""

from __future__ import annotations

import struct
from functools import lru_cache
from struct import Struct

import msgspec

from brokerkit.transports.rabbitmq.encoding import CONTENT_TYPE, HEADERS, MODE, PRIORITY, TIMESTAMP, TYPE
from brokerkit.transports.rabbitmq.frames import CLASS
from brokerkit.transports.rabbitmq.table import Unreadable

_START = Struct(">HHQH").unpack_from
_START_SIZE = 14
_U32, _SECONDS = Struct(">I").unpack_from, Struct(">Q").unpack_from
_KNOWN = -TYPE & 0xFFFF | TYPE >> 1 | TYPE >> 2 | TYPE >> 3
"""The flags of AMQP's fourteen properties; the lowest says that more flags follow, which nobody has ever used."""
_TEXTS = {
    CONTENT_TYPE: "content_type",
    0x0400: "correlation_id",
    0x0200: "reply_to",
    0x0080: "message_id",
    TYPE: "type",
}


class Properties(msgspec.Struct, gc=False):
    """What a content header says; None for what it does not.

    Args:
        start: Where the headers begin, after their length.
        end: Where they end.
        timestamp: Seconds since the epoch; some senders write milliseconds.
    """

    flags: int
    start: int = 0
    end: int = 0
    content_type: str | None = None
    priority: int | None = None
    correlation_id: str | None = None
    reply_to: str | None = None
    message_id: str | None = None
    timestamp: int | None = None
    type: str | None = None


def parse(header: bytes) -> Properties:
    """Read a content header, but for the fields of its table.

    Raises:
        Unreadable: It is damaged.
    """
    try:
        number, _, _, flags = _START(header)
        if number != CLASS or flags & ~_KNOWN:
            raise Unreadable("not a content header of class basic")
        found = Properties(flags)
        at = _START_SIZE
        for flag in _set(flags):
            at = _property(header, at, flag, found)
    except (IndexError, struct.error) as error:
        raise Unreadable("the content header ends too early") from error
    if at != len(header):
        raise Unreadable("the content header has not the length that it says")
    return found


@lru_cache(1024)
def _set(flags: int) -> tuple[int, ...]:
    """The flags one by one, in the order of the properties."""
    return tuple(1 << bit for bit in range(15, 1, -1) if flags & 1 << bit)


def _property(header: bytes, at: int, flag: int, found: Properties) -> int:
    """Read one; returns where the next begins."""
    if flag == HEADERS:
        found.start = at + 4
        found.end = found.start + _U32(header, at)[0]
        return found.end
    if flag == MODE:
        return at + 1
    if flag == PRIORITY:
        found.priority = header[at]
        return at + 1
    if flag == TIMESTAMP:
        found.timestamp = _SECONDS(header, at)[0]
        return at + 8
    end = at + 1 + header[at]
    name = _TEXTS.get(flag)
    if name is not None:
        setattr(found, name, header[at + 1 : end].decode(errors="replace"))
    return end


def message_id_of(header: bytes | memoryview) -> str | None:
    """The AMQP message id in a content header, or None: by it a returned message is known again."""
    try:
        return parse(bytes(header)).message_id
    except Unreadable:
        return None
