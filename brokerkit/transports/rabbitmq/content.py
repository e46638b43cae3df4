"""The content of a message, whose frames come together or one by one."""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct

from brokerkit.errors import TransportError
from brokerkit.transports.rabbitmq.frames import BODY, CLASS, END, HEADER, OVERHEAD
from brokerkit.transports.rabbitmq.sink import Sink

MAX_BODY = 512 * 1024 * 1024
"""Bytes; no RabbitMQ takes larger messages: https://www.rabbitmq.com/docs/configure, ``max_message_size``."""
LEAST_HEADER = 14
"""Bytes of a content header: class, weight, the body's size, flags."""

_next_header = Struct(">BBHIHHQ").unpack_from
"""The end byte of a frame, then a header frame up to the body's size."""
_next_body = Struct(">BBHI").unpack_from
_SPLIT = (0, 0, 0)
_class_and_size = Struct(">HHQ").unpack_from


class Malformed(TransportError):
    """The stream is not AMQP, or not what the broker may send now."""


class Content:
    """What is there of it.

    Args:
        finish: Called with the sink, the header and the body once all is there.
    """

    __slots__ = ("_finish", "_header", "_missing", "_parts")

    def __init__(self, finish: Callable[[Sink, bytes, bytes], None]) -> None:
        self._finish = finish
        self._header: bytes | None = None
        self._missing = 0
        self._parts: list[bytes] = []

    @property
    def begun(self) -> bool:
        """Its header has come; pieces of the body follow."""
        return self._header is not None

    @property
    def complete(self) -> bool:
        return self._header is not None and not self._missing

    def begin(self, header: bytes) -> None:
        """Take the header. Raises ``Malformed``."""
        if len(header) < LEAST_HEADER:
            raise Malformed(f"a content header of {len(header)} bytes")
        class_id, _, self._missing = _class_and_size(header)
        if class_id != CLASS or self._missing > MAX_BODY:
            raise Malformed(f"a content header of class {class_id} for a body of {self._missing} bytes")
        self._header = header

    def add(self, piece: bytes) -> None:
        """Take a piece of the body. Raises ``Malformed``."""
        if not piece or len(piece) > self._missing:
            raise Malformed(f"{len(piece)} bytes of a body, where {self._missing} are missing")
        self._missing -= len(piece)
        self._parts.append(piece)

    def finish(self, sink: Sink) -> None:
        """Hand it over."""
        if self._header is not None:
            self._finish(sink, self._header, b"".join(self._parts))


def returned(arguments: bytes) -> Content:
    """What a ``basic.return`` begins. Raises ``Malformed``."""
    if len(arguments) < 3 or len(arguments) < 3 + arguments[2]:
        raise Malformed("a return's arguments are too short")
    code = int.from_bytes(arguments[:2], "big")
    text = arguments[3 : 3 + arguments[2]].decode(errors="replace")
    return Content(lambda sink, header, body: sink.returned(code, text, header, body))


def whole(data: bytes, start: int, channel: int) -> tuple[int, int, int]:
    """The content that begins at ``start``, if it is all here in two whole frames (one if the body is empty).

    Returns:
        The end of the header's frame, the beginning of the body, the end of all; zeros when it is not all here.
    """
    total = len(data)
    if total - start < LEAST_HEADER + OVERHEAD:
        return _SPLIT
    _, kind, number, size, class_id, _, missing = _next_header(data, start - 1)
    header_end = start + size + OVERHEAD
    if kind != HEADER or number != channel or class_id != CLASS or size < LEAST_HEADER or header_end > total:
        return _SPLIT
    if not missing:
        return (header_end, header_end - 1, header_end) if data[header_end - 1] == END else _SPLIT
    if total - header_end < OVERHEAD:
        return _SPLIT
    stop, kind, number, size = _next_body(data, header_end - 1)
    after = header_end + size + OVERHEAD
    if stop != END or kind != BODY or number != channel or size != missing or after > total:
        return _SPLIT
    return (header_end, header_end + 7, after) if data[after - 1] == END else _SPLIT
