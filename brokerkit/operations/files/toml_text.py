"""TOML: the standard library reads the values, and tells no places but of what is no TOML; keys are found here."""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_right
from typing import Any

from brokerkit.operations.files.document import DEEPEST, MOST_VALUES, Document, Place, Unreadable
from brokerkit.topology import ObjectPath

_WHERE = re.compile(r"(?P<what>.*) \(at (?:line (?P<line>\d+), column (?P<column>\d+)|end of document)\)", re.DOTALL)
_BLANK = re.compile(r"(?:[ \t\r\n]+|#[^\n]*)*")
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_STRING = re.compile(
    r'"""(?:[^\\]|\\.)*?"{3,5}(?!")'
    r"|'''.*?'{3,5}(?!')"
    r'|"(?:[^"\\]|\\.)*"'
    r"|'[^']*'",
    re.DOTALL,
)
_PLAIN = re.compile(r"[^,\]}#\n]+")


def parse_toml(text: str, file: str) -> Document:
    """Read a file.

    Args:
        text: Its text.
        file: Its name, for places.

    Raises:
        Unreadable: It is no TOML.
    """
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _no_toml(error, text, file) from error
    except RecursionError as error:
        raise Unreadable(f"nested more than {DEEPEST} levels deep", Place(file)) from error
    except ValueError as error:  # a number of thousands of digits
        raise Unreadable(f"no TOML: {error}", Place(file)) from error
    _check(data, 0, file)
    return Document(data, Finder(text, file).places)


def _no_toml(error: tomllib.TOMLDecodeError, text: str, file: str) -> Unreadable:
    said = _WHERE.fullmatch(str(error))
    if said is None:
        return Unreadable(f"no TOML: {error}; correct the syntax", Place(file))
    at_end = Place(file, text.count("\n") + 1, len(text.rpartition("\n")[2]) + 1)
    place = Place(file, int(said["line"]), int(said["column"])) if said["line"] else at_end
    return Unreadable(f"no TOML: {said['what'][:1].lower()}{said['what'][1:]}; correct the syntax", place)


def _check(value: Any, depth: int, file: str) -> int:
    """How many values it is."""
    if depth > DEEPEST:
        raise Unreadable(f"nested more than {DEEPEST} levels deep", Place(file))
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise Unreadable(f"whole numbers have 64 bits, which {str(value)[:40]} exceeds", Place(file))
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    count = 1 + sum(_check(each, depth + 1, file) for each in inside)
    if count > MOST_VALUES:
        raise Unreadable(f"more than {MOST_VALUES} values", Place(file))
    return count


class Finder:
    """Finds where each key and item of a text stands that is known to be TOML.

    Attributes:
        places: What was found.
    """

    def __init__(self, text: str, file: str) -> None:
        self.places: dict[ObjectPath, Place] = {}
        self._text, self._file, self._at = text, file, 0
        self._lines = [0, *(found.end() for found in re.finditer("\n", text))]
        self._arrays: dict[ObjectPath, int] = {}
        self._statements()

    def _statements(self) -> None:
        table = ObjectPath()
        while self._skip_blank() < len(self._text):
            if self._takes("[["):
                table = self._header("]]", several=True)
            elif self._takes("["):
                table = self._header("]", several=False)
            else:
                self._pair(table)

    def _header(self, end: str, *, several: bool) -> ObjectPath:
        """A table's name; of an array of tables the one that the name means from here on."""
        path = ObjectPath()
        *outer, last = self._key()
        for part, place in outer:
            path = self._entered(path, part, place)
        part, place = last
        if several:
            array = path / part
            self.places.setdefault(array, place)
            self._arrays[array] = self._arrays.get(array, -1) + 1
            path = array / self._arrays[array]
            self.places[path] = place
        else:
            path = self._entered(path, part, place)
        self._skip_blank()
        self._takes(end)
        return path

    def _entered(self, path: ObjectPath, part: str, place: Place) -> ObjectPath:
        path /= part
        self.places.setdefault(path, place)
        return path / self._arrays[path] if path in self._arrays else path

    def _pair(self, table: ObjectPath) -> None:
        path = table
        for part, place in self._key():
            path /= part
            self.places.setdefault(path, place)
        self._skip_blank()
        self._takes("=")
        self._value(path)

    def _key(self) -> list[tuple[str, Place]]:
        """The parts of a key, up to what follows it."""
        parts: list[tuple[str, Place]] = []
        while True:
            self._skip_blank()
            place = self._place()
            quoted = _STRING.match(self._text, self._at)
            bare = quoted or _BARE.match(self._text, self._at)
            assert bare is not None  # the text is TOML
            self._at = bare.end()
            parts.append((tomllib.loads(f"key = {bare[0]}")["key"] if quoted else bare[0], place))
            self._skip_blank()
            if not self._takes("."):
                return parts

    def _value(self, path: ObjectPath) -> None:
        self._skip_blank()
        if self._takes("["):
            self._items(path)
        elif self._takes("{"):
            while self._skip_blank() and not self._takes("}"):
                self._pair(path)
                self._skip_blank()
                self._takes(",")
        else:
            scalar = _STRING.match(self._text, self._at) or _PLAIN.match(self._text, self._at)
            assert scalar is not None  # the text is TOML
            self._at = scalar.end()

    def _items(self, path: ObjectPath) -> None:
        index = 0
        while self._skip_blank() and not self._takes("]"):
            self.places[path / index] = self._place()
            self._value(path / index)
            self._skip_blank()
            self._takes(",")
            index += 1

    def _skip_blank(self) -> int:
        found = _BLANK.match(self._text, self._at)
        self._at = found.end() if found is not None else self._at
        return self._at

    def _takes(self, token: str) -> bool:
        if not self._text.startswith(token, self._at):
            return False
        self._at += len(token)
        return True

    def _place(self) -> Place:
        line = bisect_right(self._lines, self._at)
        return Place(self._file, line, self._at - self._lines[line - 1] + 1)
