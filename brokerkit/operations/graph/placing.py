"""How high everything in a column stands: as near as can be to what it is connected to, and never over another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

from brokerkit.operations.graph.layering import Bend, Key

_SWEEPS = 24
_STRAIGHT = 8.0
"""How much more a long way's own bends count than its ends, so that it runs straight."""


def heights(
    columns: Sequence[Sequence[Key]], ways: Sequence[Sequence[Key]], sizes: Mapping[Key, float], gap: float
) -> dict[Key, float]:
    """The middle of each member of each column, from 0 down.

    Args:
        columns: In order.
        ways: What is connected.
        sizes: How high each is.
        gap: What is left free between two, at least.
    """
    left: dict[Key, list[tuple[Key, float]]] = {}
    right: dict[Key, list[tuple[Key, float]]] = {}
    for way in ways:
        for a, b in pairwise(way):
            weight = _STRAIGHT if isinstance(a, Bend) and isinstance(b, Bend) else 1.0
            right.setdefault(a, []).append((b, weight))
            left.setdefault(b, []).append((a, weight))
    middles: dict[Key, float] = {}
    for column in columns:
        middles |= _stacked(column, sizes, gap)
    for sweep in range(_SWEEPS):
        forward = sweep % 2 == 0
        # The last sweeps look both ways, so that nothing hangs on one side only.
        sides = [left, right] if sweep >= _SWEEPS - 4 else [left if forward else right]
        for column in columns if forward else reversed(columns):
            wanted = [_wanted(key, sides, middles) for key in column]
            middles |= _spread(column, wanted, sizes, gap)
    top = min((middles[key] - sizes[key] / 2 for column in columns for key in column), default=0.0)
    return {key: middle - top for key, middle in middles.items()}


def _stacked(column: Sequence[Key], sizes: Mapping[Key, float], gap: float) -> dict[Key, float]:
    found: dict[Key, float] = {}
    at = 0.0
    for key in column:
        found[key] = at + sizes[key] / 2
        at += sizes[key] + gap
    return found


def _wanted(key: Key, sides: Sequence[Mapping[Key, list[tuple[Key, float]]]], middles: Mapping[Key, float]) -> float:
    near = [pair for side in sides for pair in side.get(key, ())]
    if not near:
        return middles[key]
    return sum(middles[each] * weight for each, weight in near) / sum(weight for _, weight in near)


def _spread(column: Sequence[Key], wanted: Sequence[float], sizes: Mapping[Key, float], gap: float) -> dict[Key, float]:
    """The places nearest to those wanted, in the least squares, that keep the order and the gaps: those that would
    come too near to each other are moved as one block (https://en.wikipedia.org/wiki/Isotonic_regression)."""
    offsets, at = [], 0.0
    for key in column:
        offsets.append(at + sizes[key] / 2)
        at += sizes[key] + gap
    blocks: list[tuple[float, int]] = []  # the mean of what its members want less their offsets, and how many they are
    for want, offset in zip(wanted, offsets, strict=True):
        mean, count = want - offset, 1
        while blocks and blocks[-1][0] > mean:
            other, several = blocks.pop()
            mean = (mean * count + other * several) / (count + several)
            count += several
        blocks.append((mean, count))
    means = [mean for mean, count in blocks for _ in range(count)]
    return {key: mean + offset for key, mean, offset in zip(column, means, offsets, strict=True)}
