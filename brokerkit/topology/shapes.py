"""Types: a constructor takes any value, so validation holds every field against its annotation first."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date, time, timedelta
from typing import Any, Literal, get_args, get_origin

import msgspec

from brokerkit.topology.exchange import Binding
from brokerkit.topology.finding import Finding, ObjectPath
from brokerkit.topology.suggestion import similar

TYPE = "BK005"

# Values that msgspec would turn into text on the way, which would hide that they are not text.
_AS_THEY_ARE = (bytes, bytearray, date, time, timedelta)
_LOCATED = re.compile(r"(?P<what>.*?)(?: - at `(?:key in )?\$(?P<where>.*)`)?", re.DOTALL)
_SCALARS = (str, int, float, bool)
_STEP = re.compile(r"\.(?P<field>\w+)|\[(?P<index>\d+)\]|\[\.\.\.\]")


def has_types(topology: msgspec.Struct) -> bool:
    """Whether every field, however deep, is of its type; quicker than ``shape_problems``, which says what is not."""
    try:
        msgspec.convert(msgspec.to_builtins(topology, builtin_types=_AS_THEY_ARE), type(topology))
    except (msgspec.ValidationError, TypeError):
        return False
    return True


def shape_problems(path: ObjectPath, struct: msgspec.Struct) -> Iterator[Finding]:
    """One for each field whose value is not of the field's type.

    Args:
        path: Where the descriptor is, ``queues.payments``.
        struct: The descriptor.
    """
    for field in msgspec.structs.fields(struct):
        value, where = getattr(struct, field.name), path / field.name
        if field.name == "bindings" and isinstance(value, tuple):
            yield from _binding_problems(where, value)
        elif words := _words(field.type):
            yield from _literal_problems(where, value, words)
        else:
            yield from _type_problems(where, value, field.type)


def _words(wanted: Any) -> tuple[Any, ...]:
    """What a field takes that takes one of several words, with None where it may be left out; else nothing."""
    if get_origin(wanted) is Literal:
        return get_args(wanted)
    parts = get_args(wanted)
    literal = next((part for part in parts if get_origin(part) is Literal), None)
    return (*get_args(literal), None) if literal is not None and type(None) in parts else ()


def _binding_problems(path: ObjectPath, bindings: tuple[Any, ...]) -> Iterator[Finding]:
    for index, binding in enumerate(bindings):
        if isinstance(binding, Binding):
            yield from shape_problems(path / index, binding)
        else:
            yield Finding(TYPE, path / index, f"takes a binding (exchange.bind(...)), not {binding!r}")


def _literal_problems(path: ObjectPath, value: Any, allowed: tuple[str | None, ...]) -> Iterator[Finding]:
    if value in allowed:
        return
    hint = similar(value, [*filter(None, allowed)]) if isinstance(value, str) else ""
    text = f"takes one of {', '.join(filter(None, allowed))}, not {value!r}{hint}"
    yield Finding(TYPE, path, text)


def _type_problems(path: ObjectPath, value: Any, wanted: Any) -> Iterator[Finding]:
    try:
        msgspec.convert(msgspec.to_builtins(value, builtin_types=_AS_THEY_ARE), wanted)
    except (msgspec.ValidationError, TypeError) as error:
        # A TypeError means that the value has no form in a file at all.
        located = _LOCATED.fullmatch(str(error))
        what, where = (located["what"], located["where"] or "") if located else (str(error), "")
        place, culprit = path, value
        for step in _STEP.finditer(where):
            part, culprit = _inside(culprit, step)
            place /= part
        yield Finding(TYPE, place, f"{what.replace('`', '').lower()}; it is {culprit!r}")


def _inside(value: Any, step: re.Match[str]) -> tuple[str | int, Any]:
    """One step into a value, towards what msgspec complains of; of a mapping it does not say which key."""
    if step["field"]:
        return step["field"], getattr(value, step["field"])
    if step["index"]:
        return int(step["index"]), value[int(step["index"])]
    return next(
        ((str(key), held) for key, held in value.items() if not (isinstance(key, str) and isinstance(held, _SCALARS))),
        ("...", value),
    )
