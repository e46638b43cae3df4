"""Pictures of a topology: Mermaid and DOT for those who have a renderer, SVG and HTML for those who have none.

``model`` says what there is to draw, ``layering`` and ``placing`` decide where, ``svg`` draws.
"""

from brokerkit.operations.graph.dot import to_dot
from brokerkit.operations.graph.html import to_html
from brokerkit.operations.graph.mermaid import to_mermaid
from brokerkit.operations.graph.model import Graph, graph_of
from brokerkit.operations.graph.svg import to_svg

__all__ = ["Graph", "graph_of", "to_dot", "to_html", "to_mermaid", "to_svg"]
