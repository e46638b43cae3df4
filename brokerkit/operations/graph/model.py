"""What there is to draw: nodes and edges with their words, in the order of the topology."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Literal

import msgspec

from brokerkit.topology import Binding, Exchange, Group, Log, Queue, Topology, dead_letter_owners, implied
from brokerkit.topology.units import duration_text, size_text
from brokerkit.transport import QueueStats

NodeKind = Literal["exchange", "queue", "log", "group", "dead"]
EdgeKind = Literal["binding", "alternate", "reads", "dead"]


class Node(msgspec.Struct, frozen=True):
    """An object of the topology.

    Args:
        key: What it is told apart by.
        kind: What it is; ``dead`` is a dead-letter queue.
        name: Its name, or the group's within its log.
        detail: The rest worth knowing, in a few words.
        lanes: How many lanes a queue has.
        depth: What is in it now, in a few words; "" where that is not known.
        full: How much is in it, for emphasis; None where that is not known.
    """

    key: str
    kind: NodeKind
    name: str
    detail: str = ""
    lanes: int = 1
    depth: str = ""
    full: int | None = None


class Edge(msgspec.Struct, frozen=True):
    """A way of messages.

    Args:
        source: The key of the node it leaves.
        target: The key of the node it reaches.
        kind: Why.
        labels: The keys or headers of its bindings.
    """

    source: str
    target: str
    kind: EdgeKind
    labels: tuple[str, ...] = ()


class Graph(msgspec.Struct, frozen=True):
    """Everything to draw.

    Args:
        title: The topology's name.
        nodes: By key.
        edges: At most one of a kind between two nodes.
    """

    title: str
    nodes: Mapping[str, Node]
    edges: tuple[Edge, ...]


def graph_of(topology: Topology, stats: Mapping[str, QueueStats] | None = None) -> Graph:
    """The picture of a topology.

    Args:
        topology: Valid.
        stats: What is in its queues and groups now, by key. Default unknown.
    """
    whole, depths = implied(topology), stats or {}
    graves = dead_letter_owners(whole)
    nodes = [_exchange(exchange) for exchange in whole.exchanges]
    nodes += [_queue(queue, queue.name in graves, depths.get(queue.name)) for queue in whole.queues]
    nodes += [Node(f"log {log.name}", "log", log.name, _limits(log)) for log in whole.logs]
    nodes += [_group(group, depths.get(group.key)) for group in whole.groups]
    by_key = {node.key: node for node in nodes}
    edges = [edge for edge in _edges(whole) if edge.source in by_key and edge.target in by_key]
    return Graph(topology.name, by_key, tuple(_together(edges)))


def _exchange(exchange: Exchange) -> Node:
    detail = exchange.type if exchange.durable else f"{exchange.type}, transient"
    return Node(f"exchange {exchange.name}", "exchange", exchange.name, detail)


def _queue(queue: Queue, grave: bool, stats: QueueStats | None) -> Node:
    said = []
    if queue.max_length is not None:
        said.append(f"max {queue.max_length:,}")
    if queue.message_ttl is not None:
        said.append(f"ttl {duration_text(queue.message_ttl)}")
    if queue.type != "quorum":
        said.append(queue.type)
    if queue.single_active:
        said.append("single active")
    if queue.mode not in (None, "own"):
        said.append(queue.mode)
    depth, full = _depth(stats)
    kind: NodeKind = "dead" if grave else "queue"
    return Node(f"queue {queue.name}", kind, queue.name, " · ".join(said), queue.lanes, depth, full)


def _limits(log: Log) -> str:
    said = [str(duration_text(log.retention))] if log.retention is not None else []
    said += [str(size_text(log.max_bytes))] if log.max_bytes is not None else []
    said += [f"max {log.max_length:,}"] if log.max_length is not None else []
    said += ["history"] if log.history else []
    return " · ".join(said)


def _group(group: Group, stats: QueueStats | None) -> Node:
    depth, full = _depth(stats)
    return Node(f"group {group.key}", "group", group.name, "from the earliest" if group.start == "earliest" else "",
                depth=depth, full=full)  # fmt: skip


def _depth(stats: QueueStats | None) -> tuple[str, int | None]:
    if stats is None:
        return "", None
    figures = (("ready", stats.ready), ("running", stats.in_flight), ("delayed", stats.delayed))
    said = [f"{number:,} {word}" for word, number in figures if number]
    full = stats.ready if stats.ready is not None else None
    return " · ".join(said) or "empty", full


def _edges(topology: Topology) -> Iterator[Edge]:
    kinds = {exchange.name: exchange.type for exchange in topology.exchanges}
    for exchange in topology.exchanges:
        key = f"exchange {exchange.name}"
        yield from _bindings(exchange.bindings, key, kinds)
        if exchange.alternate is not None:
            yield Edge(key, f"exchange {exchange.alternate}", "alternate")
    for queue in topology.queues:
        key = f"queue {queue.name}"
        yield from _bindings(queue.bindings, key, kinds)
        if queue.dead_letter_name is not None:
            yield Edge(key, f"queue {queue.dead_letter_name}", "dead")
    for log in topology.logs:
        yield from _bindings(log.bindings, f"log {log.name}", kinds)
    for group in topology.groups:
        yield Edge(f"log {group.log}", f"group {group.key}", "reads")
        if group.dead_letter_name is not None:
            yield Edge(f"group {group.key}", f"queue {group.dead_letter_name}", "dead")


def _bindings(bindings: Iterable[Binding], target: str, kinds: Mapping[str, str]) -> Iterator[Edge]:
    for binding in bindings:
        label = _label(binding, kinds.get(binding.exchange, "direct"))
        yield Edge(f"exchange {binding.exchange}", target, "binding", (label,) if label else ())


def _label(binding: Binding, kind: str) -> str:
    if kind == "fanout":
        return ""
    if kind != "headers":
        return binding.key
    pairs = [name if value is None else f"{name}={value}" for name, value in (binding.headers or {}).items()]
    return (" and " if binding.match == "all" else " or ").join(pairs) or binding.match


def _together(edges: Iterable[Edge]) -> Iterator[Edge]:
    """One edge of a kind between two nodes, with all labels."""
    found: dict[tuple[str, str, str], Edge] = {}
    for edge in edges:
        key = (edge.source, edge.target, edge.kind)
        known = found.get(key)
        labels = edge.labels if known is None else tuple(dict.fromkeys((*known.labels, *edge.labels)))
        found[key] = Edge(edge.source, edge.target, edge.kind, labels)
    yield from found.values()
