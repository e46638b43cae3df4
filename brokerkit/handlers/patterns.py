"""Patterns of wire names: ``*`` stands for any run of characters, ``?`` for one."""

from __future__ import annotations

import fnmatch
import re
from functools import cached_property

from brokerkit.errors import ConfigurationError
from brokerkit.wire import NAME

_WILDCARD = re.compile(r"[*?]")


class Pattern:
    """A pattern, and how it stands to others.

    Args:
        text: The pattern, as ``Database*``.

    Raises:
        ConfigurationError: It has no wildcard, or matches no name that can travel.
    """

    def __init__(self, text: str) -> None:
        if not _WILDCARD.search(text):
            raise ConfigurationError(f"handler({text!r}) has neither * nor ?; for one name use task(name={text!r})")
        if not NAME.fullmatch(_WILDCARD.sub("x", text)):
            raise ConfigurationError(f"handler({text!r:.100}) matches no name: see the characters that names may have")
        self.text = text
        self.match = re.compile(fnmatch.translate(text)).match

    @cached_property
    def rank(self) -> tuple[int, int, int]:
        """The highest of those that match a name takes it: the longest beginning without a wildcard, then the most
        characters that are none, then the fewest ``*``."""
        beginning = _WILDCARD.split(self.text, maxsplit=1)[0]
        return len(beginning), len(_WILDCARD.sub("", self.text)), -self.text.count("*")

    def meets(self, other: Pattern) -> bool:
        """True when some text matches both."""
        one, two = self.text, other.text
        # By the characters used up of each: whether what was used can match a common text.
        waiting = [(0, 0)]
        reached = set(waiting)
        while waiting:
            i, j = waiting.pop()
            if i == len(one) and j == len(two):
                return True
            steps = _steps(one[i : i + 1], two[j : j + 1])
            new = {(i + first, j + second) for first, second in steps} - reached
            reached |= new
            waiting += new
        return False


def _steps(one: str, two: str) -> list[tuple[int, int]]:
    """How two patterns may go on together, given what comes next in each."""
    steps = []
    if one == "*":
        steps += [(1, 0), (0, 1)] if two else [(1, 0)]
    if two == "*":
        steps += [(0, 1), (1, 0)] if one else [(0, 1)]
    if one and two and "*" not in (one, two) and (one == two or "?" in (one, two)):
        steps.append((1, 1))
    return steps
