"""INSERT statements of many rows.

Beyond 16 rows only multiples of 16 are used: few statements to keep prepared, few steps to take.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

_MOST_ROWS = 256
_STEP = 16


def parts(count: int) -> Iterator[tuple[int, int]]:
    """So many rows as parts of one statement each: where it begins, and how many they are."""
    start = 0
    while start < count:
        left = count - start
        size = min(_MOST_ROWS, left if left < _STEP else left - left % _STEP)
        yield start, size
        start += size


@lru_cache(maxsize=128)
def values(head: str, width: int, rows: int, tail: str = "", common: int = 0) -> str:
    """An INSERT of so many rows of so many values.

    Args:
        head: All up to VALUES.
        width: Values of a row.
        rows: How many.
        tail: What follows them.
        common: How many values, the first ones, are the same in all rows: they are given once, before all others.
    """
    shared = [f"?{number + 1}" for number in range(common)]
    own = width - common
    firsts = range(common + 1, common + 1 + rows * own, own)
    listed = ", ".join(f"({', '.join([*shared, *(f'?{first + n}' for n in range(own))])})" for first in firsts)
    return f"{head} {listed}{tail}"
