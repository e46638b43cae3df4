"""What one file says: plain values, and the place of each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from brokerkit.topology import Finding, ObjectPath

UNREADABLE = "BK001"
LARGEST_FILE = 4 * 1024 * 1024
"""Bytes of one file."""
MOST_VALUES = 200_000
"""Values in one file after its aliases have been expanded: a few lines of YAML can mean billions."""
DEEPEST = 32
"""Levels of nesting; a topology needs eight."""


class Place(NamedTuple):
    """Where something stands.

    Args:
        file: The file, as it was named.
        line: From 1.
        column: From 1.
    """

    file: str
    line: int = 1
    column: int = 1

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


class Problem(NamedTuple):
    """A finding and where it stands, None for what no file says."""

    finding: Finding
    place: Place | None = None

    def __str__(self) -> str:
        at = f"{self.place}: " if self.place is not None else ""
        return f"{at}{self.finding}" if self.finding.path else f"{at}{self.finding.text}"


class Unreadable(Exception):
    """The file cannot be read as what it is.

    Args:
        text: Why, and what to do.
        place: Where.
    """

    def __init__(self, text: str, place: Place, rule: str = UNREADABLE) -> None:
        super().__init__(text)
        self.problem = Problem(Finding(rule, ObjectPath(), text), place)


class Document(msgspec.Struct):
    """What a file says.

    Args:
        data: Its values.
        places: Where each key and item stands.
        problems: What is wrong with it though it could be read.
    """

    data: dict[str, Any]
    places: dict[ObjectPath, Place]
    problems: list[Problem] = []

    def place(self, path: ObjectPath) -> Place | None:
        """Where it stands, or what it would stand in; None if no part of the path is from the file."""
        return place_of(self.places, path)


def place_of(places: Mapping[ObjectPath, Place], path: ObjectPath) -> Place | None:
    """The place of a path, or of the nearest thing around it."""
    for length in range(len(path), 0, -1):
        if (found := places.get(ObjectPath(path[:length]))) is not None:
            return found
    return None
