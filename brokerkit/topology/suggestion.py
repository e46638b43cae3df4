"""The end of a message about an unknown name."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from brokerkit.errors import TopologyError


def similar(name: str, known: Iterable[str]) -> str:
    """``; did you mean 'orders'?`` when a known name is like this one, else nothing."""
    close = get_close_matches(name, sorted(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """``; did you mean 'orders'?`` when a known name is like this one, else what to do instead."""
    return similar(name, known) or "; declare it, or correct the name"


def unknown_source(key: str, known: Iterable[str]) -> TopologyError:
    """What to raise for a queue or group that nobody has declared.

    Args:
        key: Its name or key.
        known: Those that are known.
    """
    instead = similar(key, known) or "; apply its topology first, or correct the name"
    return TopologyError([f"queues: {key!r} is not a queue or group of this broker{instead}"])
