"""Whether the broker has more of a lane of which nothing is at hand. Pure: the time is a parameter.

How late it comes depends on the broker's disk, so no time tells that a lane is empty: the broker does, asked after
everything that we had sent.
"""

from __future__ import annotations

PATIENCE = 2.0
"""Seconds that the less urgent lanes wait at the most for what the broker says it has, or for its answer. Another
worker may be the only one that gets it, or the lane cannot be read."""
ASK_EVERY = 0.01
"""Seconds between two questions while what the broker has does not come."""


class Remaining:
    """What is known of one lane. At first: nothing."""

    def __init__(self) -> None:
        self._none = False
        self._since: float | None = None
        self._ask_from = 0.0
        self.asked_after = 0

    def unknown(self) -> None:
        """The broker may have more: a consumer begins, it is full, or it has got room again. Answers to what was asked
        before do not count."""
        self._none = False
        self._since = None
        self._ask_from = 0.0
        self.asked_after += 1

    def told(self, count: int, asked_after: int, now: float) -> None:
        """The broker has so many ready, it says.

        Args:
            count: How many.
            asked_after: What the attribute was when it was asked.
            now: Seconds of a clock that never goes back.
        """
        if asked_after == self.asked_after:
            self._none = count == 0
            self._ask_from = now + ASK_EVERY

    def ask_at(self, now: float) -> float:
        """When to ask."""
        return max(now, self._ask_from)

    def out_of_reach(self) -> None:
        """Nothing can come for now."""
        self._none = True

    def wait(self, now: float) -> float:
        """Seconds for which the less urgent lanes should wait for more of this one; 0 when there is none."""
        if self._none:
            return 0.0
        if self._since is None:
            self._since = now
        left = self._since + PATIENCE - now
        if left <= 0:
            self._none = True
        return max(left, 0.0)
