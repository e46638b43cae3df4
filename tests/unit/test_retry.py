"""Delays between attempts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokerkit.retry import JITTER_STEPS, delay_before, retries
from brokerkit.topology import Retry

seconds = st.floats(0, 1e6)
policies = st.builds(
    lambda kind, initial, step, multiplier, extra: Retry(
        kind, 100, initial, step, multiplier, initial + extra, jitter=False
    ),
    st.sampled_from(["exponential", "linear", "fixed"]),
    seconds,
    seconds,
    st.floats(1, 1e300),
    seconds,
)


@given(policies, st.integers(1, 10_000))
def test_without_jitter_delays_never_shrink_and_never_exceed_the_longest(policy: Retry, retry: int) -> None:
    first, second = (delay_before(policy, number, lambda: 0.5) for number in (retry, retry + 1))
    assert 0 <= first <= second <= policy.max_delay


@given(st.floats(0, 1, exclude_max=True), st.integers(1, 50))
def test_jitter_takes_one_of_few_steps_and_never_adds(jitter: float, retry: int) -> None:
    policy = Retry.exponential(max_retries=50, initial=1, max_delay=60)
    full = min(60.0, 2.0 ** (retry - 1))
    delay = delay_before(policy, retry, lambda: jitter)
    assert delay in [full * step for step in JITTER_STEPS]
    assert delay <= full


def test_the_first_delay_is_the_initial_one() -> None:
    assert delay_before(Retry("exponential", initial=0.2, jitter=False), 1, lambda: 0) == 0.2
    assert delay_before(Retry.fixed(delay=3), 1, lambda: 0) == 3
    assert delay_before(Retry("linear", initial=1, step=2, jitter=False), 3, lambda: 0) == 5


def test_a_factor_beyond_what_a_float_holds_gives_the_longest_delay() -> None:
    assert delay_before(Retry("exponential", multiplier=1e300, max_delay=9, jitter=False), 3, lambda: 0) == 9
    assert delay_before(Retry("exponential", initial=0, multiplier=1e300, jitter=False), 3, lambda: 0) == 0


class Odd(ConnectionResetError):
    pass


@pytest.mark.parametrize(
    ("policy", "error", "wanted"),
    [
        (Retry.exponential(), ValueError, True),
        (Retry.none(), ValueError, False),
        (Retry.fixed(retry_on=(ConnectionError,)), Odd, True),
        (Retry.fixed(retry_on=(ConnectionError,)), ValueError, False),
        (Retry.fixed(give_up_on=(OSError,)), Odd, False),
        (Retry.fixed(retry_on=(ConnectionError,), give_up_on=(ConnectionResetError,)), Odd, False),
        (Retry.fixed(retry_on=(f"{__name__}.Odd",)), Odd, True),
        (Retry.fixed(retry_on=("Odd",)), Odd, True),
    ],
)
def test_a_policy_chooses_by_type_and_base(policy: Retry, error: type[Exception], wanted: bool) -> None:
    assert retries(policy, error) is wanted
