"""Ids of messages: sortable by time, unguessable, 33 characters.

A result may be read by whoever knows its id, so an id carries 128 random bits; the time in front keeps the
indexes of stores append-only.
"""

from __future__ import annotations

import os
from base64 import urlsafe_b64encode
from collections.abc import Callable
from hashlib import blake2b

IdFactory = Callable[[float], str]
"""Takes the time now (seconds since the epoch), returns a new id."""


_STOCK: list[str] = []
"""Random parts that no id has used yet. Taking one is atomic, so threads need no lock."""
_AT_ONCE = 64


def new_id(now: float) -> str:
    """An id of 11 hexadecimal digits of milliseconds and 22 base64url characters of randomness."""
    try:
        chance = _STOCK.pop()
    except IndexError:
        # One question to the system for many ids: each costs more than all else here. 22 characters are 132 bits.
        text = urlsafe_b64encode(os.urandom(_AT_ONCE * 33 // 2)).decode()
        chance, *rest = (text[start : start + 22] for start in range(0, _AT_ONCE * 22, 22))
        _STOCK.extend(rest)
    return f"{int(now * 1000):011x}{chance}"


if hasattr(os, "register_at_fork"):
    # A forked child must not make the ids that its parent makes.
    os.register_at_fork(after_in_child=_STOCK.clear)


def follow_up_id(source: str, parent: str, run: int, attempt: int, index: int) -> str:
    """The id of a handler's follow-up: the same whenever the same attempt leaves it again after a crash."""
    digest = blake2b(f"{source}/{parent}/{run}/{attempt}/{index}".encode(), digest_size=16).digest()
    return f"{parent[:11]}{urlsafe_b64encode(digest)[:22].decode()}"
