"""Whether a topology makes sense: every problem at once, each with its path and what to do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

from brokerkit.errors import TopologyError
from brokerkit.topology.dead_letters import dead_letter_problems
from brokerkit.topology.descriptors import Topology
from brokerkit.topology.exchange import Exchange
from brokerkit.topology.finding import Finding, ObjectPath
from brokerkit.topology.log import Group, Log
from brokerkit.topology.names import duplicate_problems, name_problems
from brokerkit.topology.options import Mode
from brokerkit.topology.queue import Queue
from brokerkit.topology.references import reference_problems
from brokerkit.topology.shapes import TYPE, has_types, shape_problems
from brokerkit.topology.values import value_problems

Descriptor = Exchange | Queue | Log | Group
_SECTIONS: dict[str, type[Descriptor]] = {"exchanges": Exchange, "queues": Queue, "logs": Log, "groups": Group}


def validate(topology: Topology) -> None:
    """Refuse a topology that contradicts itself.

    Args:
        topology: As declared, or after ``with_exchanges``, ``union`` or ``implied``. Only its value counts: an exchange
            must be listed in it, or added by ``with_exchanges``, to be known.

    Raises:
        TopologyError: With all that ``problems`` finds.
    """
    found = problems(topology)
    if found:
        raise TopologyError([*map(str, found)])


def problems(topology: Topology) -> list[Finding]:
    """Everything that is wrong with a topology.

    Args:
        topology: As for ``validate``.

    Returns:
        One per problem, whose text ends with what to do; empty for a valid topology. Of a descriptor with a field of
        the wrong type only that is reported.
    """
    found: list[Finding] = []
    sound = _sound_part(topology, found)
    descriptors: list[Descriptor] = [*sound.exchanges, *sound.queues, *sound.logs, *sound.groups]
    for item in descriptors:
        found += value_problems(_path_of(item), item)
    found += name_problems(sound)
    found += duplicate_problems(sound)
    found += reference_problems(sound, _names(topology.exchanges), _names(topology.logs))
    found += dead_letter_problems(sound)
    return list(dict.fromkeys(found))


def _sound_part(topology: Topology, found: list[Finding]) -> Topology:
    """The topology without the descriptors that have fields of wrong types, which go to ``found``."""
    if has_types(topology):
        return topology
    sound: dict[str, Any] = {"name": topology.name}
    if topology.mode not in get_args(Mode):
        found.append(
            Finding(TYPE, ObjectPath.of("mode"), f"takes one of {', '.join(get_args(Mode))}, not {topology.mode!r}")
        )
    if not isinstance(topology.name, str):
        found.append(Finding(TYPE, ObjectPath.of("name"), f"expected str; it is {topology.name!r}"))
        sound["name"] = "unnamed"
    for section, wanted in _SECTIONS.items():
        sound[section] = tuple(_sound_items(section, wanted, getattr(topology, section), found))
    return Topology(**sound)


def _sound_items(section: str, wanted: type[Descriptor], items: Any, found: list[Finding]) -> Iterator[Descriptor]:
    if not isinstance(items, tuple):
        text = f"takes a list of {wanted.__name__}, not {items!r}"
        found.append(Finding(TYPE, ObjectPath.of(section), text))
        return
    for index, item in enumerate(items):
        if not isinstance(item, wanted):
            text = f"takes {wanted.__name__}, not {item!r}"
            found.append(Finding(TYPE, ObjectPath.of(section, index), text))
            continue
        path = _path_of(item) if _has_name(item) else ObjectPath.of(section, index)
        wrong = list(shape_problems(path, item))
        found += wrong
        if not wrong:
            yield item


def _path_of(item: Descriptor) -> ObjectPath:
    section = next(section for section, wanted in _SECTIONS.items() if isinstance(item, wanted))
    return ObjectPath.of(section, item.key if isinstance(item, Group) else item.name)


def _names(items: Any) -> set[str]:
    """The names of all that was declared, sound or not, so that one mistake is reported once."""
    return {item.name for item in items if isinstance(item, get_args(Descriptor)) and _has_name(item)}


def _has_name(item: Any) -> bool:
    return isinstance(item.name, str)
