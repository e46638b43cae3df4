"""Time as a parameter: the engine, the memory broker and the caller's waits read it from a ``Clock``."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Protocol


class Timer(Protocol):
    """A callback that has been set for a moment."""

    def cancel(self) -> None:
        """Forget it; harmless when it has run."""


class Clock(Protocol):
    """Supplies now, sleep and timers. One instance belongs to one event loop."""

    def now(self) -> float:
        """Seconds since the epoch; what is written into messages and records."""
        ...

    def monotonic(self) -> float:
        """Seconds that never step back; what deadlines are computed with."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after so many seconds of this clock."""

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Timer:
        """Run ``callback`` on the event loop after so many seconds of this clock."""
        ...


class SystemClock:
    """The clock of the machine and of the running event loop."""

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Timer:
        return asyncio.get_running_loop().call_later(seconds, callback)
