"""Types: a constructor takes any value, so validation holds every field against its annotation first."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date, time, timedelta
from typing import Any, Literal, get_args, get_origin

import msgspec

from brokerkit.topology.exchange import Binding
from brokerkit.topology.suggestion import did_you_mean

# Values that msgspec would turn into text on the way, which would hide that they are not text.
_AS_THEY_ARE = (bytes, bytearray, date, time, timedelta)
_LOCATED = re.compile(r"(?P<what>.*?)(?: - at `(?:key in )?\$(?P<where>.*)`)?", re.DOTALL)


def shape_problems(path: str, struct: msgspec.Struct) -> Iterator[str]:
    """One line for each field whose value is not of the field's type.

    Args:
        path: Where the descriptor is, ``queues.payments``.
        struct: The descriptor.
    """
    for field in msgspec.structs.fields(struct):
        value, where = getattr(struct, field.name), f"{path}.{field.name}"
        if field.name == "bindings" and isinstance(value, tuple):
            yield from _binding_problems(where, value)
        elif get_origin(field.type) is Literal:
            yield from _literal_problems(where, value, get_args(field.type))
        else:
            yield from _type_problems(where, value, field.type)


def _binding_problems(path: str, bindings: tuple[Any, ...]) -> Iterator[str]:
    for index, binding in enumerate(bindings):
        if isinstance(binding, Binding):
            yield from shape_problems(f"{path}[{index}]", binding)
        else:
            yield f"{path}[{index}]: takes a binding (exchange.bind(...)), not {binding!r}"


def _literal_problems(path: str, value: Any, allowed: tuple[str, ...]) -> Iterator[str]:
    if value in allowed:
        return
    hint = did_you_mean(value, allowed) if isinstance(value, str) else ""
    yield f"{path}: takes one of {', '.join(allowed)}, not {value!r}{hint if 'mean' in hint else ''}"


def _type_problems(path: str, value: Any, wanted: Any) -> Iterator[str]:
    try:
        msgspec.convert(msgspec.to_builtins(value, builtin_types=_AS_THEY_ARE), wanted)
    except (msgspec.ValidationError, TypeError) as error:
        # A TypeError means that the value has no form in a file at all.
        located = _LOCATED.fullmatch(str(error))
        what, where = (located["what"], located["where"]) if located else (str(error), None)
        yield f"{path}{where or ''}: {what.replace('`', '').lower()}; it is {value!r}"
