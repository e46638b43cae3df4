"""Which dead letters are meant, and going through those."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import msgspec

from brokerkit.abilities import DeadEntry, DeadLetters, DeadLetterView, DeadMessage
from brokerkit.errors import ConfigurationError
from brokerkit.message import Scalar

AT_ONCE = 250
"""Entries looked at in one go; so many may be in memory."""


class DeadLetterFilter(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which dead letters are meant; every given field must match.

    Args:
        ids: Only those of these messages; None for all.
        error: The error's type, with or without its module (``ValueError``), a reason (``expired``), or a fingerprint.
        task: Wire name of the task or event.
        older: Died more than so many seconds ago. What nobody knows the time of is neither old nor new.
        newer: Died less than so many seconds ago.
        headers: Headers that must have these values, compared as text.
        limit: Only the oldest so many; None for all.
    """

    ids: tuple[str, ...] | None = None
    error: str = ""
    task: str = ""
    older: float | None = None
    newer: float | None = None
    headers: dict[str, Scalar] = {}
    limit: int | None = None

    @property
    def all(self) -> bool:
        """Whether nothing is left out."""
        return self == _ALL

    def matches(self, dead: DeadMessage, now: float) -> bool:
        """Whether an entry is meant, whatever the limit; the transport has looked at the ids."""
        return (
            (not self.task or dead.message.name == self.task)
            and self._is_of_age(dead, now)
            and all(_same(dead.message.headers.get(name), value) for name, value in self.headers.items())
            and (not self.error or self.error in _names_of(dead))
        )

    def _is_of_age(self, dead: DeadMessage, now: float) -> bool:
        if self.older is None and self.newer is None:
            return True
        age = now - dead.died
        return dead.died > 0 and (self.older is None or age > self.older) and (self.newer is None or age < self.newer)


_ALL = DeadLetterFilter()


def selection(wanted: Mapping[str, Any]) -> DeadLetterFilter:
    """A filter of these fields, in which durations may be timedeltas.

    Raises:
        ConfigurationError: There is no such field, or a value makes no sense.
    """
    plain = {name: value.total_seconds() if isinstance(value, timedelta) else value for name, value in wanted.items()}
    try:
        found = msgspec.convert(plain, DeadLetterFilter)
    except msgspec.ValidationError as error:
        raise ConfigurationError(f"dead letters: {error}") from error
    if found.limit is not None and found.limit < 0:
        raise ConfigurationError(f"dead letters: limit={found.limit} makes no sense; give a number >= 0, or None")
    return found


def _names_of(dead: DeadMessage) -> tuple[str, ...]:
    kind = dead.kind
    return kind, kind.rpartition(".")[2], dead.reason.value, dead.fingerprint


def _same(found: Scalar | None, wanted: Scalar) -> bool:
    return found is not None and _text(found) == _text(wanted)


def _text(value: Scalar) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


class Look:
    """Goes once through the dead letters that a filter means.

    Args:
        view: What the transport shows.
        wanted: Which of it.
        now: The time.

    Attributes:
        skipped: How many were seen that are not meant.
    """

    def __init__(self, view: DeadLetterView, wanted: DeadLetterFilter, now: float) -> None:
        self._view, self._wanted, self._now = view, wanted, now
        self._left = wanted.limit
        self._waiting: deque[DeadEntry] = deque()
        self.skipped = 0
        self.redrive = view.redrive
        self.purge = view.purge

    @property
    def complete(self) -> bool:
        """False when the broker ended the look before all had been seen."""
        return self._view.complete

    async def next(self, most: int = AT_ONCE) -> list[DeadEntry]:
        """The next entries that are meant; none at the end."""
        most = most if self._left is None else min(most, self._left)
        while most and not self._waiting:
            part = await self._view.next(most if self._wanted.all else AT_ONCE)
            if not part:
                break
            self._waiting += [entry for entry in part if self._wanted.matches(entry.dead, self._now)]
            self.skipped += len(part) - len(self._waiting)
        found = [self._waiting.popleft() for _ in range(min(most, len(self._waiting)))]
        if self._left is not None:
            self._left -= len(found)
        return found


@asynccontextmanager
async def looking(able: DeadLetters, source: str, wanted: DeadLetterFilter, now: float) -> AsyncIterator[Look]:
    """Look into the dead letters of a source."""
    since = 0.0 if wanted.newer is None else now - wanted.newer
    async with able.dead_letters(source, ids=wanted.ids, since=since) as view:
        yield Look(view, wanted, now)
