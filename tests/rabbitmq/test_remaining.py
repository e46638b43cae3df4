"""What the less urgent lanes wait for."""

from __future__ import annotations

from brokerkit.transports.rabbitmq.remaining import ASK_EVERY, PATIENCE, Remaining


def test_a_lane_may_have_more_until_the_broker_says_it_has_none() -> None:
    remaining = Remaining()
    assert remaining.wait(now=0.0) == PATIENCE
    remaining.told(3, remaining.asked_after, now=1.0)
    assert remaining.wait(now=1.0) == PATIENCE - 1.0
    remaining.told(0, remaining.asked_after, now=1.5)
    assert remaining.wait(now=1.5) == 0.0


def test_an_answer_from_before_the_broker_got_room_does_not_count() -> None:
    remaining = Remaining()
    asked_after = remaining.asked_after
    remaining.unknown()
    remaining.told(0, asked_after, now=0.0)
    assert remaining.wait(now=0.0) == PATIENCE


def test_patience_ends_and_begins_anew_when_more_may_come() -> None:
    remaining = Remaining()
    remaining.wait(now=0.0)
    assert remaining.wait(now=PATIENCE) == 0.0
    remaining.unknown()
    assert remaining.wait(now=PATIENCE) == PATIENCE


def test_nobody_waits_for_what_is_out_of_reach() -> None:
    remaining = Remaining()
    remaining.out_of_reach()
    assert remaining.wait(now=0.0) == 0.0


def test_the_broker_is_asked_at_once_and_then_now_and_then() -> None:
    remaining = Remaining()
    assert remaining.ask_at(now=1.0) == 1.0
    remaining.told(3, remaining.asked_after, now=1.0)
    assert remaining.ask_at(now=1.001) == 1.0 + ASK_EVERY
    remaining.unknown()
    assert remaining.ask_at(now=1.002) == 1.002
