"""How results come back: many in one message; from the store when a reply is lost; only by reply without a store."""

from __future__ import annotations

import asyncio
import gc

from brokerkit.testing.conformance.engine_rig import EngineScenario, Rig, only
from brokerkit.testing.faults import Faults
from brokerkit.transport import Published

COUNT = 50


async def results_of_one_commit_travel_together(rig: Rig) -> None:
    gate = asyncio.Event()
    waiting: list[int] = []

    @rig.task()
    async def work(n: int) -> int:
        waiting.append(n)
        await gate.wait()
        return n

    async with rig.opened():
        process = await rig.start(concurrency=COUNT)
        handles = await rig.send_all([work.message(n) for n in range(COUNT)])
        await rig.until(lambda: len(waiting) == COUNT, "not all run")
        gate.set()
        assert [await rig.result(handle) for handle in handles] == list(range(COUNT))
        messages = sum(len(ids) for name, ids in process.faults.journal if name == "reply")
        assert messages <= COUNT // 5, f"{COUNT} results took {messages} messages"


@only(records=True)
async def a_lost_reply_is_found_in_the_store(rig: Rig) -> None:
    @rig.task()
    async def work(n: int) -> int:
        return n

    async with rig.opened():
        faults = Faults(rig.clock)
        faults.answer("reply", verdict=Published.UNKNOWN, times=None)
        await rig.start(faults)
        handles = await rig.send_all([work.message(n) for n in range(3)])
        assert [await rig.result(handle) for handle in handles] == [0, 1, 2]
        await rig.drained()


@only(records=False)
async def without_a_store_nothing_is_acknowledged_before_its_reply(rig: Rig) -> None:
    @rig.task()
    async def work(n: int) -> int:
        return n

    async with rig.opened():
        faults = Faults(rig.clock)
        stall = faults.stall("reply")
        process = await rig.start(faults)
        handles = await rig.send_all([work.message(n) for n in range(3)])
        await rig.until(stall.reached.is_set, "no reply is sent")
        await rig.advance(0)
        assert await rig.left() == 3
        stall.release()
        assert [await rig.result(handle) for handle in handles] == [0, 1, 2]
        await rig.drained()
        await rig.until(lambda: process.counts.done == 3, "not all are counted")


async def a_wait_that_ran_out_can_be_taken_up_again(rig: Rig) -> None:
    gate = asyncio.Event()

    @rig.task()
    async def work() -> str:
        await gate.wait()
        return "late"

    async with rig.opened():
        await rig.start()
        handle = await rig.send(work.message())
        assert isinstance(await rig.passing(handle.result(timeout=rig.step)), TimeoutError)
        gate.set()
        assert await rig.result(handle) == "late"
        assert await rig.result(handle) == "late", "and asked for twice"


async def a_reply_nobody_waits_for_does_no_harm(rig: Rig) -> None:
    done: list[int] = []

    @rig.task()
    async def work(n: int) -> int:
        done.append(n)
        return n

    async with rig.opened():
        handle = await rig.send(work.message(0))
        del handle
        gc.collect()
        await rig.start()
        kept = await rig.send(work.message(1))
        assert await rig.result(kept) == 1
        await rig.drained()
        assert sorted(done) == [0, 1]


SCENARIOS: tuple[EngineScenario, ...] = (
    results_of_one_commit_travel_together,
    a_lost_reply_is_found_in_the_store,
    without_a_store_nothing_is_acknowledged_before_its_reply,
    a_wait_that_ran_out_can_be_taken_up_again,
    a_reply_nobody_waits_for_does_no_harm,
)
