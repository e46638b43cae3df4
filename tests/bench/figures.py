"""What is measured, and what it must reach."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from typing import Any

import msgspec


class Goal(msgspec.Struct, frozen=True):
    """What a figure must reach, and what it aims at."""

    must: float
    aim: float | None = None


class Figure(msgspec.Struct, kw_only=True):
    """One row of the table.

    Args:
        transport: "memory", "rabbitmq quorum", ...; "" where it makes no difference.
        name: What was measured.
        unit: Of the values.
        values: One for each repetition.
        plain: The same work by a plain loop on the same driver; () where there is none.
        raw: What the broker gives a bare socket that decodes and executes nothing; () where there is none.
        goal: None where none is set.
        rising: More is better.
        details: Whatever else was seen.
    """

    transport: str
    name: str
    unit: str
    values: list[float]
    plain: list[float] = []
    raw: list[float] = []
    goal: Goal | None = None
    rising: bool = True
    details: dict[str, Any] = {}

    @property
    def value(self) -> float:
        return median(self.values)

    @property
    def beside(self) -> float | None:
        """The plain loop's value."""
        return median(self.plain) if self.plain else None

    @property
    def limit(self) -> float | None:
        """The bare socket's value."""
        return median(self.raw) if self.raw else None

    @property
    def ratio(self) -> float | None:
        """This value to the plain loop's: the median of the repetitions' own ratios, because both were measured
        within seconds and a noisy machine slows both."""
        pairs = zip(self.values, self.plain, strict=False)
        return median(value / plain for value, plain in pairs) if self.plain else None

    @property
    def verdict(self) -> str:
        if self.goal is None:
            return ""
        return "reached" if self._meets(self.goal.must) else "below" if self.rising else "above"

    def _meets(self, wanted: float) -> bool:
        return self.value >= wanted if self.rising else self.value <= wanted


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """How to measure.

    Args:
        directory: Where databases are made; durable writes are as fast as its disk.
        quick: Small numbers: whether it works rather than how fast it is.
        repeat: Repetitions of each rate.
        concurrency: Slots of a worker where nothing else is said.
    """

    directory: str
    quick: bool = False
    repeat: int = 3
    concurrency: int = 64

    def count(self, full: int, quick: int) -> int:
        return quick if self.quick else full


Measure = Callable[[str, Options], list[Figure]]
"""Measures one theme on one transport."""
