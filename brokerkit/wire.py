"""What may travel: names, ids, keys, headers and labels, checked where they enter so that no adapter meets others."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from brokerkit.errors import EncodeError
from brokerkit.message import Scalar

NAME = re.compile(r"[A-Za-z0-9\-_.:@#,/+ ]{1,200}")
"""Names of tasks and event types: what every broker can carry."""

LONGEST_TEXT = 255
"""Bytes of an id, correlation id or routing key: AMQP's short string."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_INTEGERS = range(-(2**63), 2**63)


def check_name(name: object) -> None:
    """Raise ``EncodeError`` for what is not a wire name."""
    if not isinstance(name, str) or NAME.fullmatch(name) is None:
        raise EncodeError(
            f"name {name!r:.100}: give 1 to 200 of the characters A-Z a-z 0-9 - _ . : @ # , / + and space"
        )


def check_text(what: str, text: object) -> None:
    """Raise ``EncodeError`` for what is no short text: an id, a correlation id, a routing key."""
    if not isinstance(text, str):
        raise EncodeError(f"{what} {text!r:.100}: give a string")
    if encoded_size(what, text) > LONGEST_TEXT:
        raise EncodeError(f"{what} {text!r:.100}: at most {LONGEST_TEXT} bytes")
    if _CONTROL.search(text):
        raise EncodeError(f"{what} {text!r:.100} contains a control character")


def encoded_size(what: str, text: str) -> int:
    """Bytes of a text in UTF-8. Raises ``EncodeError`` for a lone surrogate, which UTF-8 cannot carry."""
    try:
        return len(text.encode())
    except UnicodeEncodeError as error:
        raise EncodeError(f"{what} {text!r:.100} is not valid text: {error.reason}") from None


def headers_size(headers: Mapping[str, Scalar]) -> int:
    """Bytes that headers count for."""
    return sum(len(name) + (len(value) if isinstance(value, str) else 8) for name, value in headers.items())


def checked_scalars(what: str, values: Mapping[str, Any], limit: int) -> dict[str, Scalar]:
    """Headers or labels that can travel.

    Args:
        what: "header" or "label", for the error.
        values: Names and values.
        limit: Most bytes altogether.

    Raises:
        EncodeError: A name or value cannot travel, or together they are too large.
    """
    size = 0
    for name, value in values.items():
        if not all(isinstance(part, kind) for part, kind in ((name, str), (value, str | int | float | bool))):
            raise EncodeError(f"{what} {name!r:.100}: names are strings, values are strings, numbers or booleans")
        if name.startswith("bk-"):
            raise EncodeError(f"{what} {name!r:.100}: names that begin with 'bk-' are brokerkit's own")
        if isinstance(value, int) and value not in _INTEGERS:
            raise EncodeError(f"{what} {name!r:.100}: the number does not fit into 64 bits")
        if _CONTROL.search(name) or (isinstance(value, str) and _CONTROL.search(value)):
            raise EncodeError(f"{what} {name!r:.100} contains a control character")
        size += encoded_size(what, name) + (encoded_size(f"{what} {name}:", value) if isinstance(value, str) else 8)
    if size > limit:
        raise EncodeError(f"{what}s of {size} bytes are over the limit of {limit}")
    return dict(values)


def encodable(text: str) -> str:
    """The text without lone surrogates, which UTF-8 cannot carry."""
    return text.encode("utf-8", "replace").decode()


def bounded(text: str, limit: int) -> str:
    """The text, cut with a mark."""
    return text if len(text) <= limit else text[: limit - 4] + " ..."
