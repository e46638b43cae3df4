"""What happened, from the journal, the dead-letter queue and the deaths of processes. Nothing here is assumed."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable

import msgspec

from brokerkit.demo.journal import Line
from brokerkit.demo.plan import Key, Part


class Row(msgspec.Struct, kw_only=True):
    """Counts of one part.

    Args:
        title: Its words.
        sent: Messages confirmed by the broker, one for each place they went to.
        succeeded: Of these, finished at least once.
        retried: Attempts after the first.
        run_again: Runs of an attempt that had been started before.
        dead_lettered: In the dead-letter queue.
        lost: Neither finished nor dead-lettered.
        position: Mean position among all first starts, 1 for the first one.
    """

    title: str
    sent: int = 0
    succeeded: int = 0
    retried: int = 0
    run_again: int = 0
    dead_lettered: int = 0
    lost: int = 0
    position: float = 0.0


class Findings:
    """Collects journal lines and counts them."""

    def __init__(self) -> None:
        self.done: set[Key] = set()
        self.running: Counter[int] = Counter()
        """Handlers that run, by process."""
        self.retried = 0
        self._starts: dict[Key, list[Line]] = defaultdict(list)
        self._order: dict[Key, int] = {}
        self._dues: list[float] = []

    def add(self, lines: Iterable[Line]) -> None:
        """Take journal lines, in their order."""
        for line in lines:
            key = (line.source, line.id)
            self.running[line.pid] += 1 if line.event == "start" else -1
            if line.event == "start":
                self._started(key, line)
            elif line.event == "done":
                self.done.add(key)

    def _started(self, key: Key, line: Line) -> None:
        self._order.setdefault(key, len(self._order) + 1)
        known = {start.attempt for start in self._starts[key]}
        self._starts[key].append(line)
        self.retried += line.attempt > 1 and line.attempt not in known
        if line.due and line.attempt == 1 and not known:
            self._dues.append(line.at - line.due)

    @property
    def early(self) -> int:
        """Delayed messages that started before they were due."""
        return sum(late < 0 for late in self._dues)

    @property
    def latest(self) -> float:
        """Seconds the latest delayed message started after it was due."""
        return max(self._dues, default=0.0)

    def unexplained(self, dead_pids: Collection[int]) -> int:
        """Runs of an attempt whose earlier run was in a process that did not die."""
        found = 0
        for starts in self._starts.values():
            earlier: dict[int, Line] = {}
            for start in starts:
                if (before := earlier.get(start.attempt)) is not None and before.pid not in dead_pids:
                    found += 1
                earlier[start.attempt] = start
        return found

    def pids(self, part: Part) -> set[int]:
        """The processes that ran something of a part."""
        return {start.pid for key in part.keys for start in self._starts.get(key, ())}

    def row(self, part: Part, dead: Collection[Key]) -> Row:
        """Count one part."""
        starts = [start for key in part.keys for start in self._starts.get(key, ())]
        attempts = {(start.source, start.id, start.attempt) for start in starts}
        positions = [self._order[key] for key in part.keys if key in self._order]
        return Row(
            title=part.title,
            sent=len(part.keys),
            succeeded=len(part.keys & self.done),
            retried=sum(attempt > 1 for _, _, attempt in attempts),
            run_again=len(starts) - len(attempts),
            dead_lettered=len(part.keys.intersection(dead)),
            lost=len(part.keys - self.done - set(dead)),
            position=sum(positions) / len(positions) if positions else 0.0,
        )


def total(rows: Iterable[Row]) -> Row:
    """The sum of all rows."""
    result = Row(title="total")
    for row in rows:
        for name in ("sent", "succeeded", "retried", "run_again", "dead_lettered", "lost"):
            setattr(result, name, getattr(result, name) + getattr(row, name))
    return result
