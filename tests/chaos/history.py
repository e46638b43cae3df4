"""What happened, read from the log outside the broker."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple


class Line(NamedTuple):
    """One line of the log."""

    word: str
    what: str
    pid: int
    attempt: int


def read(path: Path) -> list[Line]:
    lines = (line.split() for line in path.read_text().splitlines())
    return [Line(word, what, int(pid), int(attempt)) for word, what, pid, attempt in lines]


class History:
    """Executions by task, and what is wrong with them."""

    def __init__(self, lines: Iterable[Line]) -> None:
        self.starts: dict[str, list[Line]] = defaultdict(list)
        self.ends: dict[str, list[Line]] = defaultdict(list)
        for line in lines:
            if line.word == "start":
                self.starts[line.what].append(line)
            elif line.word == "end":
                self.ends[line.what].append(line)

    def lost(self, sent: Iterable[int]) -> list[int]:
        """Tasks that never ended."""
        return [number for number in sent if not self.ends[str(number)]]

    def repeated(self) -> dict[str, list[Line]]:
        """Attempts that were started more than once, by task."""
        found = {}
        for what, starts in self.starts.items():
            attempts = [line.attempt for line in starts]
            if len(set(attempts)) < len(attempts):
                found[what] = starts
        return found

    def unexplained(self, killed: set[int]) -> list[str]:
        """Repeated tasks of which not every execution but the last was by a process that was killed."""
        return [what for what, starts in self.repeated().items() if not {line.pid for line in starts[:-1]} <= killed]
