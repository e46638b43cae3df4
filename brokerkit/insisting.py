"""Asking a broker or a store: what counts as its failure, and asking until it answers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from brokerkit.clock import Clock
from brokerkit.errors import BrokerkitError

_log = logging.getLogger("brokerkit.worker")

FIRST_PAUSE, LONGEST_PAUSE = 0.05, 5.0
"""Seconds before something is tried again: the first time, and at most."""

T = TypeVar("T")


class CancelledWithin(BrokerkitError):
    """A call was cancelled by what it awaits, not by whoever made it."""


async def answered(call: Awaitable[T]) -> T:
    """Await a call to an adapter; a cancellation that nobody asked this task for is the adapter's failure.

    A client library that drops a connection may cancel what waits for it. Taken for our own, that cancellation would
    end this task without a word, and with it whatever it holds.
    """
    try:
        return await call
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise CancelledWithin("the call was cancelled from within") from error


async def unbroken(step: Coroutine[Any, Any, T]) -> T:
    """Carry out a step to its end even when the caller is cancelled meanwhile; the cancellation comes after it.

    Of a second cancellation the step itself is ended.
    """
    working = asyncio.gather(step)
    try:
        (answer,) = await asyncio.shield(working)
    except asyncio.CancelledError:
        await working
        raise
    return answer


async def insist(ask: Callable[[], Awaitable[T]], clock: Clock, what: str) -> T:
    """Ask until there is an answer, with growing pauses; the leases are kept meanwhile."""
    pause = FIRST_PAUSE
    while True:
        try:
            return await answered(ask())
        except BrokerkitError as error:
            _log.warning("%s, trying again in %.2g s: %s", what, pause, error)
            await clock.sleep(pause)
            pause = min(LONGEST_PAUSE, pause * 2)
