"""While handlers run: their time, their context, their number."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections import Counter

from brokerkit.context import Context
from brokerkit.errors import TaskExpired, TaskTimedOut
from brokerkit.outcome import Reason
from brokerkit.records import TaskStatus
from brokerkit.testing.conformance.engine_rig import EngineScenario, Rig
from brokerkit.topology import Retry

MANY = 10_000


async def an_async_handler_is_cancelled_at_its_timeout(rig: Rig) -> None:
    ended: list[str] = []

    @rig.task(timeout=rig.step, retry=Retry.none())
    async def hangs() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("cancelled")

    async with rig.opened():
        await rig.start(concurrency=1)
        handle = await rig.send(hangs.message())
        assert isinstance(await rig.outcome(handle), TaskTimedOut)
        assert ended == ["cancelled"]
        await rig.drained()
        assert await rig.dead() == {handle.id: Reason.TIMED_OUT}


async def a_handler_that_hides_its_timeout_has_timed_out_all_the_same(rig: Rig) -> None:
    @rig.task(timeout=rig.step, retry=Retry.none())
    async def hides() -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            pass
        return "late"

    async with rig.opened():
        await rig.start(concurrency=1)
        assert isinstance(await rig.outcome(await rig.send(hides.message())), TaskTimedOut)
        assert isinstance(await rig.outcome(await rig.send(hides.message())), TaskTimedOut), (
            "the slot is as good as new"
        )


async def a_sync_handler_keeps_its_slot_until_its_thread_returns(rig: Rig) -> None:
    release, told, after = threading.Event(), threading.Event(), list[int]()
    limit = rig.harness.patience

    @rig.task(timeout=rig.step, retry=Retry.none())
    def hangs(ctx: Context) -> None:
        if ctx.wait_cancelled(limit):
            told.set()
        release.wait(limit)

    @rig.task()
    async def next_one() -> None:
        after.append(1)

    async with rig.opened():
        try:
            await rig.start(concurrency=1)
            handle = await rig.send(hangs.message())
            await rig.eventually(told.is_set, "the handler is not told of its timeout")
            second = await rig.send(next_one.message())
            await rig.advance(rig.step)
            assert not after, "its slot is taken as long as its thread runs"
            assert await rig.left() >= 1, "and its message is held"
        finally:
            release.set()
        assert isinstance(await rig.outcome(handle), TaskTimedOut)
        await rig.result(second)


async def the_time_of_a_sync_handler_begins_when_it_has_a_thread(rig: Rig) -> None:
    limit, gates = rig.harness.patience, [threading.Event() for _ in range(3)]
    running: list[int] = []

    @rig.task(timeout=10 * rig.step, retry=Retry.none())
    def work(n: int) -> int:
        running.append(n)
        gates[n].wait(limit)
        return n

    @rig.task()
    async def other() -> None: ...  # so that there are more slots than threads

    async with rig.opened():
        try:
            await rig.start(concurrency=3, sync_threads=1)
            handles = await rig.send_all([work.message(n) for n in range(3)])
            for count in range(1, 4):
                await rig.until(lambda: len(running) == count, "the next one does not run")  # noqa: B023
                await rig.advance(6 * rig.step)
                gates[running[-1]].set()
            assert [await rig.result(handle) for handle in handles] == [0, 1, 2]
        finally:
            for gate in gates:
                gate.set()


async def sync_handlers_are_not_held_by_a_worker_that_has_no_thread(rig: Rig) -> None:
    limit, gate, running = rig.harness.patience, threading.Event(), list[int]()

    @rig.task()
    def work(n: int) -> int:
        running.append(n)
        gate.wait(limit)
        return n

    async with rig.opened():
        try:
            first = await rig.start(concurrency=8, sync_threads=2)
            second = await rig.start(concurrency=8, sync_threads=2)
            handles = await rig.send_all([work.message(n) for n in range(4)])
            await rig.eventually(lambda: len(running) == 4, "two wait for a thread where another worker has two")
            assert first.worker is not None
            assert second.worker is not None
            assert (first.worker.slots, first.worker.running, second.worker.running) == (2, 2, 2)
        finally:
            gate.set()
        assert [await rig.result(handle) for handle in handles] == list(range(4))


async def what_expires_while_it_waits_is_not_started(rig: Rig) -> None:
    gate, runs = asyncio.Event(), list[str]()

    @rig.task()
    async def work(name: str) -> None:
        runs.append(name)
        await gate.wait()

    async with rig.opened():
        await rig.start(concurrency=1)
        await rig.send(work.message("first"))
        await rig.until(lambda: runs == ["first"], "it does not run")
        late = await rig.client.send(work.options(expires=rig.step).message("late"))
        await rig.advance(2 * rig.step)
        gate.set()
        assert isinstance(await rig.outcome(late), TaskExpired)
        await rig.drained()
        assert runs == ["first"]
        assert await rig.dead() == {late.id: Reason.EXPIRED}
        if rig.layout.records:
            assert await late.status() is TaskStatus.EXPIRED


async def context_variables_do_not_leak_between_messages(rig: Rig) -> None:
    variable: contextvars.ContextVar[int | None] = contextvars.ContextVar("variable", default=None)
    wrong: list[str] = []

    def look(where: str, n: int, wanted: int | None) -> None:
        if variable.get() != wanted:
            wrong.append(f"{where} {n} sees {variable.get()}")

    @rig.task()
    async def waits(n: int) -> None:
        look("async", n, None)
        variable.set(n)
        await asyncio.sleep(0)
        look("async after a wait", n, n)
        async with asyncio.timeout(60):
            await asyncio.sleep(0)
        look("async after two", n, n)

    @rig.task()
    def blocks(n: int) -> None:
        look("sync", n, None)
        variable.set(n)
        look("sync later", n, n)

    async with rig.opened():
        await rig.start(concurrency=3, sync_threads=2)
        await rig.send_all([call for n in range(20) for call in (waits.message(n), blocks.message(n))])
        await rig.drained()
        assert not wrong, f"context variables leak: {wrong}"


async def never_more_run_than_there_are_slots(rig: Rig) -> None:
    running, most, threads, most_threads = [0], [0], [0], [0]
    lock = threading.Lock()

    @rig.task()
    async def waits(n: int) -> int:
        running[0] += 1
        most[0] = max(most[0], running[0])
        await asyncio.sleep(0)
        running[0] -= 1
        return n

    @rig.task()
    def blocks(n: int) -> int:
        with lock:
            threads[0] += 1
            most_threads[0] = max(most_threads[0], threads[0])
        threading.Event().wait(0.001)
        with lock:
            threads[0] -= 1
        return n

    async with rig.opened():
        await rig.start(concurrency=5, sync_threads=2)
        await rig.send_all([call for n in range(40) for call in (waits.message(n), blocks.message(n))])
        await rig.drained()
        assert 1 < most[0] <= 5, f"{most[0]} ran in 5 slots"
        assert most_threads[0] <= 2, f"{most_threads[0]} ran in 2 threads"


async def free_slots_are_filled_while_others_are_busy(rig: Rig) -> None:
    gate, running = asyncio.Event(), list[int]()

    @rig.task()
    async def work(n: int) -> int:
        running.append(n)
        await gate.wait()
        return n

    async with rig.opened():
        await rig.start(concurrency=8)
        handles = await rig.send_all([work.message(n) for n in range(5)])
        await rig.until(lambda: len(running) == 5, "five do not run")
        handles += await rig.send_all([work.message(n) for n in range(5, 12)])
        await rig.until(lambda: len(running) == 8, "three slots stay empty while five are busy")
        gate.set()
        assert [await rig.result(handle) for handle in handles] == list(range(12))


async def every_one_of_many_runs_exactly_once(rig: Rig) -> None:
    runs = Counter[int]()
    total = MANY if rig.harness.short else 10 * MANY

    @rig.task(reply=False)
    async def work(n: int) -> None:
        runs[n] += 1

    async with rig.opened():
        first = await rig.start()
        await rig.client.send_many([work.message(n) for n in range(total)])
        await rig.drained()
        await rig.until(lambda: first.counts.done == total, "not all are counted")
        assert set(runs) == set(range(total)), "some are lost"
        assert set(runs.values()) == {1}, "some ran twice"


SCENARIOS: tuple[EngineScenario, ...] = (
    an_async_handler_is_cancelled_at_its_timeout,
    a_handler_that_hides_its_timeout_has_timed_out_all_the_same,
    a_sync_handler_keeps_its_slot_until_its_thread_returns,
    the_time_of_a_sync_handler_begins_when_it_has_a_thread,
    sync_handlers_are_not_held_by_a_worker_that_has_no_thread,
    what_expires_while_it_waits_is_not_started,
    context_variables_do_not_leak_between_messages,
    never_more_run_than_there_are_slots,
    free_slots_are_filled_while_others_are_busy,
    every_one_of_many_runs_exactly_once,
)
