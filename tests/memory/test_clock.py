"""The virtual clock: time passes in order, and only when it is told to."""

from __future__ import annotations

import asyncio

import uvloop

from brokerkit.testing import VirtualClock
from brokerkit.testing.clock import START


async def test_time_stands_still_until_it_is_advanced() -> None:
    clock = VirtualClock()
    await asyncio.sleep(0.01)
    assert clock.now() == clock.monotonic() == START
    await clock.advance(2.5)
    assert clock.now() == START + 2.5


async def test_timers_run_in_order_and_at_their_moment() -> None:
    clock = VirtualClock(100.0)
    rung: list[tuple[str, float]] = []
    for name, seconds in (("c", 3.0), ("a", 1.0), ("b", 1.0), ("d", 3.5)):
        clock.call_later(seconds, lambda name=name: rung.append((name, clock.now())))  # type: ignore[misc]
    await clock.advance(3.0)
    assert rung == [("a", 101.0), ("b", 101.0), ("c", 103.0)]
    assert clock.pending == 1


async def test_a_timer_set_by_a_timer_runs_in_the_same_advance() -> None:
    clock = VirtualClock(0.0)
    rung: list[float] = []

    def ring() -> None:
        rung.append(clock.now())
        clock.call_later(1.0, ring)

    clock.call_later(1.0, ring)
    await clock.advance(3.0)
    assert rung == [1.0, 2.0, 3.0]


async def test_a_cancelled_timer_does_not_run() -> None:
    clock = VirtualClock()
    rung: list[str] = []
    clock.call_later(1.0, lambda: rung.append("cancelled")).cancel()
    await clock.advance(2.0)
    assert not rung
    assert clock.pending == 0


async def test_what_a_sleeper_does_next_has_happened_before_time_goes_on() -> None:
    clock = VirtualClock(0.0)
    seen: list[float] = []

    async def sleeper() -> None:
        for _ in range(3):
            await clock.sleep(1.0)
            for _ in range(20):
                await asyncio.sleep(0)
            seen.append(clock.now())

    async with asyncio.TaskGroup() as group:
        group.create_task(sleeper())
        await clock.advance(10.0)
    assert seen == [1.0, 2.0, 3.0]


async def test_a_cancelled_sleep_leaves_no_timer() -> None:
    clock = VirtualClock()
    async with asyncio.TaskGroup() as group:
        sleeping = group.create_task(clock.sleep(5.0))
        await clock.advance()
        assert clock.pending == 1
        sleeping.cancel()
    assert clock.pending == 0


async def test_a_task_that_never_rests_does_not_stop_time() -> None:
    clock = VirtualClock()

    async def restless() -> None:
        while True:
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        task = group.create_task(restless())
        await clock.advance(1.0)
        task.cancel()
    assert clock.now() == START + 1.0


def test_it_works_on_uvloop() -> None:
    async def main() -> list[float]:
        clock = VirtualClock(0.0)
        seen: list[float] = []

        async def sleeper() -> None:
            for _ in range(3):
                await clock.sleep(1.0)
                seen.append(clock.now())

        async with asyncio.TaskGroup() as group:
            group.create_task(sleeper())
            await clock.advance(3.0)
        return seen

    assert uvloop.run(main()) == [1.0, 2.0, 3.0]
