"""From a file's name to its topology: with what it includes, and as one environment wants it.

Everything that is read lies in the directory of the first file or below it: an include is a relative path without
``..``, and a symbolic link may not lead out.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from brokerkit.errors import TopologyError
from brokerkit.operations.files.building import built
from brokerkit.operations.files.document import LARGEST_FILE, Document, Place, Problem, Unreadable
from brokerkit.operations.files.merging import NEW_IN_OVERLAY, added, overlaid, part
from brokerkit.operations.files.toml_text import parse_toml
from brokerkit.operations.files.yaml_text import parse_yaml
from brokerkit.topology import Finding, ObjectPath, Topology
from brokerkit.topology.suggestion import similar

INCLUDE = "BK002"
ENVIRONMENT = "BK003"
TYPE = "BK005"
MOST_FILES = 100

_PARSERS = {".yaml": parse_yaml, ".yml": parse_yaml, ".toml": parse_toml}
_NOT_DECLARED = frozenset({"includes", "overlays"})


class Loaded(msgspec.Struct, frozen=True):
    """What was read.

    Args:
        topology: As far as it can be understood; valid only without problems.
        problems: All that is wrong, by place.
        suspicious: What may be a slip.
        places: Where everything of the topology stands.
        environments: The overlays that there are.
        texts: The text of each file, by its name.
    """

    topology: Topology
    problems: tuple[Problem, ...]
    suspicious: tuple[Problem, ...]
    places: Mapping[ObjectPath, Place]
    environments: tuple[str, ...]
    texts: Mapping[str, str]


def load(file: str | os.PathLike[str], env: str | None = None) -> Topology:
    """The topology of a file.

    Args:
        file: A ``.yaml``, ``.yml`` or ``.toml`` file.
        env: The overlay to apply. Default None: the file as it is.

    Raises:
        TopologyError: With all that is wrong, each with its file, line, column and path.
        ConfigurationError: PyYAML is not installed.
    """
    loaded = read(file, env)
    if loaded.problems:
        raise TopologyError([*map(str, loaded.problems)])
    return loaded.topology


def read(file: str | os.PathLike[str], env: str | None = None) -> Loaded:
    """The topology of a file and what is wrong with it; the arguments are those of ``load``.

    Raises:
        ConfigurationError: PyYAML is not installed.
    """
    path = Path(file)
    reader = _Reader(path, env)
    document = reader.whole()
    topology, findings = built(document, default_name=path.name.partition(".")[0])
    problems = [*document.problems, *(Problem(finding, document.place(finding.path)) for finding in findings)]
    problems = list(dict.fromkeys(problems))
    problems.sort(key=lambda problem: problem.place or Place(""))
    slips = [problem for problem in problems if problem.finding.rule == NEW_IN_OVERLAY]
    return Loaded(
        topology,
        tuple(problem for problem in problems if problem not in slips),
        tuple(slips),
        document.places,
        tuple(sorted(reader.environments)),
        reader.texts,
    )


class _Reader:
    """Reads the files of one topology."""

    def __init__(self, file: Path, env: str | None) -> None:
        self._file, self._env = file, env
        self._root = Path(os.path.realpath(file.parent))
        self._done: set[Path] = set()
        self.environments: set[str] = set()
        self.texts: dict[str, str] = {}

    def whole(self) -> Document:
        """Everything together."""
        try:
            document = self._document(self._file, ())
        except Unreadable as error:
            return Document({}, {}, [error.problem])
        if self._env is not None and self._env not in self.environments:
            known = ", ".join(sorted(self.environments)) or "none"
            text = f"there is no overlay {self._env!r}{similar(self._env, self.environments)}; there are: {known}"
            path = ObjectPath.of("overlays")
            document.problems.append(Problem(Finding(ENVIRONMENT, path, text), Place(str(self._file))))
        return document

    def _document(self, file: Path, chain: tuple[Path, ...]) -> Document:
        """A file as the environment wants it, with what it includes."""
        real = Path(os.path.realpath(file))
        self._done.add(real)
        document = self._overlaid(self._parsed(file), file)
        for index, name in enumerate(self._includes(document)):
            path = ObjectPath.of("includes", index)
            place = document.place(path) or Place(str(file))
            try:
                included = self._included(file.parent, name, (*chain, real), place)
            except Unreadable as error:
                document.problems.append(error.problem)
                continue
            if included is not None:
                document = added(document, included)
        return document

    def _parsed(self, file: Path) -> Document:
        parse = _PARSERS.get(file.suffix.lower())
        if parse is None:
            raise Unreadable("takes a file that ends in .yaml, .yml or .toml; rename it", Place(str(file)))
        self.texts[str(file)] = text = _text_of(file)
        return parse(text, str(file))

    def _overlaid(self, document: Document, file: Path) -> Document:
        overlays = document.data.get("overlays")
        if not isinstance(overlays, dict):
            return document  # what else it may be is said when the topology is built
        self.environments |= overlays.keys()
        if self._env is None or self._env not in overlays:
            return document
        path = ObjectPath.of("overlays", self._env)
        given = overlays[self._env]
        if isinstance(given, str):
            place = document.place(path) or Place(str(file))
            overlay = self._parsed(self._inside(file.parent, given, place))
        elif isinstance(given, dict):
            overlay = part(document, path)
        else:
            return document
        for key in sorted(_NOT_DECLARED & overlay.data.keys()):
            at = ObjectPath.of(key)
            overlay.problems.append(Problem(Finding(INCLUDE, at, "an overlay has none; remove it"), overlay.place(at)))
            del overlay.data[key]
        return overlaid(document, overlay)

    def _includes(self, document: Document) -> list[str]:
        given: Any = document.data.get("includes") or []
        return [name for name in given if isinstance(name, str)] if isinstance(given, list) else []

    def _included(self, directory: Path, name: str, chain: tuple[Path, ...], place: Place) -> Document | None:
        file = self._inside(directory, name, place)
        real = Path(os.path.realpath(file))
        if real in chain:
            circle = " -> ".join(each.name for each in (*chain[chain.index(real) :], real))
            raise Unreadable(f"{name!r} is included in a circle, {circle}; remove one of them", place, INCLUDE)
        if real in self._done:
            return None
        if len(self._done) >= MOST_FILES:
            raise Unreadable(f"more than {MOST_FILES} files; put some of them together", place, INCLUDE)
        return self._document(file, chain)

    def _inside(self, directory: Path, name: str, place: Place) -> Path:
        """A file that is named in another one; nothing outside the root is even looked at."""
        if not name or "\0" in name or "\\" in name or re.match("[A-Za-z]:|/", name) or ".." in name.split("/"):
            text = f"{name!r} is not a relative path without '..'; name a file beside this one or below it"
            raise Unreadable(text, place, INCLUDE)
        file = directory / name
        if not Path(os.path.realpath(file)).is_relative_to(self._root):
            text = f"{name!r} leads out of {self._file.parent} by a symbolic link; copy the file instead"
            raise Unreadable(text, place, INCLUDE)
        return file


def _text_of(file: Path) -> str:
    place = Place(str(file))
    try:
        if not file.is_file():
            why = "is a directory, not a file" if file.is_dir() else "there is no such file"
            raise Unreadable(f"{why}; check the name", place)
        with file.open("rb") as opened:
            content = opened.read(LARGEST_FILE + 1)
    except (OSError, ValueError) as error:
        raise Unreadable(f"cannot be read: {getattr(error, 'strerror', None) or error}", place) from error
    if len(content) > LARGEST_FILE:
        raise Unreadable(f"larger than {LARGEST_FILE // 1024**2} MiB; split it with includes", place)
    try:
        return content.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise Unreadable("is not UTF-8; save it as UTF-8", Place(str(file), line)) from error
