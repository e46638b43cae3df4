"""References: exchanges and logs that are spoken of must be there, and alternates must end somewhere."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from brokerkit.topology.descriptors import Topology
from brokerkit.topology.exchange import Binding
from brokerkit.topology.finding import Finding, ObjectPath
from brokerkit.topology.log import Group, Log, is_start
from brokerkit.topology.suggestion import did_you_mean
from brokerkit.topology.values import UNFIT, binding_problems

UNDECLARED = "BK009"
ALTERNATE_CIRCLE = "BK011"


def reference_problems(topology: Topology, names: Collection[str], logs: Collection[str]) -> Iterator[Finding]:
    """One for each reference to something that is not declared, or that does not fit what is.

    Args:
        topology: Its fields are of their types.
        names: The declared exchanges, also those left out of ``topology`` because of other problems.
        logs: The declared logs, likewise.
    """
    exchanges = {exchange.name: exchange for exchange in topology.exchanges}
    for section, holders in (
        ("exchanges", topology.exchanges),
        ("queues", topology.queues),
        ("logs", topology.logs),
    ):
        for holder in holders:
            for index, binding in enumerate(holder.bindings):
                path = ObjectPath.of(section, holder.name, "bindings", index)
                yield from _source_problems(path, binding, names)
                yield from binding_problems(path, binding, exchanges.get(binding.exchange))
    yield from _alternate_problems(topology, names)
    sound_logs = {log.name: log for log in topology.logs}
    for group in topology.groups:
        yield from _group_problems(group, logs, sound_logs)


def _source_problems(path: ObjectPath, binding: Binding, names: Collection[str]) -> Iterator[Finding]:
    if binding.exchange == "":
        text = "every queue is bound to the default exchange by its own name already; remove this binding"
        yield Finding(UNDECLARED, path, text)
    elif binding.exchange not in names:
        hint = did_you_mean(binding.exchange, names)
        yield Finding(UNDECLARED, path / "exchange", f"exchange {binding.exchange!r} is not declared{hint}")


def _alternate_problems(topology: Topology, names: Collection[str]) -> Iterator[Finding]:
    for exchange in topology.exchanges:
        if exchange.alternate is not None and exchange.alternate not in names:
            path = ObjectPath.of("exchanges", exchange.name, "alternate")
            hint = did_you_mean(exchange.alternate, names)
            yield Finding(UNDECLARED, path, f"exchange {exchange.alternate!r} is not declared{hint}")
    yield from alternate_circles(topology)


def alternate_circles(topology: Topology) -> Iterator[Finding]:
    """One for each circle of exchanges that are each other's alternate."""
    alternates = {exchange.name: exchange.alternate for exchange in topology.exchanges if exchange.alternate}
    for cycle in cycles(alternates):
        path = ObjectPath.of("exchanges", cycle[0], "alternate")
        yield Finding(ALTERNATE_CIRCLE, path, f"alternates in a circle, {' -> '.join(cycle)}; remove one of them")


def _group_problems(group: Group, names: Collection[str], logs: Mapping[str, Log]) -> Iterator[Finding]:
    if group.log not in names:
        path = ObjectPath.of("groups", group.key, "log")
        yield Finding(UNDECLARED, path, f"log {group.log!r} is not declared{did_you_mean(group.log, names)}")
    elif group.start != "latest" and is_start(group.start) and group.log in logs and not logs[group.log].history:
        needs = f"{group.start!r} needs a log that keeps history; set history=True on log {group.log!r}"
        yield Finding(UNFIT, ObjectPath.of("groups", group.key, "start"), f"{needs}, or start='latest'")


def cycles(following: Mapping[str, str]) -> list[tuple[str, ...]]:
    """The circles in a graph in which every node leads to one other at most.

    Args:
        following: Where each node leads.

    Returns:
        Each circle once, beginning and ending with its first name in alphabetical order.
    """
    found: dict[frozenset[str], tuple[str, ...]] = {}
    for start in sorted(following):
        path, node = [start], following[start]
        while node in following and node not in path:
            path.append(node)
            node = following[node]
        # Only the node where a circle begins closes it; a node that merely leads into one does not.
        if node == start:
            found.setdefault(frozenset(path), (*path, start))
    return list(found.values())
