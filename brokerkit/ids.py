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


def new_id(now: float) -> str:
    """An id of 11 hexadecimal digits of milliseconds and 22 base64url characters of randomness."""
    return f"{int(now * 1000):011x}{urlsafe_b64encode(os.urandom(16))[:22].decode()}"


def follow_up_id(source: str, parent: str, run: int, attempt: int, index: int) -> str:
    """The id of a handler's follow-up: the same whenever the same attempt leaves it again after a crash."""
    digest = blake2b(f"{source}/{parent}/{run}/{attempt}/{index}".encode(), digest_size=16).digest()
    return f"{parent[:11]}{urlsafe_b64encode(digest)[:22].decode()}"
