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

    def repeated(self) -> list[list[Line]]:
        """Attempts that were started more than once: the starts of each."""
        attempts: dict[tuple[str, int], list[Line]] = defaultdict(list)
        for starts in self.starts.values():
            for line in starts:
                attempts[line.what, line.attempt].append(line)
        return [starts for starts in attempts.values() if len(starts) > 1]

    def cut_short(self) -> int:
        """Repeated attempts whose earlier executions had not ended: they ran when their process died."""
        ended = {(line.what, line.attempt, line.pid) for ends in self.ends.values() for line in ends}
        return sum(
            (line.what, line.attempt, line.pid) not in ended for starts in self.repeated() for line in starts[:-1]
        )

    def in_commit(self) -> dict[int, int]:
        """By process: repeated attempts that had ended there, so that only their commit was under way."""
        ended = {(line.what, line.attempt, line.pid) for ends in self.ends.values() for line in ends}
        found: dict[int, int] = defaultdict(int)
        for starts in self.repeated():
            for line in starts[:-1]:
                found[line.pid] += (line.what, line.attempt, line.pid) in ended
        return dict(found)

    def unexplained(self, killed: set[int], *, in_steps: bool = False) -> list[list[Line]]:
        """Repeated attempts that no kill explains: of which not every execution but the last was by a killed process.

        Args:
            killed: The processes that were killed.
            in_steps: A kill between the publish of a retry and the acknowledgement of what failed repeats that attempt,
                and with it each later one.
        """
        repeated = self.repeated()
        before = {(starts[0].what, starts[0].attempt + 1) for starts in repeated} if in_steps else set()
        return [
            starts
            for starts in repeated
            if not {line.pid for line in starts[:-1]} <= killed and (starts[0].what, starts[0].attempt) not in before
        ]
