"""Settling with few frames, and never what is still open."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from brokerkit.transports.rabbitmq.acks import Acks, Frame


def delivered(count: int) -> Acks:
    acks = Acks()
    for tag in range(1, count + 1):
        acks.delivered(tag)
    return acks


def test_a_finished_prefix_takes_one_frame() -> None:
    assert delivered(5).settle([1, 2, 3]) == [Frame(3, True)]


def test_everything_that_is_open_takes_one_frame_in_whatever_order_it_was_finished() -> None:
    assert delivered(4).settle([4, 2, 1, 3]) == [Frame(4, True)]


def test_one_alone_is_not_settled_with_multiple() -> None:
    assert delivered(2).settle([1]) == [Frame(1, False)]


def test_what_lies_beyond_an_open_one_is_settled_tag_by_tag() -> None:
    assert delivered(5).settle([1, 2, 4, 5]) == [Frame(2, True), Frame(4, False), Frame(5, False)]


def test_what_was_settled_before_does_not_break_the_prefix() -> None:
    acks = delivered(5)
    assert acks.settle([2, 3]) == [Frame(2, False), Frame(3, False)]
    assert acks.settle([1, 4]) == [Frame(4, True)]
    assert acks.settle([5]) == [Frame(5, False)]


def test_settling_twice_or_what_never_came_takes_no_frame() -> None:
    acks = delivered(2)
    acks.settle([1, 2])
    assert acks.settle([1, 2, 3]) == []
    assert 1 not in acks


def test_the_count_of_open_ones_goes_up_and_down() -> None:
    acks = delivered(3)
    acks.settle([2])
    assert (len(acks), 1 in acks, 2 in acks) == (2, True, False)


@given(st.lists(st.one_of(st.integers(1, 5), st.lists(st.integers(0, 40), max_size=12)), max_size=30))
def test_the_broker_settles_exactly_what_was_asked(steps: list[int | list[int]]) -> None:
    acks, at_broker, newest = Acks(), set[int](), 0
    for step in steps:
        if isinstance(step, int):
            for _ in range(step):
                newest += 1
                acks.delivered(newest)
                at_broker.add(newest)
            continue
        wanted = at_broker - set(step)
        for tag, multiple in acks.settle(step):
            gone = {each for each in at_broker if each <= tag} if multiple else {tag}
            assert gone <= at_broker, "an unknown tag closes the channel"
            at_broker -= gone
        assert at_broker == wanted
        assert len(acks) == len(at_broker)
