"""What a worker holds, what it loses, and what comes again while it still works on it."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter

import msgspec

from brokerkit.context import Context
from brokerkit.errors import TaskCancelled
from brokerkit.outcome import Reason
from brokerkit.records import TaskStatus
from brokerkit.store import Put
from brokerkit.testing.conformance.engine_rig import EngineScenario, Rig, only
from brokerkit.testing.faults import Faults
from brokerkit.topology import Retry
from brokerkit.worker.quarantine import SUSPECT_DELIVERIES

INNOCENTS = 20


@only(records=True)
async def a_zombie_is_refused_everywhere(rig: Rig) -> None:
    runs: list[tuple[int, int, int]] = []
    arrived = Counter[str]()

    @rig.task()
    async def work(ctx: Context) -> int:
        runs.append(ctx.fence)
        await ctx.send(note.message())
        return len(runs)

    @rig.task(reply=False)
    async def note(ctx: Context) -> None:
        arrived[ctx.id] += 1

    async with rig.opened():
        faults = Faults(rig.clock)
        stall = faults.stall("put", "commit", times=1)
        zombie = await rig.start(faults)
        handle = await rig.send(work.message())
        await rig.until(stall.reached.is_set, "the first run has not ended")
        await rig.deafen(zombie)
        other = await rig.start()
        await rig.lose(zombie)
        assert await rig.result(handle) == 2, "the second run's result counts"
        stall.release()
        await rig.until(lambda: zombie.counts.done + zombie.counts.lost > 0, "the zombie gives up")
        await rig.stop(other)
        record = await rig.record(handle.id)
        assert record is not None
        assert record.fence == runs[-1], "its report is refused"
        assert "reply" not in zombie.calls, "it does not reply"
        assert zombie.counts.done == 0, "it settles nothing"
        assert list(arrived.values()) == [1], "its follow-ups do not leave"
        assert runs[1] > runs[0], "the second run has the higher fence"


@only(records=True)
async def a_report_that_comes_too_late_sends_nothing(rig: Rig) -> None:
    gate, started, arrived = asyncio.Event(), asyncio.Event(), list[int]()

    @rig.task()
    async def work(ctx: Context) -> str:
        await ctx.send(note.message())
        started.set()
        await gate.wait()
        return "too late"

    @rig.task(reply=False)
    async def note() -> None:
        arrived.append(1)

    async with rig.opened():
        process = await rig.start()
        handle = await rig.send(work.message())
        await rig.until(started.is_set, "it does not run")
        record = await rig.record(handle.id)
        assert record is not None
        ended = msgspec.structs.replace(record, status=TaskStatus.CANCELLED, finished=rig.clock.now())
        assert list(await rig.records.put([ended])) == [Put.STORED]
        gate.set()
        await rig.drained()
        assert isinstance(await rig.outcome(handle), TaskCancelled), "what the store knew first counts"
        await rig.until(lambda: process.counts.stale == 1, "it does not notice")
        assert "reply" not in process.calls, "it does not reply"
        assert not arrived, "its follow-ups do not leave"
        assert not await rig.dead()


async def what_comes_again_while_it_runs_is_adopted(rig: Rig) -> None:
    gate, seen = asyncio.Event(), list[bool]()

    @rig.task()
    async def work(ctx: Context) -> str:
        seen.append(ctx.lost)
        await gate.wait()
        seen.append(ctx.lost)
        return "done"

    async with rig.opened():
        process = await rig.start()
        handle = await rig.send(work.message())
        await rig.until(lambda: len(seen) == 1, "it does not run")
        received = process.calls.count("receive")
        await rig.lose(process)
        await rig.until(lambda: process.calls.count("receive") > received, "it does not come again")
        gate.set()
        assert await rig.result(handle) == "done"
        await rig.drained()
        assert len(seen) == 2, "it ran once"
        assert not seen[1], "what was adopted is not lost any more"
        assert process.counts.lost == 0
        assert not await rig.dead()


async def a_handler_keeps_its_message_however_long_it_works(rig: Rig) -> None:
    gate, stop = asyncio.Event(), threading.Event()
    runs = Counter[str]()

    @rig.task()
    async def waits() -> None:
        runs["async"] += 1
        await gate.wait()

    @rig.task()
    def blocks() -> None:
        runs["sync"] += 1
        stop.wait(60)

    async with rig.opened() as client:
        try:
            await rig.start()
            handles = [await rig.send(waits.message()), await rig.send(blocks.message())]
            await rig.until(lambda: runs.total() == 2, "they do not run")
            await rig.start()  # a second worker would take what the first loses
            await rig.advance(3 * (client.transport.capabilities.lease or rig.step))
        finally:
            stop.set()
        gate.set()
        for handle in handles:
            await rig.result(handle)
        assert dict(runs) == {"async": 1, "sync": 1}


@only(records=True)
async def a_copy_of_what_runs_does_not_run_beside_it(rig: Rig) -> None:
    gate, runs = asyncio.Event(), Counter[str]()
    together: list[int] = [0]

    @rig.task()
    async def work(ctx: Context) -> int:
        runs[ctx.id] += 1
        together.append(together[-1] + 1)
        await gate.wait()
        together.append(together[-1] - 1)
        return runs[ctx.id]

    async with rig.opened():
        process = await rig.start()
        name = rig.harness.name("twice")
        handle = await rig.send(work.options(id=name).message())
        await rig.until(lambda: runs[name] == 1, "it does not run")
        received = process.calls.count("receive")
        await rig.send(work.options(id=name).message())
        await rig.until(lambda: process.calls.count("receive") > received, "the copy does not come")
        await rig.advance(0)
        gate.set()
        assert await rig.result(handle) == 1, "the first result counts"
        await rig.drained()
        assert max(together) == 1, "one message never runs twice at a time"


@only(records=True, steps=True)
async def what_is_lost_while_the_store_is_asked_does_not_deafen_the_worker(rig: Rig) -> None:
    runs = Counter[int]()

    @rig.task()
    async def work(n: int) -> int:
        runs[n] += 1
        return n

    async with rig.opened():
        handles = await rig.send_all([work.message(n) for n in range(4)])
        crash = Faults(rig.clock)
        crash.crash("receive", after=True)
        await rig.crashed(await rig.start(crash, concurrency=4))
        faults = Faults(rig.clock)
        stall = faults.stall("get")
        process = await rig.start(faults, concurrency=2)
        await rig.until(stall.reached.is_set, "what came again is not looked up")
        await rig.lose(process)
        stall.release()
        await rig.drained()
        assert [await rig.result(handle) for handle in handles] == [0, 1, 2, 3]


@only(records=True, steps=True)
async def a_failure_found_in_the_store_is_dead_lettered(rig: Rig) -> None:
    runs: list[int] = []

    @rig.task(retry=Retry.none())
    async def fail() -> None:
        runs.append(1)
        raise ValueError("no")

    async with rig.opened():
        faults = Faults(rig.clock)
        faults.crash("settle")
        handle = await rig.send(fail.message())
        await rig.crashed(await rig.start(faults))
        await rig.start()
        await rig.drained()
        assert await rig.dead() == {handle.id: Reason.FAILED}, "it is not acknowledged away"
        assert runs == [1], "and it does not run again"


async def only_the_poison_is_condemned(rig: Rig) -> None:
    runs = Counter[str]()
    alive: list[Faults] = []

    @rig.task()
    async def innocent(n: int) -> int:
        runs["innocent"] += 1
        await rig.clock.sleep(rig.step / 10)
        return n

    @rig.task()
    async def poison() -> None:
        runs["poison"] += 1
        await alive[-1].end_process()

    async with rig.opened():
        bad = await rig.send(poison.message())
        good = await rig.send_all([innocent.message(n) for n in range(INNOCENTS)])
        for _ in range(3 * rig.queue.max_deliveries):
            alive.append(Faults(rig.clock))
            process = await rig.start(alive[-1], concurrency=INNOCENTS + 1)
            await rig.eventually(lambda: process.over.is_set() or process.counts.dead == 1, "nothing happens")  # noqa: B023
            if not process.faults.crashed:
                break
        await rig.drained()
        dead = await rig.dead()
        assert dead == {bad.id: Reason.CRASH_LOOP}, f"only the poison is dead-lettered, but {dead} are"
        assert [await rig.result(handle) for handle in good] == list(range(INNOCENTS))
        wanted = SUSPECT_DELIVERIES - 1 + rig.queue.max_deliveries
        assert runs["poison"] == wanted, f"it crashed {runs['poison']} workers, {wanted} were expected"


SCENARIOS: tuple[EngineScenario, ...] = (
    a_zombie_is_refused_everywhere,
    a_report_that_comes_too_late_sends_nothing,
    what_comes_again_while_it_runs_is_adopted,
    a_handler_keeps_its_message_however_long_it_works,
    a_copy_of_what_runs_does_not_run_beside_it,
    what_is_lost_while_the_store_is_asked_does_not_deafen_the_worker,
    a_failure_found_in_the_store_is_dead_lettered,
    only_the_poison_is_condemned,
)
