"""How many deliveries a consumer lets the broker push, and when it changes its mind. Pure: the time is a parameter.

The broker holds back what exceeds the prefetch of a consumer, which is fixed while it lives. So a consumer begins with
what is asked for first, and is made anew with more when that keeps its caller waiting. What was pushed and is not asked
for would be kept from others: it is given back, and the consumer begins again when somebody asks.
"""

from __future__ import annotations

import enum
from typing import NamedTuple

MOST = 2000
"""The most that a quorum queue pushes to one consumer: https://www.rabbitmq.com/docs/quorum-queues"""
FIXED = 32
"""The prefetch of the consumer of a queue with a single active consumer: whoever is made anew loses its turn."""
FEW = 8
"""The least prefetch of one of several lanes, until some of it had to be given back."""

RAISE_EVERY = 0.1
"""Seconds between two raises at the least: each is three questions to the broker."""
KEEP = 1.0
"""Seconds that what was pushed may wait to be asked for."""
_PENALTY = 5.0
_LONGEST_PENALTY = 60.0
"""Seconds without a raise after giving something back; they double each time, so that a worker that asks for much,
then for little, does not go round in circles. One of several lanes is raised all the same, to no more than is asked
for: a less urgent one would run meanwhile."""
_FORGIVEN = 10.0
"""So many penalties after the last time, it counts as the first time again."""


class Step(enum.Enum):
    """What the consumer has to do."""

    NOTHING = "nothing"
    START = "start"
    """Consume with ``prefetch``."""
    RAISE = "raise"
    """Cancel; the next decision is to start with more."""
    GIVE_BACK = "give back"
    """Cancel, and hand back what nobody asked for."""


class Move(NamedTuple):
    """A decision.

    Args:
        step: What to do now.
        prefetch: With ``START``.
        again: Look again after so many seconds at the latest; None when only an event can change anything.
    """

    step: Step
    prefetch: int = 0
    again: float | None = None


class Credit:
    """The prefetch of one consumer after the other.

    Args:
        most: The most that one consumer lets the broker push. Default 2000.
        several: It is one of several lanes, of which the urgent ones must not run dry: raise sooner, and by more.
            Default False.
        fixed: There is a single active consumer: neither raise nor give back. Default False.
    """

    def __init__(self, most: int = MOST, *, several: bool = False, fixed: bool = False) -> None:
        self._most, self._several, self._fixed = most, several, fixed
        self._every = RAISE_EVERY / 5 if several else RAISE_EVERY
        self._grow = 0
        self._limit = 0
        self._used = 0
        self._full = False
        self._unasked: float | None = None
        self._raised_at = float("-inf")
        self._given_back_at = float("-inf")
        self._penalty = 0.0

    @property
    def consuming(self) -> bool:
        """There is a consumer."""
        return self._limit > 0

    @property
    def full(self) -> bool:
        """The broker has filled the consumer, and may have more."""
        return self._full

    @property
    def used(self) -> int:
        """What the present consumer has been given that is not settled."""
        return self._used

    def asked(self) -> None:
        """Somebody asks for messages, or has taken some."""
        self._unasked = None

    def delivered(self) -> None:
        """The broker has pushed one."""
        self._used += 1
        if self._used >= self._limit:
            self._full = True

    def settled(self, count: int) -> bool:
        """So many that the present consumer was given are settled; True when the broker had filled it, and so will push
        more at once if it has any."""
        filled, self._full = self._full and count > 0, self._full and count <= 0
        self._used -= count
        return filled

    def started(self, prefetch: int) -> None:
        """There is a new consumer; what earlier ones were given does not count against it."""
        self._limit, self._used, self._full = prefetch, 0, False
        self._grow = 0

    def stopped(self) -> None:
        """There is no consumer any more."""
        self._limit, self._used, self._full = 0, 0, False

    def raised(self, now: float) -> None:
        """The consumer has made way for one with more."""
        self._raised_at = now
        self._grow = self._limit * 2 if self._several and now >= self._given_back_at + self._penalty else 0
        self.stopped()

    def gave_back(self, now: float) -> None:
        """What nobody had asked for has gone back."""
        forgiven = now - self._given_back_at > self._penalty * _FORGIVEN
        self._penalty = _PENALTY if forgiven else min(self._penalty * 2, _LONGEST_PENALTY)
        self._given_back_at = now

    def decide(self, wanted: int, waiting: int, now: float) -> Move:
        """What to do.

        Args:
            wanted: What is asked for at this moment, beyond what waits here; 0 while nobody waits for messages.
            waiting: Pushed, and not taken yet.
            now: Seconds of a clock that never goes back.
        """
        if wanted > 0 and not self._limit:
            return Move(Step.START, FIXED if self._fixed else self._first(wanted))
        if self._fixed:
            return Move(Step.NOTHING)
        if waiting:
            return self._keep_or_give_back(now)
        self._unasked = None
        return self._raise_or_not(wanted, now) if self._limit else Move(Step.NOTHING)

    def _first(self, wanted: int) -> int:
        few = FEW if self._several and not self._penalty else 0
        return min(max(wanted, self._grow, few), self._most)

    def _keep_or_give_back(self, now: float) -> Move:
        if self._unasked is None:
            self._unasked = now
        left = self._unasked + KEEP - now
        return Move(Step.NOTHING, again=left) if left > 0 else Move(Step.GIVE_BACK)

    def _raise_or_not(self, wanted: int, now: float) -> Move:
        enough = self._used + min(wanted, self._most)
        # As long as the broker has not filled it, more room would not bring more messages.
        if wanted <= 0 or not self._full or enough <= self._limit:
            return Move(Step.NOTHING)
        penalty = float("-inf") if self._several else self._given_back_at + self._penalty
        left = max(self._raised_at + self._every, penalty) - now
        return Move(Step.NOTHING, again=left) if left > 0 else Move(Step.RAISE)
