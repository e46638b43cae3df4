"""Dead letters by what failed: one line for a thousand that have the same cause."""

from __future__ import annotations

import msgspec

from brokerkit.abilities import DeadMessage
from brokerkit.fingerprint import fingerprint, normalised
from brokerkit.outcome import Reason

MOST = 10_000
"""Groups that are told apart; what belongs to none of them is only counted."""


class DeadLetterGroup(msgspec.Struct, frozen=True, kw_only=True):
    """Dead letters that failed alike.

    Args:
        fingerprint: 12 hexadecimal digits; the same for this failure in every process and version.
        count: How many.
        kind: The error's type, or the reason where there is none.
        reason: Why the first of them is here.
        task: Wire name of the task or event.
        error: The error's text, of the first of them.
        first: When the first died, seconds since the epoch; 0 if nobody knows.
        last: When the last died.
        example: Id of the first one's message.
    """

    fingerprint: str
    count: int
    kind: str
    reason: Reason
    task: str
    error: str
    first: float
    last: float
    example: str


class DeadLetterGroups(msgspec.Struct, frozen=True, kw_only=True):
    """What dead letters there are.

    Args:
        groups: The largest first.
        count: How many dead letters were meant; more than the groups have when there are more than 10 000 groups.
        complete: False when the broker ended the look before all had been seen.
    """

    groups: list[DeadLetterGroup]
    count: int
    complete: bool = True


class _Growing:
    """A group that is being counted."""

    __slots__ = ("count", "first", "kind", "last", "oldest", "text")

    def __init__(self, dead: DeadMessage, kind: str, text: str) -> None:
        self.kind, self.text = kind, text
        # Without the payload: there may be many groups, and a message may be large.
        self.oldest = msgspec.structs.replace(dead, message=msgspec.structs.replace(dead.message, body=b"", headers={}))
        self.first = self.last = dead.died
        self.count = 0

    def add(self, dead: DeadMessage) -> None:
        self.count += 1
        self.last = max(self.last, dead.died)
        if dead.died < self.first:
            self.first, self.oldest = dead.died, dead

    def closed(self) -> DeadLetterGroup:
        name = self.oldest.message.name
        return DeadLetterGroup(
            fingerprint=fingerprint(self.kind, self.text, name),
            count=self.count,
            kind=self.kind,
            reason=self.oldest.reason,
            task=name,
            error=self.oldest.error,
            first=self.first,
            last=self.last,
            example=self.oldest.message.id,
        )


class Grouping:
    """Counts dead letters by their fingerprint, in a memory that does not grow with their number."""

    def __init__(self) -> None:
        self._groups: dict[tuple[str, str, str], _Growing] = {}
        self._count = 0

    def add(self, dead: DeadMessage) -> None:
        """Count one."""
        self._count += 1
        kind, text = dead.kind, normalised(dead.error)
        key = kind, text, dead.message.name
        group = self._groups.get(key)
        if group is None:
            if len(self._groups) >= MOST:
                return
            group = self._groups[key] = _Growing(dead, kind, text)
        group.add(dead)

    def result(self, *, complete: bool) -> DeadLetterGroups:
        """What has been counted."""
        groups = sorted(
            (group.closed() for group in self._groups.values()),
            key=lambda group: (-group.count, group.first, group.fingerprint),
        )
        return DeadLetterGroups(groups=groups, count=self._count, complete=complete)
