"""How descriptor fields become canonical: the same value however it was written.

A constructor leaves what it cannot convert as it is: ``validate`` reports every wrong value of a topology at once,
with its path.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

import msgspec


def canonical(struct: msgspec.Struct, **converters: Callable[[Any], Any]) -> None:
    """Replace fields of a frozen struct by their canonical form; for use in ``__post_init__`` only.

    Args:
        struct: The struct under construction.
        converters: Field name to the function that gives the canonical value.
    """
    for name, convert in converters.items():
        value = getattr(struct, name)
        changed = convert(value)
        if changed is not value:
            msgspec.structs.force_setattr(struct, name, changed)


def seconds(value: Any) -> Any:
    """A ``timedelta`` or whole number as float seconds; anything else as it is."""
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    return value


def time_text(value: Any) -> Any:
    """A ``datetime`` as text; anything else as it is."""
    return value.isoformat() if isinstance(value, datetime) else value


def as_tuple(value: Any) -> Any:
    """A list as a tuple; anything else as it is."""
    return tuple(value) if isinstance(value, list) else value


def name_of(value: Any) -> Any:
    """The name of a descriptor; a name, or anything else, as it is."""
    return value.name if isinstance(value, msgspec.Struct) and hasattr(value, "name") else value


def own_mapping(value: Any) -> Any:
    """A copy of a mapping that nobody else can change; an empty one as None; anything else as it is."""
    return (dict(value) or None) if isinstance(value, Mapping) else value


def names_in(mapping: Mapping[str, object] | None) -> frozenset[str]:
    """The hashable part of a mapping, for a struct that holds one: the values may be anything before validation."""
    return frozenset(mapping or ())
