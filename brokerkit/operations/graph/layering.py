"""Which column everything stands in, and in which order: Sugiyama's method.

Ways that lead back are turned for the layout, everything stands as far right of what leads to it as it must, long ways
get a place in each column they cross, and the order in each column is that of the middle of what it is connected to,
swept to and fro. https://en.wikipedia.org/wiki/Layered_graph_drawing
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

Key = Hashable
Pair = tuple[Key, Key]
_SWEEPS = 12


class Bend(NamedTuple):
    """Where a way crosses a column: the way's number, and the column."""

    way: int
    column: int


class Layers(NamedTuple):
    """The columns, and the ways through them.

    Args:
        columns: What stands in each, from top to bottom: nodes, and bends of ways.
        ways: For each edge, what it passes, from left to right.
        turned: The edges that lead to the left.
    """

    columns: list[list[Key]]
    ways: list[list[Key]]
    turned: set[int]


def layered(nodes: Sequence[Key], edges: Sequence[Pair]) -> Layers:
    """The columns of a graph; nodes stand in every second one, so that each way has a bend of its own for its label.

    Args:
        nodes: In the order that is kept where nothing speaks against it.
        edges: Without loops.
    """
    turned = _leading_back(nodes, edges)
    forward = [(b, a) if index in turned else (a, b) for index, (a, b) in enumerate(edges)]
    ranks = _ranks(nodes, forward)
    columns: list[list[Key]] = [[] for _ in range(2 * max(ranks.values(), default=0) + 1)]
    for node in nodes:
        columns[2 * ranks[node]].append(node)
    ways: list[list[Key]] = []
    for index, (start, end) in enumerate(forward):
        bends = [Bend(index, column) for column in range(2 * ranks[start] + 1, 2 * ranks[end])]
        for bend in bends:
            columns[bend.column].append(bend)
        ways.append([start, *bends, end])
    return Layers(_ordered(columns, ways), ways, turned)


def components(nodes: Sequence[Key], edges: Iterable[Pair]) -> list[list[Key]]:
    """The parts of a graph that are connected, in order of their first nodes."""
    leader: dict[Key, Key] = {node: node for node in nodes}

    def find(node: Key) -> Key:
        while leader[node] != node:
            leader[node] = leader[leader[node]]
            node = leader[node]
        return node

    for start, end in edges:
        leader[find(start)] = find(end)
    found: dict[Key, list[Key]] = {}
    for node in nodes:
        found.setdefault(find(node), []).append(node)
    return list(found.values())


def _leading_back(nodes: Sequence[Key], edges: Sequence[Pair]) -> set[int]:
    """The edges that close a circle, walking from nodes that nothing leads to."""
    out: dict[Key, list[tuple[int, Key]]] = {node: [] for node in nodes}
    for index, (start, end) in enumerate(edges):
        out[start].append((index, end))
    entered = {end for _, end in edges}
    back: set[int] = set()
    state: dict[Key, int] = {}
    for root in [*(node for node in nodes if node not in entered), *nodes]:
        if root in state:
            continue
        state[root] = 1
        walk = [(root, iter(out[root]))]
        while walk:
            node, following = walk[-1]
            for index, end in following:
                if state.get(end) == 1:
                    back.add(index)
                elif end not in state:
                    state[end] = 1
                    walk.append((end, iter(out[end])))
                    break
            else:
                state[node] = 2
                walk.pop()
    return back


def _ranks(nodes: Sequence[Key], edges: Sequence[Pair]) -> dict[Key, int]:
    """Each node's column: one right of everything that leads to it; what nothing leads to, close to where it leads."""
    before: dict[Key, list[Key]] = {node: [] for node in nodes}
    after: dict[Key, list[Key]] = {node: [] for node in nodes}
    for start, end in edges:
        before[end].append(start)
        after[start].append(end)
    ranks: dict[Key, int] = {}
    waiting = {node: len(before[node]) for node in nodes}
    ready = [node for node in nodes if not waiting[node]]
    for node in ready:
        ranks[node] = max((ranks[each] + 1 for each in before[node]), default=0)
        for each in after[node]:
            waiting[each] -= 1
            if not waiting[each]:
                ready.append(each)
    for node in nodes:
        if not before[node] and after[node]:
            ranks[node] = min(ranks[each] for each in after[node]) - 1
    return ranks


def _ordered(columns: list[list[Key]], ways: Iterable[Sequence[Key]]) -> list[list[Key]]:
    """The columns with as few crossings as some sweeps bring about."""
    left: dict[Key, list[Key]] = {}
    right: dict[Key, list[Key]] = {}
    for way in ways:
        for a, b in pairwise(way):
            right.setdefault(a, []).append(b)
            left.setdefault(b, []).append(a)
    best, fewest = columns, _crossings(columns, right)
    current = columns
    for sweep in range(_SWEEPS):
        if not fewest:
            break
        forward = sweep % 2 == 0
        current = _swept(current, left if forward else right, forward)
        count = _crossings(current, right)
        if count < fewest:
            best, fewest = current, count
    return best


def _swept(columns: list[list[Key]], beside: Mapping[Key, list[Key]], forward: bool) -> list[list[Key]]:
    """Each column in the order of the middles of what its members are connected to in the one before."""
    found = list(columns)
    order = range(1, len(found)) if forward else range(len(found) - 2, -1, -1)
    for at in order:
        fixed = found[at - 1 if forward else at + 1]
        position = {key: index for index, key in enumerate(fixed)}
        own = {key: index * len(fixed) / max(1, len(found[at])) for index, key in enumerate(found[at])}
        middle = {
            key: sum(position[each] for each in beside[key]) / len(beside[key]) if beside.get(key) else own[key]
            for key in found[at]
        }
        found[at] = sorted(found[at], key=lambda key: middle[key])
    return found


def _crossings(columns: Sequence[Sequence[Key]], right: Mapping[Key, list[Key]]) -> int:
    """How many pairs of ways cross between two columns, over all."""
    total = 0
    for here, there in pairwise(columns):
        position = {key: index for index, key in enumerate(there)}
        ends = [position[each] for key in here for each in sorted(right.get(key, ()), key=position.__getitem__)]
        total += _inversions(ends)
    return total


def _inversions(numbers: Sequence[int]) -> int:
    """How many pairs stand in the wrong order, counted by a Fenwick tree."""
    size = max(numbers, default=0) + 1
    tree, found = [0] * (size + 1), 0
    for seen, number in enumerate(numbers):
        at, smaller_or_equal = number + 1, 0
        while at:
            smaller_or_equal += tree[at]
            at -= at & -at
        found += seen - smaller_or_equal
        at = number + 1
        while at <= size:
            tree[at] += 1
            at += at & -at
    return found
