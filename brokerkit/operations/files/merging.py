"""Putting together what several files, or several parts of one, say of a topology.

An overlay changes: where both it and the file have a mapping, key by key; anything else it replaces as a whole, lists
too. An included file adds: what two files declare is a problem, never a choice of one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from brokerkit.operations.files.document import Document, Problem
from brokerkit.topology import Finding, ObjectPath
from brokerkit.topology.suggestion import similar

TWICE = "BK008"
NEW_IN_OVERLAY = "BK014"
SECTIONS = ("exchanges", "queues", "logs", "groups")


def overlaid(base: Document, overlay: Document) -> Document:
    """The base as the overlay changes it; both stay as they are.

    What both have as a mapping stands where the base has it, what the overlay replaces or adds, in the overlay.
    """
    replaced = list(_replaced(base.data, overlay.data, ObjectPath()))
    gone = {place for place in base.places if any(place[: len(path)] == path for path in replaced)}
    places = {path: place for path, place in base.places.items() if path not in gone}
    places |= {path: place for path, place in overlay.places.items() if path not in places}
    found = [*base.problems, *overlay.problems, *_suspicious(base, overlay)]
    return Document(_merged(base.data, overlay.data), places, found)


def _merged(base: Any, overlay: Any) -> Any:
    if not (isinstance(base, dict) and isinstance(overlay, dict)):
        return overlay
    return base | {key: _merged(base[key], value) if key in base else value for key, value in overlay.items()}


def _replaced(base: dict[str, Any], overlay: dict[str, Any], path: ObjectPath) -> Iterator[ObjectPath]:
    """The paths whose values in the base the overlay replaces as a whole."""
    for key, value in overlay.items():
        if key in base and isinstance(base[key], dict) and isinstance(value, dict):
            yield from _replaced(base[key], value, path / key)
        elif key in base:
            yield path / key


def _suspicious(base: Document, overlay: Document) -> list[Problem]:
    """What an overlay declares under a name that is almost one of the file's."""
    found = []
    for section in SECTIONS:
        known, new = _names(base, section), _names(overlay, section)
        for name in [name for name in new if name not in known]:
            if hint := similar(name, known):
                text = f"the overlay declares {name!r} anew, which the file itself has not{hint}"
                path = ObjectPath.of(section, name)
                found.append(Problem(Finding(NEW_IN_OVERLAY, path, text), overlay.place(path)))
    return found


def _names(document: Document, section: str) -> list[str]:
    held = document.data.get(section)
    return list(held) if isinstance(held, dict) else []


def added(first: Document, second: Document) -> Document:
    """Both together; what the second declares once more is a problem, and the first's counts."""
    found = Document(dict(first.data), second.places | first.places, [*first.problems, *second.problems])
    for section in SECTIONS:
        mine, theirs = first.data.get(section), second.data.get(section)
        if not isinstance(mine, dict) or not isinstance(theirs, dict):
            if mine is None and theirs is not None:
                found.data[section] = theirs
            continue
        found.data[section] = theirs | mine
        for name in [name for name in theirs if name in mine]:
            path = ObjectPath.of(section, name)
            text = f"{first.place(path)} declares it, too; keep one"
            found.problems.append(Problem(Finding(TWICE, path, text), second.place(path)))
    return found


def part(document: Document, path: ObjectPath) -> Document:
    """What stands at a path, as a document of its own."""
    data: Any = document.data
    for key in path:
        data = data[key]
    places = {ObjectPath(at[len(path) :]): place for at, place in document.places.items() if at[: len(path)] == path}
    places.pop(ObjectPath(), None)
    return Document(data, places, [])
