"""A topology as a picture that needs nothing else: for wikis, in light and dark."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from itertools import pairwise

import msgspec

from brokerkit.operations.graph.layout import CAPTION, LANES, NAME, SMALL, Box, Line, laid_out
from brokerkit.operations.graph.model import Graph

_COLOURS = {
    "exchange": ("#f3efff", "#7c3aed", "#2b2142", "#b79cff"),
    "queue": ("#eaf2ff", "#2563eb", "#172a4a", "#7fb0ff"),
    "log": ("#e4f7f4", "#0d8a80", "#113733", "#4fd1c4"),
    "group": ("#f0f8e2", "#5b8f12", "#26330f", "#a8d65c"),
    "dead": ("#fff0ee", "#cf3a2b", "#43201c", "#ff8f80"),
}
"""What a kind is filled and drawn with, in light, then in dark."""

_LOOK = """
.bk { --ground: #ffffff; --ink: #1c2430; --faint: #667085; --line: #98a2b3; --amber: #b7791f;
  font-family: system-ui, -apple-system, "Segoe UI", "Noto Sans", Helvetica, Arial, sans-serif; }
.bk .ground { fill: var(--ground); }
.bk .name { font: 600 13px ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace;
  fill: var(--ink); }
.bk .caption { font-size: 9px; font-weight: 600; letter-spacing: 0.09em; }
.bk .small, .bk .key { font-size: 11px; fill: var(--faint); }
.bk .full { fill: var(--ink); font-weight: 600; }
.bk .label { font: 11px ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace;
  fill: var(--faint); text-anchor: middle; }
.bk .way { fill: none; stroke: var(--line); stroke-width: 1.4; }
.bk .way.alternate { stroke: var(--amber); stroke-dasharray: 6 4; }
.bk .way.dead { stroke: var(--dead); stroke-dasharray: 3 4; }
.bk .way.reads { stroke: var(--group); }
.bk .tip { fill: var(--line); }
.bk .tip.alternate { fill: var(--amber); }
.bk .tip.dead { fill: var(--dead); }
.bk .tip.reads { fill: var(--group); }
.bk .label.alternate { fill: var(--amber); }
.bk .box { stroke-width: 1.5; }
"""
_HALO = 'class="ground"'
_LEGEND = (
    ("exchange", "exchange"),
    ("queue", "queue, a bar for each lane"),
    ("log", "log"),
    ("group", "group that reads it"),
    ("dead", "dead letters"),
)


def to_svg(graph: Graph) -> str:
    """The picture."""
    page = laid_out(graph)
    legend = list(_legend(graph, page.height))
    width, height = max(page.width, 420.0), page.height + (26.0 if legend else 0.0)
    size = f'width="{width:.0f}" height="{height:.0f}"'
    title = _escaped(f"Topology {graph.title}")
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="bk" role="img" viewBox="0 0 {width:.0f} {height:.0f}" {size}>',
        f"<title>{title}</title>",
        f"<style>{_look()}</style>",
        f"<rect {_HALO} {size}/>",
        *(text for line in page.lines for text in _way(line)),
        *(text for box in page.loops for text in _loop(box)),
        *(text for box in page.boxes for text in _node(box)),
        *(text for line in page.lines for text in _label(line)),
        *legend,
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _escaped(text: str) -> str:
    """As text of XML, which takes no control characters however they are written."""
    return escape("".join(char if char.isprintable() or char == "\n" else "�" for char in text))


def _look() -> str:
    light = "".join(f"--{kind}: {c[1]}; --{kind}-fill: {c[0]}; " for kind, c in _COLOURS.items())
    dark = "".join(f"--{kind}: {c[3]}; --{kind}-fill: {c[2]}; " for kind, c in _COLOURS.items())
    ground = "--ground: #12161d; --ink: #e8ecf2; --faint: #a3adbd; --line: #6b7688; --amber: #e0a84a; "
    kinds = "".join(
        f".bk .{kind} .box {{ fill: var(--{kind}-fill); stroke: var(--{kind}); }}\n"
        f".bk .{kind} .caption, .bk .{kind} .bar {{ fill: var(--{kind}); }}\n"
        for kind in _COLOURS
    )
    return f"{_LOOK}.bk {{ {light}}}\n{kinds}@media (prefers-color-scheme: dark) {{ .bk {{ {ground}{dark}}} }}\n"


def _way(line: Line) -> Iterator[str]:
    points = list(line.points)
    (x, y), kind = points[-1], line.edge.kind
    forward = points[-2][0] <= x
    points[-1] = (x - 7 if forward else x + 7, y)
    yield f'<path class="way {kind}" d="{_curve(points)}"/>'
    back = -8 if forward else 8
    yield f'<path class="tip {kind}" d="M{x:.1f} {y:.1f}l{back} -4v8z"/>'


def _curve(points: list[tuple[float, float]]) -> str:
    """Straight through bends, and curved between them."""
    said = [f"M{points[0][0]:.1f} {points[0][1]:.1f}"]
    for (x1, y1), (x2, y2) in pairwise(points):
        if abs(y1 - y2) < 0.5:
            said.append(f"L{x2:.1f} {y2:.1f}")
        else:
            middle = (x1 + x2) / 2
            said.append(f"C{middle:.1f} {y1:.1f} {middle:.1f} {y2:.1f} {x2:.1f} {y2:.1f}")
    return "".join(said)


def _loop(box: Box) -> Iterator[str]:
    """A way from a node to itself, above it."""
    x, y = box.x + box.width / 2, box.y
    yield f'<path class="way binding" d="M{x - 14:.1f} {y:.1f}c-6 -18 34 -18 28 -5"/>'
    yield f'<path class="tip binding" d="M{x + 14:.1f} {y:.1f}l-4 -8h8z"/>'


def _label(line: Line) -> Iterator[str]:
    if line.label is None:
        return
    x, y = line.label
    height = len(line.words) * SMALL * 1.3
    width = max(len(word) for word in line.words) * SMALL * 0.605 + 6
    yield f'<rect {_HALO} x="{x - width / 2:.1f}" y="{y - height / 2:.1f}" width="{width:.1f}" height="{height:.1f}"/>'
    full = _escaped("\n".join(line.edge.labels))
    for index, word in enumerate(line.words):
        at = y - height / 2 + (index + 0.78) * SMALL * 1.3
        look = f'class="label {line.edge.kind}" x="{x:.1f}" y="{at:.1f}"'
        yield f"<text {look}><title>{full}</title>{_escaped(word)}</text>"


def _node(box: Box) -> Iterator[str]:
    node = box.node
    yield f'<g class="{node.kind}"><title>{_escaped(f"{node.kind} {node.name}")}</title>'
    yield from _SHAPES[node.kind](box)
    left = box.x + (19.0 if node.kind in {"exchange", "group"} else 12.0)
    at = box.y + 7.0
    for size, text in box.lines:
        at += size * 1.36
        look = {NAME: "name", CAPTION: "caption"}.get(size, "small")
        look += " full" if text == node.depth and node.full else ""
        yield f'<text class="{look}" x="{left:.1f}" y="{at - size * 0.3:.1f}">{_escaped(text)}</text>'
    if node.lanes > 1:
        yield from _lanes(box)
    yield "</g>"


def _lanes(box: Box) -> Iterator[str]:
    """A bar for each lane, the most urgent on top."""
    room, lanes = box.height - 16.0, box.node.lanes
    step = room / lanes
    for index in range(lanes):
        strength = 1.0 - 0.75 * index / lanes
        yield (
            f'<rect class="bar" x="{box.x + box.width - LANES - 6:.1f}" y="{box.y + 8 + index * step:.1f}" rx="1.5" '
            f'width="{LANES:.0f}" height="{max(step - 2.5, 1.5):.1f}" opacity="{strength:.2f}"/>'
        )


def _exchange(box: Box) -> Iterator[str]:
    x, y, w, h, tip = box.x, box.y, box.width, box.height, 10.0
    yield (
        f'<path class="box" d="M{x:.1f} {y + h / 2:.1f}l{tip} {-h / 2:.1f}h{w - 2 * tip:.1f}l{tip} {h / 2:.1f}'
        f'l{-tip} {h / 2:.1f}h{-(w - 2 * tip):.1f}z"/>'
    )


def _queue(box: Box) -> Iterator[str]:
    yield _rect(box, 6.0)


def _log(box: Box) -> Iterator[str]:
    """A pile of sheets."""
    for shift in (6.0, 3.0):
        yield (
            f'<rect class="box" x="{box.x + shift:.1f}" y="{box.y - shift:.1f}" rx="3" '
            f'width="{box.width - 6:.1f}" height="{box.height:.1f}"/>'
        )
    yield _rect(msgspec.structs.replace(box, width=box.width - 6.0), 3.0)


def _group(box: Box) -> Iterator[str]:
    yield _rect(box, box.height / 2)


def _dead(box: Box) -> Iterator[str]:
    yield _rect(box, 3.0, ' stroke-dasharray="5 3"')
    yield f'<rect class="bar" x="{box.x:.1f}" y="{box.y:.1f}" width="4" height="{box.height:.1f}"/>'


def _rect(box: Box, corner: float, more: str = "") -> str:
    return (
        f'<rect class="box" x="{box.x:.1f}" y="{box.y:.1f}" rx="{corner:.1f}" '
        f'width="{box.width:.1f}" height="{box.height:.1f}"{more}/>'
    )


_SHAPES = {"exchange": _exchange, "queue": _queue, "log": _log, "group": _group, "dead": _dead}


def _legend(graph: Graph, y: float) -> Iterator[str]:
    """What the kinds of the picture look like."""
    present = {node.kind for node in graph.nodes.values()}
    x = 28.0
    for kind, words in _LEGEND:
        if kind not in present:
            continue
        yield (
            f'<g class="{kind}"><rect class="box" x="{x:.1f}" y="{y - 4:.1f}" width="14" height="11" rx="2"/>'
            f'<text class="key" x="{x + 20:.1f}" y="{y + 5:.1f}">{words}</text></g>'
        )
        x += 38.0 + len(words) * 5.6
