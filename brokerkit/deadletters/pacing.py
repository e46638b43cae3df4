"""Sending back so many a second."""

from __future__ import annotations

import math

from brokerkit.clock import Clock
from brokerkit.deadletters.selecting import AT_ONCE
from brokerkit.errors import ConfigurationError

_STEPS = 5
"""Batches a second, if there are enough for that."""


class Pace:
    """Keeps to a rate.

    Args:
        rate: Messages a second; None for as fast as it goes.
        clock: Supplies the time.

    Attributes:
        at_once: Messages of one batch.

    Raises:
        ConfigurationError: The rate makes no sense.
    """

    def __init__(self, rate: float | None, clock: Clock) -> None:
        if rate is not None and not 0 < rate < math.inf:
            raise ConfigurationError(f"rate={rate!r} makes no sense; give messages per second, more than 0")
        self._rate, self._clock = rate, clock
        self._began = clock.monotonic()
        self.at_once = AT_ONCE if rate is None else max(1, min(AT_ONCE, int(rate / _STEPS)))

    def begin(self) -> None:
        """Count from now on."""
        self._began = self._clock.monotonic()

    async def wait(self, sent: int) -> None:
        """Wait until the next may follow so many."""
        if self._rate is None:
            return
        left = self._began + sent / self._rate - self._clock.monotonic()
        if left > 0:
            await self._clock.sleep(left)
