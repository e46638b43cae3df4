import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokerkit.topology import Queue, lane_of, lane_weights, priority_number


@pytest.mark.parametrize(("name", "number"), [("low", 2), ("normal", 5), ("high", 7), ("critical", 9), (0, 0), (9, 9)])
def test_priorities_are_numbers_or_names(name: int | str, number: int) -> None:
    assert priority_number(name) == number


@pytest.mark.parametrize("wrong", [-1, 10, "urgent", "5", True, None, 5.0])
def test_any_other_priority_is_refused_with_what_is_taken(wrong: object) -> None:
    with pytest.raises(ValueError, match="0 to 9 or one of low, normal, high, critical"):
        priority_number(wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("lanes", "expected"),
    [
        (1, [0] * 10),
        (2, [0, 0, 0, 0, 0, 0, 1, 1, 1, 1]),
        (3, [0, 0, 0, 0, 1, 1, 1, 2, 2, 2]),
        (4, [0, 0, 0, 1, 1, 2, 2, 2, 3, 3]),
        (10, list(range(10))),
    ],
)
def test_priorities_are_spread_over_the_lanes_least_urgent_first(lanes: int, expected: list[int]) -> None:
    assert [lane_of(priority, lanes) for priority in range(10)] == expected


@given(st.integers(1, 10))
def test_every_lane_is_used_and_a_higher_priority_never_has_a_lower_lane(lanes: int) -> None:
    used = [lane_of(priority, lanes) for priority in range(10)]
    assert used == sorted(used)
    assert set(used) == set(range(lanes))


@pytest.mark.parametrize(("priority", "lanes", "word"), [(-1, 3, "priority"), (10, 3, "priority"), (5, 0, "lanes")])
def test_a_lane_is_only_given_for_valid_numbers(priority: int, lanes: int, word: str) -> None:
    with pytest.raises(ValueError, match=f"^{word} takes"):
        lane_of(priority, lanes)


def test_eleven_lanes_are_too_many() -> None:
    with pytest.raises(ValueError, match=r"^lanes takes 1 to 10, not 11"):
        lane_of(5, 11)


def test_lanes_weigh_triangular_numbers_unless_the_queue_says_otherwise() -> None:
    assert lane_weights(Queue("q", priorities=5)) == (1, 3, 6, 10, 15)
    assert lane_weights(Queue("q", priorities=2, weights=[1, 9])) == (1, 9)
