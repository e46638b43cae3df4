"""Nothing lies on anything, ways go from left to right, and any name can be drawn."""

import re
import xml.etree.ElementTree as ET
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brokerkit.operations.graph import graph_of, to_dot, to_html, to_mermaid, to_svg
from brokerkit.operations.graph.layering import components, layered
from brokerkit.operations.graph.layout import SMALL, Box, Line, laid_out
from brokerkit.topology import Binding, DeadLetter, Exchange, Group, Log, Queue, Topology
from brokerkit.transport import QueueStats
from tests.files.test_round_trip import anything
from tests.topology.strategies import topologies

HOSTILE = "a\"<b>&'\\]}-->\n#;`|%%{init}%%</svg><script>alert(1)</script>"
GAP = 4.0


@given(st.one_of(topologies(), anything()))
@settings(max_examples=60)
def test_no_box_and_no_label_lies_on_another_box(topology: Topology) -> None:
    graph = graph_of(topology)
    assert ET.fromstring(to_svg(graph)) is not None, "it is well formed whatever the names and keys are"
    page = laid_out(graph)
    for first, second in combinations(page.boxes, 2):
        assert apart(first, second), f"{first.node.key} and {second.node.key}"
    for line in page.lines:
        assert all(label_apart(line, box) for box in page.boxes), f"the label of {line.edge}"
    for box in page.boxes:
        assert 0 <= box.x <= box.x + box.width <= page.width
        assert 0 <= box.y <= box.y + box.height <= page.height


@given(st.one_of(topologies(), anything()))
@settings(max_examples=40)
def test_every_way_begins_at_its_source_and_ends_at_its_target(topology: Topology) -> None:
    graph = graph_of(topology)
    page = laid_out(graph)
    boxes = {box.node.key: box for box in page.boxes}
    assert boxes.keys() == graph.nodes.keys()
    assert len(page.lines) + len([edge for edge in graph.edges if edge.source == edge.target]) == len(graph.edges)
    for line in page.lines:
        source, target = boxes[line.edge.source], boxes[line.edge.target]
        (x1, y1), (x2, y2) = line.points[0], line.points[-1]
        assert x1 in {source.x, source.x + source.width}
        assert y1 == source.y + source.height / 2
        assert x2 in {target.x, target.x + target.width}
        assert y2 == target.y + target.height / 2
        across = [x for x, _ in line.points]
        assert across in (sorted(across), sorted(across, reverse=True))


def test_a_chain_stands_in_columns_and_a_circle_is_opened() -> None:
    found = layered(["a", "b", "c"], [("a", "b"), ("b", "c"), ("c", "a"), ("a", "c")])
    assert found.turned == {2}
    assert [[key for key in column if isinstance(key, str)] for column in found.columns] == [
        ["a"],
        [],
        ["b"],
        [],
        ["c"],
    ]
    assert components(["a", "b", "c", "d"], [("a", "c"), ("d", "b")]) == [["a", "c"], ["b", "d"]]


def test_ways_that_need_not_cross_do_not() -> None:
    nodes = ["s", *(f"l{n}" for n in range(6)), *(f"r{n}" for n in range(6))]
    edges = [("s", f"l{n}") for n in range(6)] + [(f"l{n}", f"r{5 - n}") for n in range(6)]
    columns = layered(nodes, edges).columns
    lefts = [key for key in columns[2] if isinstance(key, str)]
    rights = [key for key in columns[4] if isinstance(key, str)]
    assert [int(key[1]) for key in rights] == [5 - int(key[1]) for key in lefts]


def hostile() -> Topology:
    """What no broker takes, and a picture must bear all the same: names and keys that mean something elsewhere."""
    exchange = Exchange(HOSTILE, "topic")
    queues = [Queue(f"q {HOSTILE}", [Binding(HOSTILE, HOSTILE)], dead_letter=DeadLetter(f"dead {HOSTILE}"))]
    return Topology(
        HOSTILE, [exchange], queues, [Log("l" * 300, [Binding(HOSTILE, "x" * 300)])], [Group("l" * 300, "g")]
    )


def test_hostile_names_stay_text_in_svg_and_html() -> None:
    graph = graph_of(hostile())
    root = ET.fromstring(to_svg(graph))
    assert {element.tag.rpartition("}")[2] for element in root.iter()} <= {
        "svg",
        "title",
        "style",
        "rect",
        "path",
        "g",
        "text",
    }
    assert any("<script>" in (element.text or "") for element in root.iter())
    assert "<script" not in to_html(graph)


def test_hostile_names_stay_text_in_mermaid_and_dot() -> None:
    graph = graph_of(hostile())
    for line in to_mermaid(graph).splitlines():
        assert line.count('"') in {0, 2}, "quotes come in pairs that we set"
    assert "<script" not in to_mermaid(graph)
    assert "%%" not in to_mermaid(graph)
    for line in to_dot(graph).splitlines():
        assert len(re.findall(r'(?<!\\)(?:\\\\)*"', line)) % 2 == 0


SHOP = Topology(
    "shop",
    [Exchange("orders", "topic", alternate="rest"), Exchange("rest", "fanout")],
    [
        Queue("eu", [Binding("orders", "order.eu.*"), Binding("orders", "order.all")], priorities=3, max_length=5000),
        Queue("rest", [Binding("rest")], dead_letter=False),
    ],
    [Log("history", [Binding("orders", "#")], 604800.0, 5 * 2**30)],
    [Group("history", "fraud")],
)


def test_mermaid_is_as_it_should_be() -> None:
    assert to_mermaid(graph_of(SHOP)).splitlines()[:13] == [
        "flowchart LR",
        '    n0{{"orders<br/>topic"}}:::exchange',
        '    n1{{"rest<br/>fanout"}}:::exchange',
        '    n2["eu<br/>3 lanes, max 5,000"]:::queue',
        '    n3["rest"]:::queue',
        '    n4[/"eu.dead"/]:::dead',
        '    n5[/"history@fraud.dead"/]:::dead',
        '    n6[("history<br/>7d · 5GiB")]:::log',
        '    n7(["fraud"]):::group',
        '    n0 -. "alternate" .-> n1',
        '    n0 -- "order.eu.*<br/>order.all" --> n2',
        "    n2 -.-> n4",
        "    n1 --> n3",
    ]


def test_dot_is_as_it_should_be() -> None:
    text = to_dot(graph_of(SHOP))
    assert text.startswith('digraph "shop" {\n    rankdir=LR;\n')
    assert '    "queue eu" [label="eu\\n3 lanes\\nmax 5,000", shape=box, fillcolor="#dbeafe", color="#2563eb"];' in text
    assert '    "exchange orders" -> "queue eu" [label="order.eu.*\\norder.all"];' in text


def test_depths_are_shown_where_they_are_known() -> None:
    stats = {"eu": QueueStats("eu", 1204, 3, 7, 2, 1), "eu.dead": QueueStats("eu.dead", 2, 0, 0, 0, 0),
             "history@fraud": QueueStats("history@fraud", 0, 0, 0, 0, 0)}  # fmt: skip
    graph = graph_of(SHOP, stats)
    depths = {key: node.depth for key, node in graph.nodes.items() if node.depth}
    assert depths == {
        "queue eu": "1,204 ready · 3 running · 7 delayed",
        "queue eu.dead": "2 ready",
        "group history@fraud": "empty",
    }
    assert "1,204 ready · 3 running · 7 delayed" in to_svg(graph)
    assert "as of noon" in to_html(graph, "noon")


def test_a_picture_of_nothing_is_a_picture() -> None:
    assert ET.fromstring(to_svg(graph_of(Topology("empty")))).attrib["width"] == "420"


@pytest.mark.parametrize("size", [300])
def test_hundreds_of_queues_are_laid_out_in_reasonable_time(size: int) -> None:
    """The test's own limit is the judge: a layout that were quadratic in ways would take minutes."""
    exchanges = [Exchange(f"e{n}", "topic") for n in range(10)]
    queues = [Queue(f"q{n}", [Binding(f"e{n % 10}", f"k.{n}"), Binding(f"e{(n * 7) % 10}", "#")]) for n in range(size)]
    assert len(laid_out(graph_of(Topology("big", exchanges, queues))).boxes) == 10 + 2 * size


def apart(first: Box, second: Box) -> bool:
    return (
        first.x + first.width + GAP <= second.x
        or second.x + second.width + GAP <= first.x
        or first.y + first.height + GAP <= second.y
        or second.y + second.height + GAP <= first.y
    )


def label_apart(line: Line, box: Box) -> bool:
    if line.label is None:
        return True
    (x, y), height = line.label, len(line.words) * SMALL * 1.3
    width = max(len(word) for word in line.words) * SMALL * 0.605
    return (
        x + width / 2 <= box.x
        or box.x + box.width <= x - width / 2
        or y + height / 2 <= box.y
        or box.y + box.height <= y - height / 2
    )
