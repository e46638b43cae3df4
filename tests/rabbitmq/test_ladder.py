"""The arithmetic of delays, without a broker."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokerkit.retry import JITTER_STEPS, delay_before
from brokerkit.topology import Retry
from brokerkit.transports.rabbitmq import ladder
from brokerkit.transports.rabbitmq.ladder import Parked
from brokerkit.transports.rabbitmq.plan import BindingPlan, ExchangePlan, Plan, QueuePlan

SIXTY_DAYS = 60 * 86_400.0
UNIT = ladder.UNIT_MS / 1000
NOISE = 1e-9
"""Seconds: the difference between a decimal fraction and its nearest binary one."""

delays = st.one_of(
    st.floats(0.1, 60.0), st.floats(0.1, SIXTY_DAYS), st.integers(1, 51_840_000).map(lambda tenths: tenths / 10)
)


def walk(plan: Plan, parked: Parked) -> tuple[int, list[str]]:
    """Follow a message through what is declared; how many milliseconds it waits, and where it arrives."""
    queues = {queue.name: queue.arguments for queue in plan.queues}
    waited, steps, place = 0, 0, parked.exchange
    while place != ladder.OUT:
        matching = [binding for binding in plan.bindings if binding.source == place and _matches(binding, parked)]
        assert len(matching) == 1, f"{len(matching)} ways from {place}"
        (way,) = matching
        place, steps = way.destination, steps + 1
        if way.to_queue:
            waited += int(str(queues[place]["x-message-ttl"]))
            place = str(queues[place]["x-dead-letter-exchange"])
        assert steps <= ladder.LEVELS
    return waited, [binding.destination for binding in plan.bindings if binding.source == place]


def _matches(binding: BindingPlan, parked: Parked) -> bool:
    wanted = {name: value for name, value in binding.arguments.items() if name != "x-match"}
    return all(parked.headers.get(name) == value for name, value in wanted.items())


@given(delays)
def test_the_way_over_the_ladder_is_never_early_and_at_most_a_unit_late(seconds: float) -> None:
    parked = ladder.rungs(seconds)
    waited, _ = walk(ladder.declarations(parked.level, (3, 10)), parked)
    assert waited == parked.milliseconds
    assert seconds - NOISE <= waited / 1000 < seconds + UNIT


@given(delays)
def test_with_six_bits_a_delay_is_never_early_at_most_a_32nd_late_and_takes_six_queues(seconds: float) -> None:
    parked = ladder.rungs(seconds, bits=ladder.RETRY_BITS)
    waited, _ = walk(ladder.declarations(parked.level, (3, 10)), parked)
    exact = ladder.rungs(seconds).milliseconds
    assert exact <= waited <= exact * (1 + 1 / 32)
    assert waited / 1000 >= seconds - NOISE
    assert sum(parked.headers.values()) <= 6


@given(delays, st.integers(1, 26))
def test_fewer_bits_are_never_earlier(seconds: float, bits: int) -> None:
    parked = ladder.rungs(seconds, bits=bits)
    assert ladder.rungs(seconds).milliseconds <= parked.milliseconds <= ladder.LONGEST * 1000


@pytest.mark.parametrize("seconds", [-5.0, 0.0, 1e-9, 0.05, 0.1])
def test_what_is_due_or_nearly_due_waits_one_unit(seconds: float) -> None:
    assert ladder.rungs(seconds) == Parked("bk.d.0", {"bk-d0": 1}, 0, 100)


@pytest.mark.parametrize("tenths", [1, 2, 3, 6, 7, 11, 12, 33, 63, 64, 4096, 604_800, 51_840_000])
def test_tenths_of_a_second_are_exact_however_they_are_computed(tenths: int) -> None:
    for seconds in (tenths / 10, tenths * 0.1, sum([0.1] * min(tenths, 1000)) if tenths <= 1000 else tenths / 10):
        assert ladder.rungs(seconds).milliseconds == tenths * 100


def test_a_delay_is_written_in_binary_digits_from_its_highest() -> None:
    assert ladder.rungs(1.1) == Parked("bk.d.3", {"bk-d3": 1, "bk-d2": 0, "bk-d1": 1, "bk-d0": 1}, 3, 1100)
    assert ladder.rungs(409.7, bits=6).headers == dict.fromkeys((f"bk-d{n}" for n in range(12)), 0) | {
        "bk-d12": 1,
        "bk-d7": 1,
    }


def test_sixty_days_fit_and_what_is_longer_than_the_ladder_is_refused() -> None:
    assert ladder.rungs(SIXTY_DAYS).milliseconds == SIXTY_DAYS * 1000
    assert ladder.rungs(ladder.LONGEST, bits=6).milliseconds == ladder.LONGEST * 1000
    for seconds in (ladder.LONGEST + 0.01, 1e12):
        with pytest.raises(ValueError, match="at most 6710886 s"):
            ladder.rungs(seconds)


def test_the_ladder_is_declared_up_to_the_level_that_is_needed() -> None:
    plan = ladder.declarations(2, (3, 10))
    assert {queue.name for queue in plan.queues} == {"bk.d.2", "bk.d.1", "bk.d.0", "bk.d.lost"}
    assert {exchange.name for exchange in plan.exchanges} == {
        *("bk.d.2", "bk.d.1", "bk.d.0", "bk.d.out", "bk.d.alt", "bk.d.lost")
    }
    lower = ladder.declarations(1, (3, 10))
    assert all(queue in plan.queues for queue in lower.queues)
    assert all(binding in plan.bindings for binding in lower.bindings)


def test_every_step_dead_letters_at_least_once_and_refuses_rather_than_drops() -> None:
    plans = [ladder.declarations(25, (3, 10)), ladder.slot_declarations(1500, (4, 3))]
    steps = [queue for plan in plans for queue in plan.queues if queue.name != ladder.LOST]
    assert len(steps) == 27
    for queue in (*steps, ladder.waiting_room("q")):
        assert queue.arguments["x-queue-type"] == "quorum"
        assert queue.arguments["x-dead-letter-strategy"] == "at-least-once"
        assert queue.arguments["x-overflow"] == "reject-publish"
    ttls = [int(str(queue.arguments["x-message-ttl"])) for queue in steps]
    assert ttls == [100 * 2**level for level in range(26)] + [1500]


def test_the_ends_of_the_ladder() -> None:
    plan = ladder.declarations(-1, (3, 10))
    assert plan == Plan(
        (
            ExchangePlan("bk.d.alt", "headers"),
            ExchangePlan("bk.d.lost", "fanout"),
            ExchangePlan("bk.d.out", "headers", arguments={"alternate-exchange": "bk.d.lost"}),
        ),
        (QueuePlan("bk.d.lost", {"x-queue-type": "quorum"}, backstop=True),),
        (
            *(BindingPlan("bk.d.alt", "bk.d.lost", True, "", {"x-match": "all", "bk-d0": bit}) for bit in (0, 1)),
            BindingPlan("bk.d.lost", "bk.d.lost", True),
        ),
    )
    newer = ladder.declarations(-1, (4, 0))
    assert newer.queues == (QueuePlan("bk.d.lost", {"x-queue-type": "quorum", "x-delivery-limit": -1}, backstop=True),)


def test_targets_are_told_apart_by_headers_that_no_envelope_has() -> None:
    queue, exchange = ladder.to_queue("orders"), ladder.to_exchange("orders")
    assert queue.headers == {"bk-to-q": "orders"}
    assert queue.binding == BindingPlan("bk.d.out", "orders", True, "", {"x-match": "all", "bk-to-q": "orders"})
    assert exchange.headers == {"bk-to-x": "orders"}
    assert exchange.binding == BindingPlan("bk.d.out", "orders", False, "", {"x-match": "all", "bk-to-x": "orders"})


@given(st.integers(1, 10**9))
def test_a_slot_is_one_queue_that_waits_exactly_and_is_marked_for_the_alternate(ms: int) -> None:
    parked = ladder.slot(ms)
    waited, _ = walk(ladder.slot_declarations(ms, (3, 10)), parked)
    assert waited == ms
    assert "bk-d0" in parked.headers


@pytest.mark.parametrize(
    "policy",
    [
        Retry(),
        Retry.exponential(8, initial=0.2, max_delay=30),
        Retry.exponential(3, initial=0.0101, multiplier=3.7, jitter=False),
        Retry.linear(7, initial=0.5, step=1.5),
        Retry.linear(4, initial=0, step=0.25),
        Retry.fixed(9, delay=0.3),
    ],
)
def test_every_delay_of_a_declared_policy_has_a_slot_and_no_slot_is_without_use(policy: Retry) -> None:
    rolls = [step / 8 for step in range(8)]
    wanted = {delay_before(policy, retry, lambda: roll) for retry in range(1, policy.max_retries + 1) for roll in rolls}  # noqa: B023
    assert ladder.slots(policy) == {ladder.milliseconds(seconds) for seconds in wanted if seconds > 0}
    assert all(ladder.milliseconds(seconds) / 1000 >= seconds - NOISE for seconds in wanted)


def test_a_policy_has_at_most_32_slots_and_they_are_its_first() -> None:
    many = ladder.slots(Retry.linear(1000, initial=1, step=1, max_delay=10_000))
    assert len(many) == 32
    assert {700, 1000, 8000} < many
    assert max(many) == 9000
    assert ladder.slots(Retry.none()) == ladder.slots(None) == frozenset()


def test_slots_end_where_the_ladder_ends() -> None:
    endless = Retry.exponential(100, initial=1, max_delay=1e300, multiplier=1e9)
    assert max(ladder.slots(endless)) <= ladder.LONGEST * 1000


def test_the_steps_of_jitter_are_those_of_the_retry_policy() -> None:
    assert ladder.JITTER_STEPS == JITTER_STEPS


def test_random_delays_use_few_hops_on_average() -> None:
    random_delays = [random.Random(n).uniform(1, 3600) for n in range(500)]
    hops = [sum(ladder.rungs(seconds, bits=ladder.RETRY_BITS).headers.values()) for seconds in random_delays]
    assert sum(hops) / len(hops) < 4
