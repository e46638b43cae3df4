"""From a graph to places on a page, in pixels."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec

from brokerkit.operations.graph.layering import Bend, Key, components, layered
from brokerkit.operations.graph.model import Edge, Graph, Node
from brokerkit.operations.graph.placing import heights

NAME, SMALL, CAPTION = 13.0, 11.0, 9.0
"""Sizes of letters."""
PADDING = 12.0
LANES = 16.0
"""Room for the bars of a queue's lanes."""
_MONO, _SANS, _SPACED = 0.605, 0.57, 0.82
"""How wide a letter is at most, in its own size: of a fixed pitch, of running text, of spaced capitals."""
_LONGEST = 40
_MOST_LABELS = 4
_GAP, _PART, _MARGIN = 18.0, 34.0, 28.0
_LEAST, _CURVE = 14.0, 30.0
"""The least width of a column of bends, and the room for curves on both sides of it."""


class Box(msgspec.Struct, frozen=True):
    """A node on the page.

    Args:
        node: The node.
        x: Its left edge.
        y: Its upper edge.
        width: Its width.
        height: Its height.
        lines: What stands in it: the size of the letters and the text of each line.
    """

    node: Node
    x: float
    y: float
    width: float
    height: float
    lines: tuple[tuple[float, str], ...]


class Line(msgspec.Struct, frozen=True):
    """A way on the page.

    Args:
        edge: The edge.
        points: Where it runs through, in the direction of the messages; between two it may curve.
        label: Where its label's middle is, None if it has none.
        words: The label's lines.
    """

    edge: Edge
    points: tuple[tuple[float, float], ...]
    label: tuple[float, float] | None
    words: tuple[str, ...]


class Page(msgspec.Struct, frozen=True):
    """Everything on the page, and how large it is."""

    width: float
    height: float
    boxes: tuple[Box, ...]
    lines: tuple[Line, ...]
    loops: tuple[Box, ...] = ()


class _Sizes(NamedTuple):
    widths: dict[Key, float]
    heights: dict[Key, float]


def caption(node: Node) -> str:
    """What a node is, in capitals."""
    words = {"exchange": f"{node.detail.partition(',')[0]} exchange", "dead": "dead letters"}
    return words.get(node.kind, node.kind).upper()


def laid_out(graph: Graph) -> Page:
    """Where everything stands: each connected part below the one before, each from left to right."""
    loops = {edge.source for edge in graph.edges if edge.source == edge.target}
    edges = [edge for edge in graph.edges if edge.source != edge.target]
    boxes: list[Box] = []
    lines: list[Line] = []
    y = _MARGIN
    for part in components(list(graph.nodes), [(edge.source, edge.target) for edge in edges]):
        members = {*part}
        page = _part(graph, [str(key) for key in part], [edge for edge in edges if edge.source in members], y)
        boxes += page.boxes
        lines += page.lines
        y += page.height + _PART
    width = max((box.x + box.width for box in boxes), default=0.0) + _MARGIN
    return Page(width, y - _PART + _MARGIN if boxes else 2 * _MARGIN, tuple(boxes), tuple(lines),
                tuple(box for box in boxes if box.node.key in loops))  # fmt: skip


def _part(graph: Graph, keys: Sequence[str], edges: Sequence[Edge], top: float) -> Page:
    found = layered(keys, [(edge.source, edge.target) for edge in edges])
    labels = {index: _words(edge) for index, edge in enumerate(edges)}
    labelled = {_label_of(way) for index, way in enumerate(found.ways) if labels[index]}
    sizes = _sizes(graph, keys, found.ways, labels, labelled)
    middles = heights(found.columns, found.ways, sizes.heights, _GAP)
    lefts, at = [], _MARGIN
    column_widths = []
    for index, column in enumerate(found.columns):
        width = max((sizes.widths[key] for key in column), default=0.0)
        width = max(width, _LEAST) + 2 * _CURVE if index % 2 else width
        lefts.append(at)
        column_widths.append(width)
        at += width
    place: dict[Key, tuple[float, float]] = {}
    for index, column in enumerate(found.columns):
        for key in column:
            if not isinstance(key, Bend):  # nodes of one column are equally wide
                sizes.widths[key] = column_widths[index]
            place[key] = lefts[index] + column_widths[index] / 2, top + middles[key]
    boxes = [_box(graph.nodes[key], place[key], sizes) for key in keys]
    by_key = {box.node.key: box for box in boxes}
    lines = [
        _line(edge, way, found.turned.__contains__(index), place, by_key, (labels[index], sizes))
        for index, (edge, way) in enumerate(zip(edges, found.ways, strict=True))
    ]
    bottom = max((place[key][1] + sizes.heights[key] / 2 for column in found.columns for key in column), default=top)
    return Page(at, bottom - top, tuple(boxes), tuple(lines))


def _sizes(
    graph: Graph,
    keys: Sequence[str],
    ways: Sequence[Sequence[Key]],
    labels: Mapping[int, tuple[str, ...]],
    labelled: set[Key],
) -> _Sizes:
    sizes = _Sizes({}, {})
    for key in keys:
        lines = _lines(graph.nodes[key])
        extra = LANES if graph.nodes[key].lanes > 1 else 0.0
        ends = 2 * PADDING + (14.0 if graph.nodes[key].kind in {"exchange", "group"} else 0.0)
        widths = [_width(size, text) for size, text in lines]
        sizes.widths[key] = max(max(widths) + ends + extra, 96.0)
        sizes.heights[key] = sum(size * 1.36 for size, _ in lines) + 14.0
    for index, way in enumerate(ways):
        for bend in way[1:-1]:
            words = labels[index] if bend in labelled else ()
            sizes.widths[bend] = max((_width(SMALL, word) for word in words), default=0.0) + (10.0 if words else 0.0)
            sizes.heights[bend] = len(words) * SMALL * 1.3 + 4.0
    return sizes


def _lines(node: Node) -> tuple[tuple[float, str], ...]:
    found = [(CAPTION, caption(node)), (NAME, _short(node.name))]
    lanes = f"{node.lanes} lanes" if node.lanes > 1 else ""
    detail = node.detail.partition(", ")[2] if node.kind == "exchange" else node.detail
    if said := " · ".join(filter(None, [lanes, detail])):
        found.append((SMALL, _short(said)))
    if node.depth:
        found.append((SMALL, node.depth))
    return tuple(found)


def _words(edge: Edge) -> tuple[str, ...]:
    if edge.kind == "alternate":
        return ("alternate",)
    words = [_short(label) for label in edge.labels if label]
    if len(words) <= _MOST_LABELS:
        return tuple(words)
    return (*words[: _MOST_LABELS - 1], f"and {len(words) - _MOST_LABELS + 1} more")


def _label_of(way: Sequence[Key]) -> Key:
    """The bend that carries the label: the last one, where ways to the same target have parted."""
    return way[-2]


def _box(node: Node, middle: tuple[float, float], sizes: _Sizes) -> Box:
    width, height = sizes.widths[node.key], sizes.heights[node.key]
    return Box(node, middle[0] - width / 2, middle[1] - height / 2, width, height, _lines(node))


def _line(
    edge: Edge,
    way: Sequence[Key],
    turned: bool,
    place: Mapping[Key, tuple[float, float]],
    boxes: Mapping[str, Box],
    said: tuple[tuple[str, ...], _Sizes],
) -> Line:
    words, sizes = said
    start, end = boxes[str(way[0])], boxes[str(way[-1])]
    points = [(start.x + start.width, start.y + start.height / 2)]
    for bend in way[1:-1]:
        if isinstance(bend, Bend) and (bend.column % 2 == 0 or (words and bend == _label_of(way))):
            x, y = place[bend]
            half = max(sizes.widths[bend] / 2, _LEAST)
            points += [(x - half, y), (x + half, y)]
    points.append((end.x, end.y + end.height / 2))
    label = place[_label_of(way)] if words else None
    return Line(edge, tuple(reversed(points) if turned else points), label, words)


def _short(text: str) -> str:
    text = "".join(char if char.isprintable() else "�" for char in text)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _width(size: float, text: str) -> float:
    letters = sum(2.0 if unicodedata.east_asian_width(char) in "WF" else 1.0 for char in text)
    return letters * size * {NAME: _MONO, CAPTION: _SPACED}.get(size, max(_MONO, _SANS))
