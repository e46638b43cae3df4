"""Which deliveries of one channel are open, and with how few frames some of them are settled. Pure."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple


class Frame(NamedTuple):
    """One frame that settles deliveries.

    Args:
        tag: The delivery tag.
        multiple: It settles every open delivery up to that tag.
    """

    tag: int
    multiple: bool


class Acks:
    """The open deliveries of one channel, whose tags count up from 1 without a gap.

    What is settled in one call and has no older open delivery is the finished prefix: one frame settles it with
    ``multiple``. What lies beyond the oldest one that stays open is settled tag by tag, never with ``multiple``: that
    would settle the open one, too.
    """

    def __init__(self) -> None:
        self._open: set[int] = set()
        self._oldest = 1
        self._newest = 0

    def __len__(self) -> int:
        return len(self._open)

    def __contains__(self, tag: int) -> bool:
        return tag in self._open

    def any_until(self, tag: int) -> bool:
        """Whether one up to this tag is open."""
        return self._advance() <= tag

    def delivered(self, tag: int) -> None:
        """The broker has delivered this one."""
        self._open.add(tag)
        self._newest = tag

    def settle(self, tags: Collection[int]) -> list[Frame]:
        """Close some open deliveries, all with the same outcome.

        Args:
            tags: Open ones, in any order; one that is not open is left out.

        Returns:
            The frames that do it, in the order of their tags.
        """
        mine = sorted(self._open.intersection(tags))
        self._open.difference_update(mine)
        oldest = self._advance()
        prefix = [tag for tag in mine if tag < oldest]
        frames = [Frame(prefix[-1], len(prefix) > 1)] if prefix else []
        frames += [Frame(tag, False) for tag in mine[len(prefix) :]]
        return frames

    def _advance(self) -> int:
        """The oldest open tag; beyond the newest when none is open."""
        oldest = self._oldest
        while oldest not in self._open and oldest <= self._newest:
            oldest += 1
        self._oldest = oldest
        return oldest
