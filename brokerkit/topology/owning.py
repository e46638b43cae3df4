"""What an app declares itself, what it only compares, what it takes as it is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import msgspec

from brokerkit.errors import TopologyError
from brokerkit.topology.descriptors import Topology
from brokerkit.topology.implied import implied
from brokerkit.topology.modes import SECTIONS, with_modes
from brokerkit.topology.options import Mode
from brokerkit.topology.union import union

_OF_CONSUMERS = {"retry", "timeout", "max_deliveries", "strict", "weights", "max_wait", "mode", "start"}
"""What each app decides for its own workers; a broker may have it otherwise."""


def owned(topology: Topology) -> Topology:
    """What an app declares."""
    return _part(topology, lambda mode: mode == "own")


def verified(topology: Topology) -> Topology:
    """What an app compares with what others have declared, with the dead-letter queues that it implies."""
    return _part(implied(topology), lambda mode: mode == "verify")


def _part(topology: Topology, wanted: Callable[[Mode], bool]) -> Topology:
    whole = with_modes(topology)
    sections = {name: tuple(each for each in getattr(whole, name) if wanted(each.mode or "own")) for name in SECTIONS}
    return msgspec.structs.replace(whole, **sections)


def unlike(wanted: Topology, declared: Topology) -> list[str]:
    """In what a broker's topology is not as an app describes it: one line for each object and attribute.

    Args:
        wanted: What must be there.
        declared: What is.
    """
    there = implied(declared)
    return [line for section in SECTIONS for line in _unlike(section, wanted, there)]


def _unlike(section: str, wanted: Topology, there: Topology) -> Iterator[str]:
    key = "key" if section == "groups" else "name"
    known = {getattr(each, key): each for each in getattr(there, section)}
    for each in getattr(wanted, section):
        name = getattr(each, key)
        found = known.get(name)
        if found is None:
            fix = "have its owner declare it, or set mode='own'"
            yield f"{section}.{name}: it is not on the broker, and mode='verify' does not create it; {fix}"
            continue
        for field in each.__struct_fields__:
            ours, theirs = getattr(each, field), getattr(found, field)
            if field == "bindings":
                lacking = [binding for binding in ours if binding not in theirs]
                for binding in lacking:
                    yield f"{section}.{name}.bindings: {binding.exchange} by {binding.key!r} is not bound there"
            elif field not in _OF_CONSUMERS and ours != theirs:
                yield f"{section}.{name}.{field}: it is {theirs!r} on the broker, and {ours!r} here; make the two agree"


def to_store(topology: Topology, fragments: Iterable[Topology]) -> Topology:
    """What a broker that keeps each app's part of the topology is to keep of it, once the rest has been compared.

    Args:
        topology: What an app declares.
        fragments: Those of all apps, its own too.

    Raises:
        TopologyError: What others have declared is not as the app describes it, with all that differs.
    """
    declared = union([*fragments])
    own = owned(topology)
    problems = unlike(verified(topology), declared)
    logs = {log.name for log in (*declared.logs, *own.logs)}
    for group in own.groups:
        if group.log not in logs:
            problems.append(
                f"groups.{group.key}.log: log {group.log!r} is not on the broker; have its owner declare it"
            )
    if problems:
        raise TopologyError(problems)
    return own
