"""How a worker stops: what has not started goes back, what runs may finish, what does not finish goes back, too."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter

from brokerkit.context import Context
from brokerkit.errors import ConnectionLost
from brokerkit.testing.conformance.engine_rig import EngineScenario, Rig
from brokerkit.testing.faults import Faults

LONG = 60.0
"""Seconds of grace that are never used up."""


async def what_has_not_started_is_handed_back_uncounted(rig: Rig) -> None:
    gate, seen = asyncio.Event(), list[tuple[int, int, int]]()

    @rig.task()
    async def work(ctx: Context, n: int) -> int:
        seen.append((n, ctx.attempt, ctx.deliveries))
        await gate.wait()
        return n

    async with rig.opened():
        handles = await rig.send_all([work.message(n) for n in range(6)])
        first = await rig.start(concurrency=2, grace=LONG)
        await rig.until(lambda: len(seen) == 2, "two do not run")
        first.leave.set()
        await rig.advance(0)
        assert len(seen) == 2, "a worker that stops starts nothing"
        assert not first.over.is_set(), "it waits for what runs"
        gate.set()
        await rig.stop(first)
        assert first.counts.succeeded == 2, "what ran within the grace has finished"
        await rig.start()
        assert [await rig.result(handle) for handle in handles] == list(range(6))
        assert {attempt for _, attempt, _ in seen} == {1}, f"it is not an attempt: {seen}"
        if not rig.client.transport.capabilities.release_counted:
            assert {deliveries for _, _, deliveries in seen} == {1}, f"nothing is counted: {seen}"
        assert len(seen) == 6, "and nothing runs twice"


async def what_outlasts_the_grace_is_cancelled_and_handed_back(rig: Rig) -> None:
    gate, seen, cleaned = asyncio.Event(), list[tuple[int, int]](), list[int]()

    @rig.task()
    async def work(ctx: Context) -> str:
        seen.append((ctx.attempt, ctx.deliveries))
        try:
            await gate.wait()
        except asyncio.CancelledError:
            cleaned.append(ctx.attempt)
            raise
        return "done"

    async with rig.opened():
        handle = await rig.send(work.message())
        first = await rig.start(grace=0.0)
        await rig.until(lambda: len(seen) == 1, "it does not run")
        await rig.stop(first)
        assert cleaned == [1], "the handler is cancelled and may clean up"
        assert first.counts.done <= 1
        assert await rig.left() == 1, "it is not acknowledged"
        gate.set()
        await rig.start()
        assert await rig.result(handle) == "done"
        assert [attempt for attempt, _ in seen] == [1, 1], f"it is no attempt: {seen}"
        if not rig.client.transport.capabilities.release_counted:
            assert [deliveries for _, deliveries in seen] == [1, 1], f"it is no delivery: {seen}"
        assert not await rig.dead()


async def a_handler_that_ends_well_when_cancelled_has_succeeded(rig: Rig) -> None:
    runs: list[int] = []

    @rig.task()
    async def work() -> str:
        runs.append(1)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            pass
        return "saved"

    async with rig.opened():
        handle = await rig.send(work.message())
        process = await rig.start(grace=0.0)
        await rig.until(lambda: bool(runs), "it does not run")
        await rig.stop(process)
        assert await rig.result(handle) == "saved"
        assert runs == [1]


async def sync_handlers_see_that_the_worker_stops(rig: Rig) -> None:
    runs, seen = list[int](), list[bool]()
    limit = rig.harness.patience

    @rig.task()
    def work(ctx: Context, n: int) -> int:
        runs.append(n)
        if len(runs) == 1:
            ctx.check_cancelled()  # not yet
            seen.append(ctx.wait_cancelled(limit))
            ctx.check_cancelled()
        return n

    @rig.task()
    async def other() -> None: ...  # so that there are more slots than threads

    async with rig.opened():
        handles = await rig.send_all([work.message(n) for n in range(3)])
        process = await rig.start(grace=0.0, sync_threads=1, concurrency=3)
        await rig.until(lambda: len(runs) == 1, "it does not run")
        await rig.stop(process)
        assert seen == [True], "the running one is told"
        assert len(runs) == 1, "those that waited for a thread do not start any more"
        assert await rig.left() == 3, "nothing is acknowledged"
        await rig.start(sync_threads=1)
        assert [await rig.result(handle) for handle in handles] == [0, 1, 2]


async def a_thread_that_is_stuck_is_not_acknowledged(rig: Rig) -> None:
    release, runs = threading.Event(), Counter[int]()

    @rig.task()
    def work(ctx: Context) -> str:
        runs[1] += 1
        if runs[1] == 1:
            ctx.wait_cancelled(60)
            release.wait(60)
        return "done"

    async with rig.opened():
        try:
            handle = await rig.send(work.message())
            process = await rig.start(grace=0.0)
            await rig.until(lambda: runs[1] == 1, "it does not run")
            process.leave.set()
            await rig.advance(0)
            assert await rig.left() == 1, "it is held as long as the thread runs"
        finally:
            release.set()
        await rig.stop(process)
        await rig.start()
        assert await rig.result(handle) == "done"


async def a_drain_goes_on_when_the_broker_fails(rig: Rig) -> None:
    ended: list[str] = []

    @rig.task()
    async def work() -> None:
        ended.append("started")
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("ended")

    async with rig.opened():
        await rig.send(work.message())
        faults = Faults(rig.clock)
        process = await rig.start(faults, grace=0.0)
        await rig.until(lambda: bool(ended), "it does not run")
        faults.fail("pause", "announce", error=ConnectionLost("gone"), times=None)
        await rig.stop(process)
        assert ended == ["started", "ended"], "handlers end before the worker does"


async def two_workers_share_and_one_leaves(rig: Rig) -> None:
    runs = Counter[int]()

    @rig.task()
    async def work(n: int) -> int:
        runs[n] += 1
        await rig.clock.sleep(rig.step / 20)
        return n

    async with rig.opened():
        handles = await rig.send_all([work.message(n) for n in range(60)])
        leaving, _ = await rig.start(concurrency=4, grace=LONG), await rig.start(concurrency=4)
        await rig.eventually(lambda: runs.total() >= 12, "they do not work")
        await rig.stop(leaving)
        assert [await rig.result(handle) for handle in handles] == list(range(60))
        assert set(runs.values()) == {1}, f"an orderly stop repeats nothing: {runs}"


SCENARIOS: tuple[EngineScenario, ...] = (
    what_has_not_started_is_handed_back_uncounted,
    what_outlasts_the_grace_is_cancelled_and_handed_back,
    a_handler_that_ends_well_when_cancelled_has_succeeded,
    sync_handlers_see_that_the_worker_stops,
    a_thread_that_is_stuck_is_not_acknowledged,
    a_drain_goes_on_when_the_broker_fails,
    two_workers_share_and_one_leaves,
)
