"""Many deadlines behind one timer."""

from __future__ import annotations

import asyncio

import pytest

from brokerkit.deadlines import NEVER, Alarm, TimeLimits
from brokerkit.testing.clock import VirtualClock


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(start=0.0)


async def test_it_rings_for_the_earliest_and_then_for_what_is_left(clock: VirtualClock) -> None:
    rung: list[float] = []

    def ring(now: float) -> float:
        rung.append(now)
        return min((each for each in (3.0, 5.0, 9.0) if each > now), default=NEVER)

    alarm = Alarm(clock, ring)
    for deadline in (5.0, 3.0, 9.0):
        alarm.by(deadline)
    await clock.advance(20.0)
    assert rung == [3.0, 5.0, 9.0]


async def test_it_rings_no_more_once_closed_but_can_be_set_again(clock: VirtualClock) -> None:
    rung: list[float] = []

    def ring(now: float) -> float:
        rung.append(now)
        return NEVER

    alarm = Alarm(clock, ring)
    alarm.by(1.0)
    alarm.close()
    await clock.advance(2.0)
    assert rung == []
    alarm.by(3.0)
    await clock.advance(2.0)
    assert rung == [3.0]


async def test_each_await_ends_at_its_own_limit(clock: VirtualClock) -> None:
    limits, ended = TimeLimits(clock), dict[float, float]()

    async def limited(seconds: float) -> None:
        with pytest.raises(TimeoutError), limits.within(seconds):
            await asyncio.Event().wait()
        ended[seconds] = clock.monotonic()

    async with asyncio.TaskGroup() as group:
        for seconds in (7.0, 2.0, 4.0):
            group.create_task(limited(seconds))
        await clock.advance(10.0)
    assert ended == {2.0: 2.0, 4.0: 4.0, 7.0: 7.0}
    assert not limits.open


async def test_what_ends_in_time_or_has_no_limit_is_left_alone(clock: VirtualClock) -> None:
    limits = TimeLimits(clock)
    with limits.within(1.0):
        await clock.advance(0.5)
    with limits.within(None):
        await clock.advance(100.0)
    assert not limits.open


async def test_an_error_within_stays_what_it_is(clock: VirtualClock) -> None:
    limits = TimeLimits(clock)
    with pytest.raises(ZeroDivisionError), limits.within(1.0):
        _ = 1 / 0
    await clock.advance(2.0)  # nobody is cancelled for it any more
    assert not limits.open


async def test_the_cancellation_of_somebody_else_passes(clock: VirtualClock) -> None:
    limits = TimeLimits(clock)

    async def limited() -> None:
        with limits.within(5.0):
            await asyncio.Event().wait()

    task = asyncio.create_task(limited())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    both = asyncio.create_task(limited())
    await asyncio.sleep(0)
    both.cancel()
    await clock.advance(0.0)
    assert both.cancelled()
    assert not limits.open


async def test_a_cancellation_beside_the_limit_is_not_swallowed(clock: VirtualClock) -> None:
    limits = TimeLimits(clock)

    async def limited() -> None:
        with limits.within(5.0):
            await asyncio.Event().wait()

    task = asyncio.create_task(limited())
    await asyncio.sleep(0)
    (limit,) = limits.open
    limit.end()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_an_inner_limit_leaves_the_outer_one_in_force(clock: VirtualClock) -> None:
    limits = TimeLimits(clock)
    seen: list[float] = []

    async def limited() -> None:
        with limits.within(5.0):
            try:
                with limits.within(1.0):
                    await asyncio.Event().wait()
            except TimeoutError:
                seen.append(clock.monotonic())
            await asyncio.Event().wait()

    task = asyncio.create_task(limited())
    await clock.advance(10.0)
    with pytest.raises(TimeoutError):
        await task
    assert seen == [1.0]


def test_it_needs_a_task(clock: VirtualClock) -> None:
    with pytest.raises(RuntimeError, match="no running event loop"):
        TimeLimits(clock).within(None).__enter__()
