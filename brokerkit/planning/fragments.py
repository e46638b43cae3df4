"""Comparing what an app declares with what a broker keeps of all apps. Pure.

Brokers that route by the union of the apps' topologies have nothing else to compare: what they keep is what is there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

from brokerkit.planning.change import Action, Change, Difference, Kind, Options, Risk, text_of
from brokerkit.topology import Binding, Exchange, Group, Log, Queue, Topology, implied, owned, union
from brokerkit.topology.union import binding_key

Descriptor = Exchange | Queue | Log | Group
Key = tuple[Kind, str]
"""What a descriptor is known by."""

_SECTIONS: Mapping[str, Kind] = {"exchanges": "exchange", "logs": "log", "queues": "queue", "groups": "group"}
"""In the order in which they are created."""
_NO_ATTRIBUTE = {"name", "log", "bindings", "mode"}


class Comparison(NamedTuple):
    """What has to change, and what the broker is to keep then.

    Args:
        fragment: The app's, from then on.
        before: What all apps declare now, by key, with what that implies.
        after: What they will.
        changes: In order; who holds how much is not known yet.
        leftovers: What the app owns and no longer declares, in words.
    """

    fragment: Topology
    before: Mapping[Key, Descriptor]
    after: Mapping[Key, Descriptor]
    changes: tuple[Change, ...]
    leftovers: tuple[str, ...]

    @property
    def gone(self) -> tuple[Key, ...]:
        """What will not be there any more."""
        return tuple(key for key in self.before if key not in self.after)


def compare(fragments: Mapping[str, Topology], wanted: Topology, options: Options) -> Comparison:
    """Compare.

    Args:
        fragments: What the broker keeps, by app.
        wanted: What one of them declares now.
        options: How to plan.

    Raises:
        TopologyConflict: Another app declares an object with other attributes.
    """
    mine = fragments.get(wanted.name, Topology(wanted.name))
    others = [fragment for name, fragment in sorted(fragments.items()) if name != wanted.name]
    fragment, leftovers = _next(mine, wanted, union(others), options)
    before, after = (_by_key(implied(union([*others, each]))) for each in (mine, fragment))
    changes = [*_objects(before, after, _by_key(mine), _by_key(fragment)), *_bindings(before, after)]
    ordered = sorted(changes, key=lambda change: _ORDER.index(change.action))
    return Comparison(fragment, before, after, tuple(ordered), tuple(leftovers))


_ORDER = (
    Action.ADOPT,
    Action.CREATE,
    Action.UPDATE,
    Action.REPLACE,
    Action.BIND,
    Action.UNBIND,
    Action.RELEASE,
    Action.DELETE,
)


def key_of(descriptor: Descriptor) -> Key:
    """What a descriptor is known by."""
    if isinstance(descriptor, Group):
        return "group", descriptor.key
    kinds: Mapping[type, Kind] = {Exchange: "exchange", Queue: "queue", Log: "log"}
    return kinds[type(descriptor)], descriptor.name


def _by_key(topology: Topology) -> dict[Key, Any]:
    return {key_of(each): each for section in _SECTIONS for each in getattr(topology, section)}


# What the app's fragment becomes


def _next(mine: Topology, wanted: Topology, others: Topology, options: Options) -> tuple[Topology, list[str]]:
    """The app's fragment when the plan has been carried out, and what stays in it though it is no longer declared."""
    own, known = _by_key(owned(wanted)), _by_key(mine)
    mentioned, elsewhere = _by_key(implied(wanted)), _by_key(implied(others))
    kept = dict(own)
    leftovers: list[str] = []
    for key, descriptor in known.items():
        if key in own:
            kept[key], stayed = _with_bindings(own[key], descriptor, options)
            leftovers += stayed
        elif key in mentioned:
            # Its mode has changed: somebody else is to declare it, and until somebody does it must stay.
            if key not in elsewhere:
                kept[key] = descriptor
        elif not options.prune:
            kept[key] = descriptor
            leftovers.append(" ".join(key))
    if not options.prune:
        for key, grave in _forgotten_graves(mine, _topology(wanted.name, kept.values())):
            kept[key] = grave
            leftovers.append(" ".join(key))
    return _topology(wanted.name, kept.values()), leftovers


def _with_bindings(wanted: Any, known: Any, options: Options) -> tuple[Any, list[str]]:
    lacking = [] if isinstance(wanted, Group) else _lacking(known.bindings, wanted.bindings)
    if not lacking or options.prune:
        return wanted, []
    together = msgspec.structs.replace(wanted, bindings=(*wanted.bindings, *lacking))
    return together, [f"binding {binding_name(wanted, binding)}" for binding in lacking]


def _forgotten_graves(mine: Topology, after: Topology) -> Iterator[tuple[Key, Queue]]:
    """Dead-letter queues that nothing implies any more: they may hold something."""
    still = {queue.name for queue in implied(after).queues}
    for queue in implied(mine).queues:
        if queue.name not in still:
            yield ("queue", queue.name), queue


def _topology(name: str, descriptors: Iterable[Any]) -> Topology:
    found: dict[type, list[Any]] = {Exchange: [], Queue: [], Log: [], Group: []}
    for each in descriptors:
        found[type(each)].append(each)
    return Topology(name, found[Exchange], found[Queue], found[Log], found[Group])


# What differs


def _objects(
    before: Mapping[Key, Descriptor],
    after: Mapping[Key, Descriptor],
    mine: Mapping[Key, Descriptor],
    next_mine: Mapping[Key, Descriptor],
) -> Iterator[Change]:
    for key, wanted in after.items():
        kind, name = key
        if key not in before:
            yield Change(action=Action.CREATE, kind=kind, name=name)
        elif differing := tuple(_differences(before[key], wanted)):
            yield Change(action=Action.UPDATE, kind=kind, name=name, differences=differing, risk=Risk.LOW)
        elif key in next_mine and key not in mine:
            yield Change(action=Action.ADOPT, kind=kind, name=name, note="another app declares it, too")
    for key in reversed([*before]):
        kind, name = key
        if key not in after:
            blocked = "; ".join(_used_by(name, after)) if kind == "exchange" else ""
            yield Change(action=Action.DELETE, kind=kind, name=name, blocked=blocked, risk=Risk.LOW)
        elif key in mine and key not in next_mine:
            yield Change(action=Action.RELEASE, kind=kind, name=name, note="another app declares it")


def _differences(found: Any, wanted: Any) -> Iterator[Difference]:
    for field in wanted.__struct_fields__:
        old, new = getattr(found, field), getattr(wanted, field)
        if field not in _NO_ATTRIBUTE and old != new:
            yield Difference(field, text_of(msgspec.to_builtins(old)), text_of(msgspec.to_builtins(new)))


def _used_by(exchange: str, after: Mapping[Key, Descriptor]) -> Iterator[str]:
    """Who still needs an exchange."""
    for (kind, name), each in after.items():
        if isinstance(each, Group):
            continue
        if any(binding.exchange == exchange for binding in each.bindings):
            yield f"{kind} {name} is bound to it; remove that binding first"
        if isinstance(each, Exchange) and each.alternate == exchange:
            yield f"it is the alternate of exchange {name}; change that first"


def _bindings(before: Mapping[Key, Descriptor], after: Mapping[Key, Descriptor]) -> Iterator[Change]:
    for key, holder in after.items():
        if isinstance(holder, Group):
            continue
        known = before.get(key)
        old = () if known is None or isinstance(known, Group) else known.bindings
        for binding in _lacking(holder.bindings, old):
            yield Change(action=Action.BIND, kind="binding", name=binding_name(holder, binding), target=key)
        for binding in _lacking(old, holder.bindings):
            note, name = "messages of this route no longer reach it", binding_name(holder, binding)
            yield Change(action=Action.UNBIND, kind="binding", name=name, target=key, note=note, risk=Risk.HIGH)


def _lacking(wanted: Iterable[Binding], known: Iterable[Binding]) -> list[Binding]:
    there = set(map(binding_key, known))
    return [binding for binding in wanted if binding_key(binding) not in there]


def binding_name(holder: Exchange | Queue | Log, binding: Binding) -> str:
    """A binding in words: where it leads from and to, and which messages take it."""
    kind, name = key_of(holder)
    by = f" by {binding.key!r}" if binding.key else ""
    if binding.headers:
        by += f" by {binding.match} of {text_of(binding.headers)}"
    return f"{binding.exchange} -> {kind} {name}{by}"
