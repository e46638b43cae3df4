"""Taking turns by a lease, for brokers that keep one; it ends by itself if its owner does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from uuid import uuid4

from brokerkit.clock import Clock
from brokerkit.errors import ApplyUnderWay

LEASE = 10.0
"""Seconds. Whoever takes longer is still safe: what it would change is compared in the same step."""
_AGAIN = 0.1

Take = Callable[[str, float], Awaitable[bool]]
"""Takes, keeps or gives back the lease: by whom, and for how many seconds, 0 to give it back."""


@asynccontextmanager
async def leased(take: Take, clock: Clock, seconds: float) -> AsyncIterator[None]:
    """Hold the lease.

    Args:
        take: See ``Take``.
        clock: The time.
        seconds: How long to wait for it.

    Raises:
        ApplyUnderWay: Somebody else has had it for so long.
    """
    owner, ends = uuid4().hex, clock.monotonic() + seconds
    while not await take(owner, LEASE):
        if clock.monotonic() >= ends:
            raise ApplyUnderWay(
                f"another apply has been under way for {seconds:g} s; wait for it. One that was interrupted lets go "
                f"within {LEASE:g} s"
            )
        await asyncio.sleep(_AGAIN)
    try:
        yield
    finally:
        await take(owner, 0.0)
