"""How long a channel has to live after what was settled on it."""

from __future__ import annotations

from brokerkit.transports.rabbitmq.lingering import UNDER_WAY, WRITTEN_WITHIN, Lingering


def test_what_the_broker_has_under_way_at_once_needs_no_wait() -> None:
    lingering = Lingering()
    assert lingering.seconds(now=0.0) == 0.0
    lingering.settled(UNDER_WAY, now=1.0)
    assert lingering.seconds(now=1.0) == 0.0


def test_more_than_that_needs_time_from_the_last_on() -> None:
    lingering = Lingering()
    lingering.settled(UNDER_WAY, now=1.0)
    lingering.settled(1, now=1.25)
    assert lingering.seconds(now=1.25) == WRITTEN_WITHIN
    assert lingering.seconds(now=1.25 + WRITTEN_WITHIN) == 0.0


def test_what_was_settled_long_before_does_not_count() -> None:
    lingering = Lingering()
    lingering.settled(10 * UNDER_WAY, now=1.0)
    lingering.settled(1, now=1.0 + WRITTEN_WITHIN)
    assert lingering.seconds(now=1.0 + WRITTEN_WITHIN) == 0.0
