"""A clock that jumps over what nobody wants to wait for."""

from __future__ import annotations

from brokerkit.clock import SystemClock


class SkippingClock(SystemClock):
    """The machine's clock with a calendar that jumps: what is due in an hour is due now, and a timeout of ten seconds
    still takes ten seconds.

    Attributes:
        skipped: Seconds it has jumped so far.
    """

    def __init__(self) -> None:
        self.skipped = 0.0

    def now(self) -> float:
        return super().now() + self.skipped
