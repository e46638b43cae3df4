"""How long a channel has to live after what was settled on it. Pure: the time is a parameter.

Each frame that settles is a command to a quorum queue. The channel has 32 of them under way (``SOFT_LIMIT`` of
``rabbit_fifo_client.erl``) and sends the others when those are written; a channel that is closed before forgets them,
and what had been acknowledged is delivered again. Nothing tells when they are sent: a queue answers before.
"""

from __future__ import annotations

UNDER_WAY = 32
WRITTEN_WITHIN = 1.0
"""Seconds that the broker gets to write what is under way."""


class Lingering:
    """Counts what was settled on one channel of late."""

    def __init__(self) -> None:
        self._commands = 0
        self._last = float("-inf")

    def settled(self, commands: int, now: float) -> None:
        """So many commands were written."""
        if now - self._last >= WRITTEN_WITHIN:
            self._commands = 0
        self._commands += commands
        self._last = now

    def seconds(self, now: float) -> float:
        """How much longer the channel is needed."""
        return max(0.0, self._last + WRITTEN_WITHIN - now) if self._commands > UNDER_WAY else 0.0
