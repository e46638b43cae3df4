"""AMQP field tables, which hold a message's headers, as RabbitMQ writes and reads them.

https://www.rabbitmq.com/amqp-0-9-1-errata#section_3
"""

from __future__ import annotations

import math
import struct
from struct import Struct
from typing import Any

from brokerkit.errors import EncodeError
from brokerkit.message import Scalar

MOST_NESTED = 8
"""Levels of arrays and tables that are read; RabbitMQ's own headers have two."""

_U32 = Struct(">I")
_Q, _D = Struct(">q").pack, Struct(">d").pack
_FALSE, _TRUE = b"\0", b"\1"
_KINDS = {str: b"S", int: b"l", float: b"d", bool: b"t"}
_STRING, _ARRAY, _TABLE, _BYTES = b"SAFx"
_NUMBERS = {
    ord(kind): Struct(layout)
    for kind, layout in {
        "t": ">?", "b": ">b", "B": ">B", "s": ">h", "u": ">H", "I": ">i", "i": ">I", "l": ">q", "L": ">q",
        "f": ">f", "d": ">d", "T": ">Q",
    }.items()
}  # fmt: skip
_OTHER_SIZES = {ord("D"): 5, ord("V"): 0, 0: 0}

_REMEMBERED = 4096
_written: dict[type, dict[str, bytes]] = {kind: {} for kind in _KINDS}
"""Names as they were written before, by the type of the value. Only a cache."""
_read: dict[bytes, str] = {}
"""Names that were read before, by their short strings. Only a cache."""


class Unreadable(ValueError):
    """Bytes that are not what they should be."""


def field(name: str, value: Scalar) -> bytes:
    """One header: its name, type and value.

    Raises:
        EncodeError: The name is longer than 255 bytes, or the value has no representation in AMQP.
    """
    names = _written.get(type(value))
    if names is None:
        return _subclassed(name, value)
    start = names.get(name) or _remember(names, name, type(value))
    if type(value) is str:
        text = value.encode()
        return start + _U32.pack(len(text)) + text
    if type(value) is int:
        if not -(1 << 63) <= value < 1 << 63:
            raise EncodeError(f"the header {name} is an integer of more than 64 bits")
        return start + _Q(value)
    if not isinstance(value, float):
        return start + (_TRUE if value else _FALSE)
    if not math.isfinite(value):
        raise EncodeError(f"the header {name} is {value}: RabbitMQ closes the connection over what is no finite number")
    return start + _D(value)


def _subclassed(name: str, value: Scalar) -> bytes:
    for kind in (str, int, float):
        if isinstance(value, kind):
            return field(name, kind(value))
    raise EncodeError(f"the header {name} is of type {type(value).__name__}; headers take str, int, float and bool")


def _remember(names: dict[str, bytes], name: str, kind: type) -> bytes:
    start = short(name, "a header's name") + _KINDS[kind]
    if len(names) >= _REMEMBERED:
        names.clear()
    names[name] = start
    return start


def short(text: str, what: str) -> bytes:
    """A short string, with its length before it. Raises ``EncodeError`` beyond 255 bytes."""
    data = text.encode()
    if len(data) > 255:
        raise EncodeError(f"{what} has {len(data)} bytes, AMQP takes 255: {text[:40]!r}...")
    return bytes((len(data),)) + data


def read(data: bytes, start: int, end: int) -> tuple[dict[str, Scalar], dict[str, bytes]]:
    """The fields between two positions: scalars, and all others (lists, tables, no value ...) as type and raw value.

    A time becomes an integer, seconds. Text that is not UTF-8 is among the others.

    Raises:
        Unreadable: They are damaged.
    """
    scalars: dict[str, Scalar] = {}
    others: dict[str, bytes] = {}
    value: Scalar | None
    try:
        while start < end:
            at = start + 1 + data[start]
            name = _read.get(data[start:at]) or _name(data[start:at])
            if data[at] == _STRING:
                start = at + 5 + _U32.unpack_from(data, at + 1)[0]
                value = _text(data, at + 5, start)
            else:
                start, value = _value(data, at)
            if value is None:
                others[name] = data[at:start]
            else:
                scalars[name] = value
    except (IndexError, struct.error) as error:
        raise Unreadable("a field ends too early") from error
    if start != end:
        raise Unreadable("a field is longer than its table")
    return scalars, others


def _name(raw: bytes) -> str:
    name = raw[1:].decode(errors="replace")
    if len(_read) >= _REMEMBERED:
        _read.clear()
    _read[raw] = name
    return name


def _value(data: bytes, at: int) -> tuple[int, Scalar | None]:
    """The position after a value, and the value if it is a scalar."""
    kind = data[at]
    number = _NUMBERS.get(kind)
    if number is not None:
        return at + 1 + number.size, number.unpack_from(data, at + 1)[0]
    size = _OTHER_SIZES.get(kind)
    if size is not None:
        return at + 1 + size, None
    if kind not in b"SAFx":
        raise Unreadable(f"a field of unknown type {kind:#x}")
    begin = at + 5
    end = begin + _U32.unpack_from(data, at + 1)[0]
    return end, _text(data, begin, end) if kind == _STRING else None


def _text(data: bytes, begin: int, end: int) -> str | None:
    try:
        return data[begin:end].decode()
    except UnicodeDecodeError:
        return None


def nested(raw: bytes, depth: int = MOST_NESTED) -> Any:
    """A value that ``read`` has left as it was: a list, a dict, or None for anything but arrays and tables of scalars.

    Raises:
        Unreadable: It is damaged, or nested too deeply.
    """
    if not depth:
        raise Unreadable("nested too deeply")
    if raw[:1] == b"F":
        scalars, others = read(raw, 5, len(raw))
        return scalars | {name: nested(value, depth - 1) for name, value in others.items()}
    if raw[:1] != b"A":
        return None
    items: list[Any] = []
    at = 5
    while at < len(raw):
        try:
            end, value = _value(raw, at)
        except (IndexError, struct.error) as error:
            raise Unreadable("an array ends too early") from error
        items.append(nested(raw[at:end], depth - 1) if value is None else value)
        at = end
    return items
