"""A topology as a page of its own."""

from __future__ import annotations

from html import escape

from brokerkit.operations.graph.model import Graph
from brokerkit.operations.graph.svg import to_svg

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>
body {{ margin: 0; padding: 1.5rem; background: #ffffff; color: #1c2430; font-family: system-ui, sans-serif; }}
h1 {{ font-size: 1.25rem; margin: 0 0 0.25rem; }}
p {{ margin: 0 0 1rem; color: #667085; }}
div {{ overflow-x: auto; }}
@media (prefers-color-scheme: dark) {{ body {{ background: #12161d; color: #e8ecf2; }} p {{ color: #a3adbd; }} }}
</style>
</head>
<body>
<h1>{title}</h1>
<p>{words}</p>
<div>
{picture}</div>
</body>
</html>
"""


def to_html(graph: Graph, when: str = "") -> str:
    """The page.

    Args:
        graph: What to draw.
        when: When the figures in it were taken; "" without figures.
    """
    counts: dict[str, int] = {}
    for node in graph.nodes.values():
        word = {"dead": "dead-letter queue"}.get(node.kind, node.kind)
        counts[word] = counts.get(word, 0) + 1
    words = ", ".join(f"{number} {word}{'' if number == 1 else 's'}" for word, number in counts.items())
    said = f"{words}; as of {when}" if when else words
    return _PAGE.format(title=escape(f"Topology {graph.title}"), words=escape(said), picture=to_svg(graph))
