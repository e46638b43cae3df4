"""A topology in DOT, for Graphviz. https://graphviz.org/doc/info/lang.html"""

from __future__ import annotations

from brokerkit.operations.graph.model import Edge, Graph, Node

_LOOKS = {
    "exchange": 'shape=hexagon, fillcolor="#ede9fe", color="#7c3aed"',
    "queue": 'shape=box, fillcolor="#dbeafe", color="#2563eb"',
    "log": 'shape=cylinder, fillcolor="#ccfbf1", color="#0d9488"',
    "group": 'shape=box, style="rounded,filled", fillcolor="#ecfccb", color="#65a30d"',
    "dead": 'shape=note, fillcolor="#fee2e2", color="#dc2626"',
}
_LINES = {
    "binding": "",
    "reads": 'color="#65a30d"',
    "alternate": 'style=dashed, color="#d97706"',
    "dead": 'style=dashed, color="#dc2626"',
}


def to_dot(graph: Graph) -> str:
    """The digraph."""
    lines = [
        f"digraph {_quoted(graph.title)} {{",
        "    rankdir=LR;",
        '    node [style=filled, fontname="Helvetica"];',
        '    edge [fontname="Helvetica", fontsize=10];',
        *(f"    {_quoted(node.key)} [{_node(node)}];" for node in graph.nodes.values()),
        *(f"    {_quoted(edge.source)} -> {_quoted(edge.target)} [{_edge(edge)}];" for edge in graph.edges),
        "}",
    ]
    return "\n".join(lines) + "\n"


def _node(node: Node) -> str:
    lanes = f"{node.lanes} lanes" if node.lanes > 1 else ""
    words = [node.name, *filter(None, [lanes, node.detail, node.depth])]
    return f"label={_quoted(*words)}, {_LOOKS[node.kind]}"


def _edge(edge: Edge) -> str:
    labels = ("alternate",) if edge.kind == "alternate" else edge.labels
    return ", ".join(filter(None, [f"label={_quoted(*labels)}" if labels else "", _LINES[edge.kind]]))


def _quoted(*lines: str) -> str:
    """A string of these lines; a backslash would begin an escape."""
    plain = ["".join(char if char.isprintable() else "�" for char in line) for line in lines]
    return '"' + "\\n".join(line.replace("\\", "\\\\").replace('"', '\\"') for line in plain) + '"'
