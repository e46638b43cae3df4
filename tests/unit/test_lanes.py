"""Who is served next."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from brokerkit.delivery import Delivery, Lane
from brokerkit.lanes import LaneScheduler, SourcePlan
from brokerkit.message import Message

weights = st.lists(st.integers(1, 9), min_size=1, max_size=4).map(tuple)
plans = st.lists(weights, min_size=1, max_size=4).map(
    lambda found: [SourcePlan(f"q{number}", each, weight=number + 1) for number, each in enumerate(found)]
)


def delivery(source: str, level: int = 0, name: str = "m", created: float = 0.0, run: int = 1) -> Delivery:
    return Delivery(Message(id=name, name="n", body=b"", created=created, run=run), Lane(source, level), 1, None)


def lanes_of(found: list[SourcePlan]) -> list[Lane]:
    return [Lane(plan.key, level) for plan in found for level in range(len(plan.weights))]


@given(weights, st.integers(1, 200))
def test_lanes_are_served_in_proportion_to_their_weights(shares: tuple[int, ...], turns: int) -> None:
    scheduler = LaneScheduler([SourcePlan("q", shares)])
    for level in range(len(shares)):
        scheduler.add([delivery("q", level) for _ in range(turns)])
    served = Counter(scheduler.next(lambda: 0.0).lane.level for _ in range(turns))
    for level, share in enumerate(shares):
        fair = turns * share / sum(shares)
        assert abs(served[level] - fair) < len(shares), f"lane {level} had {served[level]} turns, fair is {fair}"


@given(plans, st.integers(1, 100))
def test_sources_are_served_in_proportion_to_their_weights(found: list[SourcePlan], turns: int) -> None:
    scheduler = LaneScheduler(found)
    for plan in found:
        scheduler.add([delivery(plan.key) for _ in range(turns)])
    served = Counter(scheduler.next(lambda: 0.0).lane.source for _ in range(turns))
    total = sum(plan.weight for plan in found)
    for plan in found:
        assert abs(served[plan.key] - turns * plan.weight / total) < len(found)


@given(plans, st.lists(st.tuples(st.integers(0, 15), st.integers(0, 3)), max_size=60))
def test_everything_comes_out_once_and_each_lane_in_its_order(
    found: list[SourcePlan], picks: list[tuple[int, int]]
) -> None:
    scheduler, lanes = LaneScheduler(found), lanes_of(found)
    waiting: dict[Lane, list[Delivery]] = {lane: [] for lane in lanes}
    for pick, _ in picks:
        lane = lanes[pick % len(lanes)]
        each = delivery(*lane)
        waiting[lane].append(each)
        scheduler.add([each])
    for left in range(len(picks), 0, -1):
        assert scheduler.waiting == left
        served = scheduler.next(lambda: 0.0)
        assert waiting[served.lane].pop(0) is served
    assert scheduler.waiting == 0


@given(plans, st.integers(1, 100), st.data())
def test_limits_share_the_room_and_ask_every_lane(found: list[SourcePlan], room: int, data: st.DataObject) -> None:
    scheduler, lanes = LaneScheduler(found), lanes_of(found)
    talked = data.draw(st.sets(st.sampled_from(lanes)))
    scheduler.observe(dict.fromkeys(lanes, 1), [delivery(*lane) for lane in talked])
    limits, most = scheduler.limits(room, room)
    assert set(limits) == set(lanes), "every lane is asked, or nobody would notice it"
    assert all(limit >= 1 for limit in limits.values())
    if len(lanes) > 1:
        spare = len(lanes) + len(found)
        assert sum(most.values()) <= room + spare, "at most the room, and one for each that gets no share"
    else:
        assert limits == {lanes[0]: room}


@given(weights, st.integers(1, 50), st.integers(0, 50))
def test_of_a_strict_queue_nothing_is_fetched_ahead(shares: tuple[int, ...], room: int, free: int) -> None:
    scheduler = LaneScheduler([SourcePlan("strict", shares, strict=True), SourcePlan("plain")])
    limits, most = scheduler.limits(room, free)
    assert most.get("strict", 0) <= free
    assert all(limit <= free for lane, limit in limits.items() if lane.source == "strict")
    assert limits[Lane("plain", 0)] >= 1


@given(weights, st.integers(1, 300))
def test_no_lane_starves_while_others_are_refilled(shares: tuple[int, ...], seed: int) -> None:
    scheduler = LaneScheduler([SourcePlan("q", shares)])
    scheduler.add([delivery("q", level) for level in range(len(shares))])
    unserved = set(range(len(shares)))
    for _ in range(2 * sum(shares) + 1):
        level = scheduler.next(lambda: 0.0).lane.level
        unserved.discard(level)
        scheduler.add([delivery("q", level)])
    assert not unserved, f"lanes {unserved} had no turn"


def test_a_strict_queue_serves_the_most_urgent_that_is_there() -> None:
    scheduler = LaneScheduler([SourcePlan("q", (1, 100), strict=True)])
    scheduler.add([delivery("q", level) for level in (0, 1, 0, 1)])
    assert [scheduler.next(lambda: 0.0).lane.level for _ in range(4)] == [1, 1, 0, 0]


def test_who_has_waited_too_long_comes_first_the_oldest_before_others() -> None:
    scheduler = LaneScheduler([SourcePlan("q", (1, 100), max_wait=10)])
    scheduler.add(
        [delivery("q", 0, "old", created=1), delivery("q", 1, "older", created=0), delivery("q", 1, "new", 99)]
    )
    assert [scheduler.next(lambda: 100.0).message.id for _ in range(3)] == ["older", "old", "new"]


def test_draining_and_removing_leave_the_counts_right() -> None:
    scheduler = LaneScheduler([SourcePlan("q", (1, 2)), SourcePlan("p")])
    given_out = [delivery("q", 0, "a"), delivery("q", 1, "b"), delivery("p", 0, "a"), delivery("p", 0, "a", run=2)]
    scheduler.add(given_out)
    assert {id(each) for each in scheduler.remove("a", 1)} == {id(given_out[0]), id(given_out[2])}
    assert scheduler.waiting == 2
    assert scheduler.remove("unknown", 1) == []
    assert len(scheduler.drain()) == 2
    assert scheduler.waiting == 0
    scheduler.add([given_out[1]])
    assert scheduler.next(lambda: 0.0) is given_out[1]
