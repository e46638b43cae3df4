"""A topology as a Mermaid flowchart, which wikis and code hosts draw. https://mermaid.js.org/syntax/flowchart.html"""

from __future__ import annotations

from collections.abc import Iterator

from brokerkit.operations.graph.model import Edge, Graph, Node

_SHAPES = {
    "exchange": ("{{", "}}"),
    "queue": ("[", "]"),
    "log": ("[(", ")]"),
    "group": ("([", "])"),
    "dead": ("[/", "/]"),
}
_STYLES = (
    "classDef exchange fill:#ede9fe,stroke:#7c3aed,color:#2e1065",
    "classDef queue fill:#dbeafe,stroke:#2563eb,color:#172554",
    "classDef log fill:#ccfbf1,stroke:#0d9488,color:#042f2e",
    "classDef group fill:#ecfccb,stroke:#65a30d,color:#1a2e05",
    "classDef dead fill:#fee2e2,stroke:#dc2626,color:#450a0a",
)
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 -_.,:/+*=@·")


def to_mermaid(graph: Graph) -> str:
    """The flowchart."""
    ids = {key: f"n{index}" for index, key in enumerate(graph.nodes)}
    lines = ["flowchart LR"]
    lines += [f"    {_node(ids[node.key], node)}" for node in graph.nodes.values()]
    lines += [f"    {ids[edge.source]} {_arrow(edge)} {ids[edge.target]}" for edge in graph.edges]
    lines += [f"    {style}" for style in _STYLES]
    return "\n".join(lines) + "\n"


def _node(identity: str, node: Node) -> str:
    begin, end = _SHAPES[node.kind]
    return f'{identity}{begin}"{"<br/>".join(map(_escaped, _words(node)))}"{end}:::{node.kind}'


def _words(node: Node) -> Iterator[str]:
    yield node.name
    lanes = f"{node.lanes} lanes" if node.lanes > 1 else ""
    if detail := ", ".join(filter(None, [lanes, node.detail])):
        yield detail
    if node.depth:
        yield node.depth


def _arrow(edge: Edge) -> str:
    label = "<br/>".join(map(_escaped, edge.labels))
    if edge.kind == "alternate":
        return '-. "alternate" .->'
    if edge.kind == "dead":
        return "-.->"
    return f'-- "{label}" -->' if label else "-->"


def _escaped(text: str) -> str:
    """With every character that could mean something as its number."""
    return "".join(char if char in _PLAIN else f"#{ord(char)};" for char in text)
