"""The methods of classes connection and channel that a link has to know of before aiormq acts on them.

https://www.rabbitmq.com/amqp-0-9-1-reference
"""

from __future__ import annotations

from brokerkit.transports.rabbitmq.errors import Closed

CONNECTION_CLOSE = b"\x00\x0a\x00\x32"
CONNECTION_BLOCKED = b"\x00\x0a\x00\x3c"
CONNECTION_UNBLOCKED = b"\x00\x0a\x00\x3d"
CHANNEL_CLOSE = b"\x00\x14\x00\x28"
CHANNEL_CLOSE_OK = b"\x00\x14\x00\x29"
"""Class and method ids, as the payload of a method frame begins."""


def closed_of(payload: bytes) -> Closed:
    """What a ``close`` says: a code and a text."""
    return Closed(int.from_bytes(payload[4:6], "big"), text_at(payload, 6))


def text_at(payload: bytes, start: int) -> str:
    """The short string that begins there."""
    return payload[start + 1 : start + 1 + payload[start]].decode("utf-8", "replace")
