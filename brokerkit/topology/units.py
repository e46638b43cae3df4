"""Durations and sizes as text: ``30s``, ``1h30m``, ``7d``; ``512KiB``, ``5GiB``. Files may use them for numbers.

The annotations say which fields are durations or sizes; their patterns go into the JSON Schema of files.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated

from msgspec import Meta

_SECONDS: Mapping[str, Decimal] = {
    unit: Decimal(seconds)
    for unit, seconds in (("ms", "0.001"), ("s", "1"), ("m", "60"), ("h", "3600"), ("d", "86400"), ("w", "604800"))
}
_BYTES: Mapping[str, int] = {
    "B": 1,
    **{f"{letter}B": 1000**power for power, letter in enumerate("KMGT", 1)},
    **{f"{letter}iB": 1024**power for power, letter in enumerate("KMGT", 1)},
}
_PART = r"[0-9]{1,12}(\.[0-9]{1,12})?(ms|s|m|h|d|w)"
_NOT_ZERO = "(?=.*[1-9])"

DURATION = f"^({_PART})+$"
LONGER_THAN_NOTHING = f"^{_NOT_ZERO}({_PART})+$"
SIZE = f"^{_NOT_ZERO}[0-9]{{1,12}}([KMGT]i?)?B$"
LARGEST = 2**63 - 1

Seconds = Annotated[float, Meta(extra_json_schema={"exclusiveMinimum": 0, "pattern": LONGER_THAN_NOTHING})]
"""A duration longer than nothing."""
Delay = Annotated[float, Meta(extra_json_schema={"minimum": 0, "pattern": DURATION})]
"""A duration that may be nothing."""
Count = Annotated[int, Meta(extra_json_schema={"minimum": 1, "maximum": LARGEST})]
Bytes = Annotated[int, Meta(extra_json_schema={"minimum": 1, "maximum": LARGEST, "pattern": SIZE})]


def parse_duration(text: str) -> float:
    """Seconds of a text such as ``1h30m``.

    Raises:
        ValueError: It is none; the message says what is taken.
    """
    if not re.fullmatch(DURATION, text):
        raise ValueError(f"takes a duration as '500ms', '30s', '15m', '1h30m' or '7d', or seconds, not {text!r}")
    parts = re.finditer(r"([0-9.]+)([a-z]+)", text)
    return float(sum(Decimal(part[1]) * _SECONDS[part[2]] for part in parts))


def parse_size(text: str) -> int:
    """Bytes of a text such as ``5GiB``.

    Raises:
        ValueError: It is none; the message says what is taken.
    """
    if not re.fullmatch(SIZE, text):
        raise ValueError(f"takes a whole size as '512KiB', '100MB' or '5GiB', or bytes, not {text!r}")
    number, unit = re.findall("[0-9]+|[A-Za-z]+", text)
    return int(number) * _BYTES[unit]


def duration_text(seconds: float) -> str | float:
    """The shortest text that means exactly these seconds, with one unit; the number itself where there is none."""
    for unit in ("d", "h", "m", "s", "ms"):
        count = Decimal(repr(seconds)) / _SECONDS[unit]
        if count == count.to_integral_value() and 0 <= count < 10**12:
            return f"{int(count)}{unit}" if count else "0s"
    return seconds


def size_text(size: int) -> str | int:
    """The shortest text that means exactly so many bytes; the number itself where there is none."""
    for letter in "TGMK":
        count, rest = divmod(size, _BYTES[f"{letter}iB"])
        if count and not rest and count < 10**12:
            return f"{count}{letter}iB"
    return size
