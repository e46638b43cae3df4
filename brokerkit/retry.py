"""Applying a retry policy: whether, and after how long."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from brokerkit.topology import Retry

JITTER_STEPS = (0.7, 0.8, 0.9, 1.0)
"""A jittered delay is the policy's delay times one of these: few enough that a broker without free delays can keep a
queue for each, and never longer than what the policy promises."""


def delay_before(policy: Retry, retry: int, jitter: Callable[[], float]) -> float:
    """Seconds to wait before retry number ``retry`` (1 for the first).

    Args:
        policy: The policy.
        retry: Which retry.
        jitter: Gives a number in [0, 1), as ``random.random`` does.
    """
    delay = min(_growing(policy, retry - 1), policy.max_delay)
    return delay * JITTER_STEPS[int(jitter() * len(JITTER_STEPS))] if policy.jitter else delay


def _growing(policy: Retry, earlier: int) -> float:
    if policy.kind != "exponential":
        return policy.initial + policy.step * earlier
    try:
        return policy.initial * policy.multiplier**earlier
    except OverflowError:  # beyond what a float holds
        return policy.max_delay if policy.initial else 0.0


def retries(policy: Retry, error: type[BaseException]) -> bool:
    """True when the policy retries this type of exception, however many retries are left."""
    if policy.kind == "none" or (policy.give_up_on and _matches(error, policy.give_up_on)):
        return False
    return not policy.retry_on or _matches(error, policy.retry_on)


def _matches(error: type[BaseException], names: Sequence[str]) -> bool:
    """Matches the type and its bases by bare or dotted name."""
    return any(
        base.__qualname__ in names or f"{base.__module__}.{base.__qualname__}" in names for base in error.__mro__
    )
