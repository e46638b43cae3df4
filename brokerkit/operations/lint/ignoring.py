"""What somebody has opted out of: by comments in files, or by hand. Errors cannot be ignored.

``# brokerkit: ignore[BK109]`` concerns what its line declares, with all that is in it; on a line of its own, the next
line. ``# brokerkit: ignore-file[BK109]`` concerns the file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import NamedTuple

from brokerkit.errors import ConfigurationError
from brokerkit.operations.files.document import Place
from brokerkit.operations.lint.rules import rule
from brokerkit.topology import Finding, ObjectPath

UNKNOWN = "BK015"

_COMMENT = re.compile(r"#\s*brokerkit:\s*ignore(?P<file>-file)?\[(?P<codes>[^\]]*)\]")
_NOTHING = re.compile(r"\s*(#.*)?")


class Ignore(NamedTuple):
    """Rules that do not count at a line, or in a file.

    Args:
        file: The file.
        line: The line it concerns; 0 for all.
        codes: The rules.
        place: Where the comment stands.
    """

    file: str
    line: int
    codes: frozenset[str]
    place: Place


def ignores_in(file: str, text: str) -> Iterator[Ignore]:
    """The comments of a file."""
    if "brokerkit:" not in text:
        return
    lines = text.split("\n")
    for number, line in enumerate(lines, 1):
        if (found := _COMMENT.search(line)) is not None:
            codes = frozenset(code.strip() for code in found["codes"].split(",") if code.strip())
            concerned = 0 if found["file"] else number if line[: found.start()].strip() else _next(lines, number)
            yield Ignore(file, concerned, codes, Place(file, number, found.start() + 1))


def _next(lines: list[str], number: int) -> int:
    """The first line after this one that says something."""
    return next((at for at in range(number + 1, len(lines) + 1) if not _NOTHING.fullmatch(lines[at - 1])), number)


def unknown_codes(ignores: list[Ignore]) -> Iterator[tuple[Finding, Place]]:
    """Comments that name rules that do not exist."""
    for ignore in ignores:
        for code in sorted(ignore.codes):
            if rule(code) is None:
                text = f"there is no rule {code!r}; brokerkit topology lint --explain lists them"
                yield Finding(UNKNOWN, ObjectPath(), text), ignore.place


def is_ignored(finding: Finding, places: Mapping[ObjectPath, Place], ignores: list[Ignore]) -> bool:
    """Whether a comment concerns the finding: at its own place, or at that of something around it."""
    if not ignores:
        return False
    around = [places.get(ObjectPath(finding.path[:length])) for length in range(1, len(finding.path) + 1)]
    lines = {(place.file, place.line) for place in around if place is not None}
    files = {file for file, _ in lines}
    return any(
        finding.rule in ignore.codes and ((ignore.file, ignore.line) in lines if ignore.line else ignore.file in files)
        for ignore in ignores
    )


class Exemption(NamedTuple):
    """A rule that does not count for some paths.

    Args:
        code: The rule.
        pattern: Which paths, as ``queues.audit*``.
    """

    code: str
    pattern: str

    @classmethod
    def parse(cls, text: str) -> Exemption:
        """``BK109``, or ``BK109=queues.audit*``.

        Raises:
            ConfigurationError: There is no such rule, or it is an error.
        """
        code, _, pattern = text.partition("=")
        known = rule(code)
        if known is None:
            raise ConfigurationError(f"there is no rule {code!r}; brokerkit topology lint --explain lists them")
        if known.severity == "error":
            raise ConfigurationError(f"{code} is an error and cannot be ignored; mend what it finds")
        return cls(code, pattern or "*")

    def covers(self, finding: Finding) -> bool:
        """Whether it does not count here."""
        path = str(finding.path)
        return finding.rule == self.code and (fnmatchcase(path, self.pattern) or path.startswith(f"{self.pattern}."))
