"""From what a file says to a topology, driven by the descriptors' own fields; every problem at once."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from types import UnionType
from typing import Any, Union, get_args, get_origin

import msgspec

from brokerkit.operations.files.document import Document
from brokerkit.topology import Exchange, Finding, Group, Log, Mode, ObjectPath, Queue, Retry, Topology, problems
from brokerkit.topology.shapes import has_types, shape_problems
from brokerkit.topology.suggestion import similar
from brokerkit.topology.units import Bytes, Delay, Seconds, parse_duration, parse_size

UNKNOWN_KEY, TYPE, VALUE, NAME = "BK004", "BK005", "BK006", "BK007"
SECTIONS: Mapping[str, type[msgspec.Struct]] = {"exchanges": Exchange, "queues": Queue, "logs": Log, "groups": Group}
TOP = ("name", "mode", "includes", *SECTIONS, "overlays")
FROM_KEY: Mapping[type[msgspec.Struct], tuple[str, ...]] = {
    Exchange: ("name",),
    Queue: ("name",),
    Log: ("name",),
    Group: ("log", "name"),
}
"""The fields that the key of a descriptor stands for."""
PRESENT = {"present": True}
"""What a header is compared with in place of null, which TOML does not have: any value will do."""

_BAD: Any = object()
_COMPLAINT = re.compile(r"Retry\.(?P<field>\w+) (?P<text>.*)", re.DOTALL)


def built(document: Document, default_name: str) -> tuple[Topology, list[Finding]]:
    """The topology that a file describes, and everything that is wrong with it.

    Args:
        document: With what it includes, and overlaid.
        default_name: The topology's name where none is given.
    """
    builder = _Builder()
    topology = builder.topology(document.data, default_name)
    wrong = {finding.path for finding in builder.found}
    return topology, [*builder.found, *(found for found in problems(topology) if found.path not in wrong)]


class _Builder:
    """Makes descriptors; what cannot be one is left out and found fault with."""

    def __init__(self) -> None:
        self.found: list[Finding] = []

    def topology(self, data: Mapping[str, Any], default_name: str) -> Topology:
        self._refuse_unknown(ObjectPath(), data, TOP)
        self._check_includes(data.get("includes"))
        self._check_overlays(data.get("overlays"))
        name = data.get("name", default_name)
        sections: dict[str, Any] = {
            section: self._section(section, kind, data.get(section)) for section, kind in SECTIONS.items()
        }
        return Topology(name, mode=self._mode(data.get("mode", "own")), **sections)

    def _mode(self, given: Any) -> Mode:
        if given in get_args(Mode):
            mode: Mode = given
            return mode
        self._say(TYPE, ObjectPath.of("mode"), f"takes one of {', '.join(get_args(Mode))}, not {_shown(given)}")
        return "own"

    def _section(self, section: str, kind: type[msgspec.Struct], given: Any) -> tuple[Any, ...]:
        path = ObjectPath.of(section)
        if not isinstance(given, dict):
            if given is not None:
                self._say(TYPE, path, f"takes names, each with its fields, not {_shown(given)}")
            return ()
        made = [self._descriptor(path / name, kind, name, fields) for name, fields in given.items()]
        return tuple(each for each in made if each is not _BAD)

    def _descriptor(self, path: ObjectPath, kind: type[msgspec.Struct], key: str, given: Any) -> Any:
        names: tuple[str, ...] = (key,)
        if kind is Group:
            log, at, name = key.partition("@")
            names = (log, name)
            if not at:
                self._say(NAME, path, f"a group is named log@group, not {key!r}")
                return _BAD
        return self._struct(path, kind, {} if given is None else given, dict(zip(FROM_KEY[kind], names, strict=True)))

    def _struct(self, path: ObjectPath, kind: type[msgspec.Struct], given: Any, own: Mapping[str, str]) -> Any:
        types = {name: wanted for name, wanted in _types(kind).items() if name not in own}
        if not isinstance(given, dict):
            self._say(TYPE, path, f"takes fields ({', '.join(types)}), not {_shown(given)}")
            return _BAD
        self._refuse_unknown(path, given, types)
        fields = {
            name: self._value(path / name, given[name], wanted) for name, wanted in types.items() if name in given
        }
        fields = {name: value for name, value in fields.items() if value is not _BAD}
        missing = [name for name in _required(kind) if name not in {**given, **own}]
        if missing:
            self._say(VALUE, path, f"needs {' and '.join(missing)}")
        if missing or any(name in given and name not in fields for name in _required(kind)):
            return _BAD
        return self._retry(path, fields) if kind is Retry else self._sound(path, kind, dict(own), fields)

    def _sound(self, path: ObjectPath, kind: type[msgspec.Struct], own: dict[str, str], fields: dict[str, Any]) -> Any:
        """The descriptor, without values of wrong types, so that the rest of it can be checked as well. An exchange of
        an unknown type stays as it is: what its bindings may have depends on it."""
        made = kind(**own, **fields)
        if has_types(made) or kind is Exchange:
            return made
        wrong = list(shape_problems(path, made))
        self.found += wrong
        sound = fields.keys() - {finding.path[len(path)] for finding in wrong}
        if not sound.issuperset(name for name in _required(kind) if name not in own):
            return _BAD
        return kind(**own, **{name: value for name, value in fields.items() if name in sound})

    def _retry(self, path: ObjectPath, fields: dict[str, Any]) -> Retry:
        """The policy, without the values it does not take: unlike other descriptors it refuses them itself."""
        while True:
            try:
                return Retry(**fields)
            except ValueError as error:
                said = _COMPLAINT.fullmatch(str(error))
                if said is None:
                    raise
                self._say(VALUE, path / said["field"], said["text"])
                # A first delay beyond the default longest one is complained of as the longest.
                del fields[said["field"] if said["field"] in fields else "initial"]

    def _value(self, path: ObjectPath, value: Any, wanted: Any) -> Any:
        """A value for a field of that type; of a wrong type it stays as it is, and validation will say so."""
        alternatives = _alternatives(wanted)
        if value is None and type(None) in alternatives:
            return None
        for alternative in alternatives:
            origin = get_origin(alternative)
            if isinstance(alternative, type) and issubclass(alternative, msgspec.Struct):
                keep = isinstance(value, bool) and bool in alternatives
                return value if keep else self._struct(path, alternative, value, {})
            if origin is tuple:
                return self._several(path, value, get_args(alternative)[0])
            if origin is dict and isinstance(value, dict):
                return {name: None if held == PRESENT else held for name, held in value.items()}
        return self._number(path, value, alternatives)

    def _several(self, path: ObjectPath, value: Any, wanted: Any) -> Any:
        if not isinstance(value, list):
            self._say(TYPE, path, f"takes a list, not {_shown(value)}")
            return _BAD
        made = [self._value(path / index, item, wanted) for index, item in enumerate(value)]
        return tuple(each for each in made if each is not _BAD)

    def _number(self, path: ObjectPath, value: Any, alternatives: tuple[Any, ...]) -> Any:
        if isinstance(value, float) and value.is_integer() and any(_plain(each) is int for each in alternatives):
            return int(value)
        parse = parse_size if Bytes in alternatives else parse_duration
        if not isinstance(value, str) or not {Seconds, Delay, Bytes}.intersection(alternatives):
            return value
        try:
            return parse(value)
        except ValueError as error:
            self._say(VALUE, path, str(error))
            return _BAD

    def _check_includes(self, given: Any) -> None:
        path = ObjectPath.of("includes")
        if given is not None and not isinstance(given, list):
            self._say(TYPE, path, f"takes a list of files, not {_shown(given)}")
        for index, name in enumerate(given if isinstance(given, list) else ()):
            if not isinstance(name, str):
                self._say(TYPE, path / index, f"takes the name of a file, not {_shown(name)}")

    def _check_overlays(self, given: Any) -> None:
        path = ObjectPath.of("overlays")
        if given is not None and not isinstance(given, dict):
            self._say(TYPE, path, f"takes names of environments, each with its changes, not {_shown(given)}")
        for name, overlay in given.items() if isinstance(given, dict) else ():
            if overlay is not None and not isinstance(overlay, dict | str):
                self._say(
                    TYPE, path / name, f"takes changes, or the name of a file that has them, not {_shown(overlay)}"
                )

    def _refuse_unknown(self, path: ObjectPath, given: Mapping[str, Any], known: Any) -> None:
        for key in given:
            if key not in known:
                hint = similar(key, known) or f"; there are {', '.join(known)}"
                self._say(UNKNOWN_KEY, path / key, f"no such field{hint}")

    def _say(self, rule: str, path: ObjectPath, text: str) -> None:
        self.found.append(Finding(rule, path, text))


@cache
def _types(kind: type[msgspec.Struct]) -> Mapping[str, Any]:
    return {field.name: field.type for field in msgspec.structs.fields(kind)}


@cache
def _required(kind: type[msgspec.Struct]) -> tuple[str, ...]:
    return tuple(field.name for field in msgspec.structs.fields(kind) if field.required)


@cache
def _alternatives(wanted: Any) -> tuple[Any, ...]:
    return get_args(wanted) if get_origin(wanted) in {Union, UnionType} else (wanted,)


def _plain(wanted: Any) -> Any:
    """The type without its annotation."""
    return get_args(wanted)[0] if hasattr(wanted, "__metadata__") else wanted


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
