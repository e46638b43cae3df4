"""The union of several apps' topologies: what one broker holds for all of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, TypeVar

import msgspec

from brokerkit.errors import TopologyConflict, TopologyError
from brokerkit.topology.dead_letters import dead_letter_circles
from brokerkit.topology.descriptors import Topology
from brokerkit.topology.exchange import Binding, Exchange
from brokerkit.topology.log import Group, Log
from brokerkit.topology.modes import with_modes
from brokerkit.topology.options import Mode
from brokerkit.topology.queue import Queue
from brokerkit.topology.references import alternate_circles

Descriptor = Exchange | Queue | Log | Group
D = TypeVar("D", Exchange, Queue, Log, Group)

_MERGED = frozenset({"bindings", "mode"})
_MODES: tuple[Mode, ...] = ("trust", "verify", "own")


class _Entry(NamedTuple):
    """A descriptor with the app that declared it first."""

    descriptor: Descriptor
    owner: str


def union(fragments: Iterable[Topology], name: str = "union") -> Topology:
    """Everything that at least one of the topologies declares.

    What several declare is merged: bindings are united, and of the modes the strongest counts (own, verify, trust).
    All other attributes must be equal. The order of the fragments does not matter, except that an error speaks of a
    later fragment as the one that wants something: put this program's own last.

    Args:
        fragments: One topology per app, named by the app.
        name: The name of the result. Default ``union``.

    Returns:
        The union, sorted by name throughout.

    Raises:
        TopologyConflict: Two apps declare an object with different attributes; ``owner`` is the app of the earlier
            fragment.
        TopologyError: What each of them declares leads in a circle together: dead letters, or alternates of exchanges.
    """
    kept: dict[tuple[str, str], _Entry] = {}
    for fragment in map(with_modes, fragments):
        for kind, key, descriptor in _descriptors(fragment):
            _refuse_other_kind(kept, kind, key)
            known = kept.get((kind, key)) or _Entry(descriptor, fragment.name)
            kept[kind, key] = _Entry(_merge(f"{kind} {key}", known, descriptor), known.owner)
    merged = Topology(
        name,
        exchanges=_of_type(Exchange, kept),
        queues=_of_type(Queue, kept),
        logs=_of_type(Log, kept),
        groups=_of_type(Group, kept),
    )
    if circles := [*dead_letter_circles(merged), *alternate_circles(merged)]:
        raise TopologyError(list(map(str, circles)))
    return merged


def _descriptors(topology: Topology) -> Iterator[tuple[str, str, Descriptor]]:
    """Every descriptor with its kind and the key it has among its kind."""
    yield from (("exchange", exchange.name, exchange) for exchange in topology.exchanges)
    yield from (("queue", queue.name, queue) for queue in topology.queues)
    yield from (("log", log.name, log) for log in topology.logs)
    yield from (("group", group.key, group) for group in topology.groups)


def _of_type(wanted: type[D], kept: dict[tuple[str, str], _Entry]) -> tuple[D, ...]:
    return tuple(entry.descriptor for _, entry in sorted(kept.items()) if isinstance(entry.descriptor, wanted))


def _refuse_other_kind(kept: dict[tuple[str, str], _Entry], kind: str, key: str) -> None:
    """Queues and logs share their names: a binding and a dead letter must know which one is meant."""
    other = {"queue": "log", "log": "queue"}.get(kind)
    if other is not None and (clash := kept.get((other, key))) is not None:
        raise TopologyConflict(f"{other} {key}", "kind", wanted=kind, found=other, owner=clash.owner)


def _merge(entity: str, known: _Entry, new: Descriptor) -> Descriptor:
    old = known.descriptor
    for field in old.__struct_fields__:
        wanted, found = getattr(new, field), getattr(old, field)
        if field not in _MERGED and wanted != found:
            raise TopologyConflict(entity, field, wanted=wanted, found=found, owner=known.owner)
    merged: dict[str, Any] = {}
    if not isinstance(old, Group) and not isinstance(new, Group):
        merged["bindings"] = _unite(old.bindings, new.bindings)
    merged["mode"] = max(old.mode, new.mode, key=_strength)
    return msgspec.structs.replace(old, **merged)


def _strength(mode: Mode | None) -> int:
    return _MODES.index(mode or "own")


def _unite(first: Iterable[Binding], second: Iterable[Binding]) -> tuple[Binding, ...]:
    """Distinct bindings in an order that does not depend on who declared them."""
    distinct = {binding_key(binding): binding for binding in (*first, *second)}
    return tuple(distinct[key] for key in sorted(distinct))


def binding_key(binding: Binding) -> tuple[str, str, str, bytes]:
    """What makes it a binding of its own."""
    # Encoded, because in Python True equals 1, which it does not on a headers exchange.
    headers = msgspec.msgpack.encode(binding.headers, order="deterministic")
    return binding.exchange, binding.key, binding.match, headers
