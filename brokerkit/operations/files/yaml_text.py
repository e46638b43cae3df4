"""YAML, as data only: no tags, no types but YAML 1.2's, every key once, aliases within bounds.

PyYAML reads the syntax; what the events mean is decided here, because its own constructor keeps no places, lets later
keys win in silence, and takes ``no`` for a truth value, as YAML 1.1 did. https://yaml.org/spec/1.2.2/#103-core-schema
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from brokerkit.errors import ConfigurationError
from brokerkit.operations.files.document import DEEPEST, MOST_VALUES, Document, Place, Problem, Unreadable
from brokerkit.topology import Finding, ObjectPath

TWICE = "BK008"

_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_TRUTH = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_SPECIAL = re.compile(r"(?P<sign>[-+]?)\.(?P<what>inf|Inf|INF)|\.(?P<nan>nan|NaN|NAN)")
_MOST_DIGITS = 40


def parse_yaml(text: str, file: str) -> Document:
    """Read a file.

    Args:
        text: Its text.
        file: Its name, for places.

    Raises:
        Unreadable: It is no YAML, or more than data.
        ConfigurationError: PyYAML is not installed.
    """
    yaml = _library(file)
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        return _Builder(file).document(iter(yaml.parse(text, Loader=loader)))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = _place(file, mark) if mark is not None else Place(file)
        raise Unreadable(f"no YAML: {error.problem or error.context}; correct the syntax", place) from error
    except yaml.YAMLError as error:
        why = " ".join(str(error).split("\n")[0].split())
        raise Unreadable(f"no YAML: {why}; remove the character", Place(file)) from error


def _library(file: str) -> Any:
    try:
        import yaml
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"{file} needs the package 'PyYAML': pip install 'brokerkit[yaml]'; TOML needs nothing"
        ) from error
    return yaml


class _Anchored(NamedTuple):
    """What an anchor stands for, and how many values that is."""

    path: ObjectPath
    value: Any
    size: int


class _Builder:
    """Makes values of a file's events."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._found = Document({}, {}, [])
        self._anchors: dict[str, _Anchored | None] = {}
        self._count = 0

    def document(self, events: Iterator[Any]) -> Document:
        """All of it, as one mapping."""
        self._events = events
        first = next(event for event in events if not _is(event, "StreamStart"))
        if not _is(first, "StreamEnd"):
            start = next(events)
            data = self._value(start, ObjectPath())
            if isinstance(data, dict):
                self._found.data = data
            elif data is not None:
                raise self._refused("takes names of sections (queues:, exchanges:, ...) at the top", start)
            next(events)  # the document's end
            if not _is(after := next(events), "StreamEnd"):
                raise self._refused("one document a file; move what follows '---' to a file of its own", after)
        return self._found

    def _value(self, event: Any, path: ObjectPath) -> Any:
        if _is(event, "Alias"):
            return self._alias(event, path)
        if event.tag is not None:
            raise self._refused(f"tags are not read; remove {event.tag!r}", event)
        if event.anchor is not None:
            if event.anchor in self._anchors:
                raise self._refused(f"the anchor &{event.anchor} is there twice; rename one", event)
            self._anchors[event.anchor] = None
        before = self._count
        self._counted(1, event)
        value = self._plain(event, path)
        if event.anchor is not None:
            self._anchors[event.anchor] = _Anchored(path, value, self._count - before)
        return value

    def _plain(self, event: Any, path: ObjectPath) -> Any:
        if _is(event, "Scalar"):
            return self._scalar(event)
        if len(path) >= DEEPEST:
            raise self._refused(f"nested more than {DEEPEST} levels deep", event)
        return self._sequence(path) if _is(event, "SequenceStart") else self._mapping(path)

    def _sequence(self, path: ObjectPath) -> list[Any]:
        items: list[Any] = []
        while not _is(event := next(self._events), "SequenceEnd"):
            place = path / len(items)
            self._found.places[place] = _place(self._file, event.start_mark)
            items.append(self._value(event, place))
        return items

    def _mapping(self, path: ObjectPath) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while not _is(event := next(self._events), "MappingEnd"):
            key, place = self._key(event), _place(self._file, event.start_mark)
            inside = path / key
            if key in found:
                text = f"the key is there twice, first at line {self._found.places[inside].line}; keep one"
                self._found.problems.append(Problem(Finding(TWICE, inside, text), place))
                self._skip(next(self._events), inside)
                continue
            self._found.places[inside] = place
            found[key] = self._value(next(self._events), inside)
        return found

    def _skip(self, event: Any, path: ObjectPath) -> None:
        """Read a value that is not kept."""
        kept = self._found
        self._found = Document({}, {}, kept.problems)
        self._value(event, path)
        self._found = kept

    def _key(self, event: Any) -> str:
        if not _is(event, "Scalar") or event.tag is not None:
            raise self._refused("a key is a text", event)
        if event.value == "<<" and event.implicit[0]:
            raise self._refused("merge keys (<<) are not read; write the fields, or use an alias as a value", event)
        return str(event.value)

    def _alias(self, event: Any, path: ObjectPath) -> Any:
        if event.anchor not in self._anchors:
            raise self._refused(f"there is no anchor &{event.anchor} before this", event)
        known = self._anchors[event.anchor]
        if known is None:
            raise self._refused(f"the anchor &{event.anchor} contains itself", event)
        self._counted(known.size, event)
        place = _place(self._file, event.start_mark)
        return self._copied(known.value, path, place)

    def _copied(self, value: Any, path: ObjectPath, place: Place) -> Any:
        """A copy for another path, all of which stands where the alias does."""
        self._found.places.setdefault(path, place)
        if isinstance(value, dict):
            return {key: self._copied(held, path / key, place) for key, held in value.items()}
        if isinstance(value, list):
            return [self._copied(held, path / index, place) for index, held in enumerate(value)]
        return value

    def _counted(self, values: int, event: Any) -> None:
        self._count += values
        if self._count > MOST_VALUES:
            raise self._refused(f"more than {MOST_VALUES} values; aliases multiply what they stand for", event)

    def _scalar(self, event: Any) -> Any:
        text = event.value
        if not event.implicit[0]:  # quoted, or a block
            return text
        if text in _NULL:
            return None
        if text in _TRUTH:
            return _TRUTH[text]
        if _INT.fullmatch(text):
            return self._whole(text, event)
        if _FLOAT.fullmatch(text):
            return float(text)
        special = _SPECIAL.fullmatch(text)
        if special is None:
            return text
        return math.nan if special["nan"] else float(f"{special['sign']}inf")

    def _whole(self, text: str, event: Any) -> int:
        if len(text) <= _MOST_DIGITS:
            number = int(text, 0 if text[:2] in {"0o", "0x"} else 10)
            if -(2**63) <= number < 2**63:
                return number
        raise self._refused(f"whole numbers have 64 bits, which {text[:_MOST_DIGITS]!r} exceeds", event)

    def _refused(self, text: str, event: Any) -> Unreadable:
        return Unreadable(text, _place(self._file, event.start_mark))


def _place(file: str, mark: Any) -> Place:
    return Place(file, mark.line + 1, mark.column + 1)


def _is(event: Any, kind: str) -> bool:
    return type(event).__name__ == f"{kind}Event"
