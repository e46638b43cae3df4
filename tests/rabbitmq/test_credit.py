"""When a consumer is made anew, and when it gives back."""

from __future__ import annotations

from brokerkit.transports.rabbitmq.credit import FEW, FIXED, KEEP, MOST, RAISE_EVERY, Credit, Move, Step

NOTHING = Move(Step.NOTHING)


def consuming(prefetch: int, delivered: int = 0, **options: bool) -> Credit:
    credit = Credit(**options)
    credit.started(prefetch)
    for _ in range(delivered):
        credit.delivered()
    return credit


def test_nothing_is_consumed_before_somebody_asks() -> None:
    assert Credit().decide(wanted=0, waiting=0, now=0.0) == NOTHING


def test_a_consumer_begins_with_what_is_asked_for() -> None:
    assert Credit().decide(wanted=7, waiting=0, now=0.0) == Move(Step.START, 7)


def test_a_consumer_never_begins_with_more_than_a_quorum_queue_allows() -> None:
    assert Credit().decide(wanted=10_000, waiting=0, now=0.0) == Move(Step.START, MOST)


def test_a_smaller_bound_is_kept() -> None:
    assert Credit(1).decide(wanted=7, waiting=0, now=0.0) == Move(Step.START, 1)


def test_a_consumer_that_was_not_filled_is_left_alone_since_the_broker_has_no_more() -> None:
    assert consuming(5, delivered=4).decide(wanted=5, waiting=0, now=0.0) == NOTHING


def test_a_consumer_that_is_full_while_more_is_asked_for_is_raised() -> None:
    assert consuming(5, delivered=5).decide(wanted=3, waiting=0, now=0.0) == Move(Step.RAISE)


def test_a_consumer_whose_room_will_do_is_not_raised() -> None:
    credit = consuming(5, delivered=5)
    credit.settled(2)
    credit.delivered()
    credit.delivered()
    credit.settled(3)
    assert credit.decide(wanted=3, waiting=0, now=0.0) == NOTHING


def test_after_a_raise_the_new_consumer_begins_with_what_is_asked_for_then() -> None:
    credit = consuming(5, delivered=5)
    credit.raised(now=0.0)
    assert credit.decide(wanted=3, waiting=0, now=0.0) == Move(Step.START, 3)


def test_one_of_several_lanes_doubles_at_least_so_that_it_does_not_run_dry() -> None:
    credit = consuming(5, delivered=5, several=True)
    credit.raised(now=0.0)
    assert credit.decide(wanted=3, waiting=0, now=0.0) == Move(Step.START, 10)


def test_one_of_several_lanes_begins_with_a_few_until_something_had_to_be_given_back() -> None:
    credit = Credit(several=True)
    assert credit.decide(wanted=1, waiting=0, now=0.0) == Move(Step.START, FEW)
    credit.gave_back(now=0.0)
    assert credit.decide(wanted=1, waiting=0, now=0.0) == Move(Step.START, 1)


def test_raises_keep_their_distance() -> None:
    credit = consuming(1, delivered=1)
    credit.raised(now=10.0)
    credit.started(1)
    credit.delivered()
    soon = credit.decide(wanted=1, waiting=0, now=10.025)
    assert (soon.step, round(soon.again or 0.0, 6)) == (Step.NOTHING, 0.075)
    assert credit.decide(wanted=1, waiting=0, now=10.1 + RAISE_EVERY).step is Step.RAISE


def test_what_nobody_asks_for_is_given_back_after_a_while() -> None:
    credit = consuming(5, delivered=2)
    assert credit.decide(wanted=0, waiting=2, now=3.0) == Move(Step.NOTHING, again=KEEP)
    assert credit.decide(wanted=0, waiting=2, now=3.0 + KEEP).step is Step.GIVE_BACK


def test_asking_begins_the_wait_anew() -> None:
    credit = consuming(5, delivered=2)
    credit.decide(wanted=0, waiting=2, now=0.0)
    credit.asked()
    assert credit.decide(wanted=0, waiting=2, now=KEEP) == Move(Step.NOTHING, again=KEEP)


def test_what_waits_without_a_consumer_is_given_back_too() -> None:
    credit = consuming(5, delivered=2)
    credit.stopped()
    credit.decide(wanted=0, waiting=2, now=0.0)
    assert credit.decide(wanted=0, waiting=2, now=KEEP).step is Step.GIVE_BACK


def test_after_giving_back_nothing_is_raised_for_a_while_and_for_longer_each_time() -> None:
    credit = consuming(5, delivered=5)
    waits = []
    for time in (0.0, 20.0, 40.0):
        credit.gave_back(now=time)
        waits.append(credit.decide(wanted=9, waiting=0, now=time).again)
    assert waits == [5.0, 10.0, 20.0]
    assert credit.decide(wanted=9, waiting=0, now=60.0).step is Step.RAISE


def test_one_of_several_lanes_is_raised_after_giving_back_too_but_to_no_more_than_is_asked_for() -> None:
    credit = consuming(5, delivered=5, several=True)
    credit.gave_back(now=0.0)
    assert credit.decide(wanted=2, waiting=0, now=1.0).step is Step.RAISE
    credit.raised(now=1.0)
    assert credit.decide(wanted=2, waiting=0, now=1.0) == Move(Step.START, 2)


def test_giving_back_long_ago_is_forgiven() -> None:
    credit = consuming(5, delivered=5)
    credit.gave_back(now=0.0)
    credit.gave_back(now=1000.0)
    assert credit.decide(wanted=9, waiting=0, now=1000.0).again == 5.0


def test_whoever_consumes_alone_is_never_made_anew_and_gives_nothing_back() -> None:
    assert Credit(fixed=True).decide(wanted=1, waiting=0, now=0.0) == Move(Step.START, FIXED)
    credit = consuming(2, delivered=2, fixed=True)
    assert credit.decide(wanted=9, waiting=0, now=0.0) == NOTHING
    assert credit.decide(wanted=0, waiting=2, now=100.0) == NOTHING


def test_settling_says_whether_the_broker_will_push_more_at_once() -> None:
    assert consuming(2, delivered=2).settled(1)
    assert not consuming(2, delivered=1).settled(1)
    assert not consuming(2, delivered=2).settled(0)
