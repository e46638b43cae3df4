"""Frames that we write ourselves: a publish with its content, and what settles a delivery.

https://www.rabbitmq.com/resources/specs/amqp0-9-1.pdf, sections 2.3 and 4.2.
"""

from __future__ import annotations

from struct import Struct

from brokerkit.errors import EncodeError

METHOD, HEADER, BODY, HEARTBEAT = 1, 2, 3, 8
END = 0xCE
OVERHEAD = 8
"""Bytes of a frame besides its payload: type, channel and size before it, the end byte after it."""

_FRAME = Struct(">BHI").pack
_NEXT = Struct(">BBHI").pack
"""The end of one frame and the beginning of the next."""
_METHOD = Struct(">BHIHH").pack
_SETTLE = Struct(">BHIHHQBB").pack
_SETTLE_SIZE = 13
CLASS = 60
"""The AMQP class "basic": messages."""
_PUBLISH, _ACK, _REJECT, _NACK = 40, 80, 90, 120
_MANDATORY = b"\x01"
_END = b"\xce"

_REMEMBERED = 1024
_methods: dict[tuple[int, bytes, bytes], bytes] = {}
"""Publish methods that were written before: programs publish to few places. Only a cache."""


def publish_frames(
    channel: int, exchange: bytes, routing_key: bytes, header: bytes, body: bytes, frame_max: int
) -> bytes:
    """A whole mandatory publish: its method, header and body frames.

    Args:
        channel: The channel's number.
        exchange: The exchange's name, "" for the default exchange.
        routing_key: The key.
        header: The content header as ``envelope.encode`` makes it, for this body.
        body: Any size; over ``frame_max`` it takes several frames.
        frame_max: The largest frame in bytes, all in, as negotiated; 0 for no limit.

    Raises:
        EncodeError: A name is longer than 255 bytes, or the header does not fit into one frame.
    """
    key = (channel, exchange, routing_key)
    method = _methods.get(key) or _remember(key)
    room = frame_max - OVERHEAD
    if 0 < len(body) <= room >= len(header):
        return b"".join((
            method,
            _FRAME(HEADER, channel, len(header)), header,
            _NEXT(END, BODY, channel, len(body)), body,
            _END,
        ))  # fmt: skip
    return _any_size(channel, method, header, body, room if frame_max else max(len(header), len(body), 1))


def _any_size(channel: int, method: bytes, header: bytes, body: bytes, room: int) -> bytes:
    if len(header) > room:
        raise EncodeError(f"the headers take {len(header)} bytes, more than the {room} of one frame")
    parts = [method, _FRAME(HEADER, channel, len(header)), header, _END]
    for start in range(0, len(body), room):
        piece = body[start : start + room]
        parts += (_FRAME(BODY, channel, len(piece)), piece, _END)
    return b"".join(parts)


def _remember(key: tuple[int, bytes, bytes]) -> bytes:
    channel, exchange, routing_key = key
    for what, name in (("exchange's name", exchange), ("routing key", routing_key)):
        if len(name) > 255:
            raise EncodeError(f"the {what} has {len(name)} bytes, AMQP takes 255: {name[:40]!r}...")
    arguments = b"".join((
        b"\0\0", bytes((len(exchange),)), exchange, bytes((len(routing_key),)), routing_key, _MANDATORY,
    ))  # fmt: skip
    if len(_methods) >= _REMEMBERED:
        _methods.clear()
    method = _METHOD(METHOD, channel, 4 + len(arguments), CLASS, _PUBLISH) + arguments + _END
    _methods[key] = method
    return method


def ack_frame(channel: int, tag: int, multiple: bool) -> bytes:
    """Done: this delivery; with ``multiple`` every one up to it."""
    return _SETTLE(METHOD, channel, _SETTLE_SIZE, CLASS, _ACK, tag, multiple, END)


def reject_frame(channel: int, tag: int, requeue: bool) -> bytes:
    """Refused: back into the queue, or to its dead-letter exchange. Counts as a failed delivery."""
    return _SETTLE(METHOD, channel, _SETTLE_SIZE, CLASS, _REJECT, tag, requeue, END)


def nack_frame(channel: int, tag: int, multiple: bool, requeue: bool) -> bytes:
    """Handed back, or to the dead-letter exchange: this delivery; with ``multiple`` every one up to it."""
    return _SETTLE(METHOD, channel, _SETTLE_SIZE, CLASS, _NACK, tag, multiple | requeue << 1, END)


def requeue_frame(channel: int, tag: int, multiple: bool) -> bytes:
    """Back into the queue, as if it had never been delivered."""
    return nack_frame(channel, tag, multiple, True)


def dead_letter_frame(channel: int, tag: int, multiple: bool) -> bytes:
    """To the dead-letter exchange: a failed delivery."""
    return nack_frame(channel, tag, multiple, False) if multiple else reject_frame(channel, tag, False)
