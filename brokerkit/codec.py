"""Values to bytes and back: MessagePack and JSON by content type, checked before they are decoded. No pickle."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import msgspec
import msgspec.inspect

from brokerkit.errors import DecodeError, EncodeError
from brokerkit.message import JSON, MSGPACK

T = TypeVar("T")


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What is refused before it is decoded, and before it is sent.

    Args:
        body: Largest body in bytes; default 1 MiB.
        headers: Largest sum of header names and values in bytes; default 16 KiB.
        nesting: Deepest nesting of lists and maps; default 64.
    """

    body: int = 1 << 20
    headers: int = 16 << 10
    nesting: int = 64


def _encode_hook(value: Any) -> Any:
    dump = getattr(value, "model_dump", None)  # a pydantic model; pydantic itself is never imported here
    if dump is not None:
        return dump(mode="json")
    raise NotImplementedError(f"{type(value).__module__}.{type(value).__qualname__} has no representation on the wire")


def _decode_hook(wanted: type[Any], value: Any) -> Any:
    validate = getattr(wanted, "model_validate", None)
    if validate is not None:
        return validate(value)
    raise NotImplementedError(f"{wanted!r} cannot be read from the wire")


def _refuse_opaque(wanted: Any) -> None:
    """Raise ``TypeError`` for a type that contains a class nothing on the wire can become."""
    seen: set[int] = set()
    waiting: list[Any] = [msgspec.inspect.type_info(wanted)]
    while waiting:
        part = waiting.pop()
        if isinstance(part, tuple | list):
            waiting.extend(part)
        elif isinstance(part, msgspec.Struct) and id(part) not in seen:
            seen.add(id(part))
            if isinstance(part, msgspec.inspect.CustomType) and not hasattr(part.cls, "model_validate"):
                name = f"{part.cls.__module__}.{part.cls.__qualname__}"
                raise TypeError(
                    f"{name} cannot be read from the wire; use a msgspec struct, a dataclass or a plain type"
                )
            waiting.extend(getattr(part, field) for field in part.__struct_fields__)


_encoders: dict[str, Callable[[Any], bytes]] = {
    MSGPACK: msgspec.msgpack.Encoder(enc_hook=_encode_hook).encode,
    JSON: msgspec.json.Encoder(enc_hook=_encode_hook).encode,
}


def encode(value: Any, content_type: str = MSGPACK) -> bytes:
    """Encode a value.

    Raises:
        EncodeError: It has no representation, is nested too deeply, or the content type is unknown.
    """
    try:
        encoder = _encoders[content_type]
    except KeyError:
        raise EncodeError(f"content type {content_type!r} is unknown; use {MSGPACK} or {JSON}") from None
    try:
        return encoder(value)
    except (TypeError, ValueError, OverflowError, RecursionError, NotImplementedError, msgspec.MsgspecError) as error:
        raise EncodeError(f"cannot encode {type(value).__qualname__} as {content_type}: {error}") from error


class Decoder(Generic[T]):
    """Reads bodies into one type; made once, at registration.

    Args:
        wanted: The annotation to decode into; ``Any`` gives plain values.
        limits: What is refused.

    Raises:
        TypeError: The annotation cannot be decoded into.
    """

    def __init__(self, wanted: Any, limits: Limits) -> None:
        self._limits = limits
        wanted = Any if wanted is object else wanted
        _refuse_opaque(wanted)
        self._by_type: dict[str, tuple[Callable[[bytes], T], Callable[[bytes, int], bool]]] = {
            MSGPACK: (msgspec.msgpack.Decoder(wanted, dec_hook=_decode_hook).decode, _msgpack_too_deep),
            JSON: (msgspec.json.Decoder(wanted, dec_hook=_decode_hook).decode, _json_too_deep),
        }

    def decode(self, body: bytes, content_type: str = MSGPACK) -> T:
        """Decode a body.

        Raises:
            DecodeError: The content type is unknown, the body is too large, too deep or malformed, or it does
                not fit the annotation.
        """
        found = self._by_type.get(content_type) or self._by_type.get(content_type.partition(";")[0].strip().lower())
        if found is None:
            raise DecodeError(f"content type {content_type[:100]!r} is not accepted; {MSGPACK} and {JSON} are")
        decode, too_deep = found
        size = len(body)
        if size > self._limits.body:
            raise DecodeError(f"body of {size} bytes is over the limit of {self._limits.body}")
        # A body cannot be nested deeper than it is long, so most are not scanned at all.
        if size > self._limits.nesting and too_deep(body, self._limits.nesting):
            raise DecodeError(f"body is nested deeper than {self._limits.nesting} levels")
        try:
            return decode(body)
        except DecodeError:
            raise
        except Exception as error:
            # Whatever a user's type raises while it is built (a pydantic error, a ValueError of __post_init__)
            # says that the body does not fit.
            raise DecodeError(f"body does not fit: {error}") from error


def check_nesting(body: bytes, content_type: str, limits: Limits) -> None:
    """Raise ``EncodeError`` for a body the receiver would refuse as too deep."""
    too_deep = _json_too_deep if content_type == JSON else _msgpack_too_deep
    if len(body) > limits.nesting and too_deep(body, limits.nesting):
        raise EncodeError(f"value is nested deeper than {limits.nesting} levels")


_JSON_STRING = re.compile(rb'"(?:[^"\\]|\\.)*+"?', re.DOTALL)
_NOT_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")


def _json_too_deep(body: bytes, limit: int) -> bool:
    if body.count(b"[") + body.count(b"{") <= limit:
        return False
    depth = 0
    for byte in _JSON_STRING.sub(b"", body).translate(None, _NOT_BRACKETS):
        if byte in (0x5B, 0x7B):
            depth += 1
            if depth > limit:
                return True
        else:
            depth -= 1
    return False


_CONTAINERS = bytes([*range(0x80, 0xA0), 0xDC, 0xDD, 0xDE, 0xDF])
_NOT_CONTAINERS = bytes(byte for byte in range(256) if byte not in _CONTAINERS)


def _scalar_sizes() -> list[int]:
    """By first byte: how many bytes a scalar of fixed size takes; 0 for everything else (MessagePack specification)."""
    sizes = [0] * 256
    for byte in [*range(0x80), *range(0xE0, 0x100), 0xC0, 0xC2, 0xC3]:
        sizes[byte] = 1
    for byte in range(0xA0, 0xC0):
        sizes[byte] = 1 + (byte & 0x1F)
    numbers = {0xCA: 5, 0xCB: 9, 0xCC: 2, 0xCD: 3, 0xCE: 5, 0xCF: 9, 0xD0: 2, 0xD1: 3, 0xD2: 5, 0xD3: 9}
    extensions = {0xD4: 3, 0xD5: 4, 0xD6: 6, 0xD7: 10, 0xD8: 18}
    for byte, size in (numbers | extensions).items():
        sizes[byte] = size
    return sizes


_SCALAR_SIZE = _scalar_sizes()
_LENGTH_BYTES = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4, 0xC7: 1, 0xC8: 2, 0xC9: 4}
_EXTENSIONS = (0xC7, 0xC8, 0xC9)


def _msgpack_too_deep(body: bytes, limit: int) -> bool:
    """True when lists and maps are nested deeper than ``limit``; a malformed body is left to the decoder."""
    if len(body.translate(None, _NOT_CONTAINERS)) <= limit:
        return False  # too few bytes that could open a container
    open_items: list[int] = []  # per open container: items still to come
    position, end = 0, len(body)
    sizes = _SCALAR_SIZE
    while position < end:
        first = body[position]
        size = sizes[first]
        if size:
            position += size
        elif first in _LENGTH_BYTES:
            width = _LENGTH_BYTES[first]
            length = int.from_bytes(body[position + 1 : position + 1 + width], "big")
            position += 1 + width + length + (first in _EXTENSIONS)
        else:
            items, position = _open_container(body, position, first)
            if items > 0:
                open_items.append(items)
                if len(open_items) > limit:
                    return True
                continue
        while open_items:
            open_items[-1] -= 1
            if open_items[-1]:
                break
            open_items.pop()
    return False


def _open_container(body: bytes, position: int, first: int) -> tuple[int, int]:
    """Items of the container that begins here, and where its first item begins; 0xC1 counts as empty."""
    if first < 0x90:
        return (first & 0x0F) * 2, position + 1
    if first < 0xA0:
        return first & 0x0F, position + 1
    if first < 0xDC:
        return 0, position + 1
    width = 4 if first in (0xDD, 0xDF) else 2
    count = int.from_bytes(body[position + 1 : position + 1 + width], "big")
    return count * (2 if first >= 0xDE else 1), position + 1 + width
