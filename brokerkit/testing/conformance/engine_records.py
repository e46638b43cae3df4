"""What the store and the operator see while tasks run; and how a task is cancelled."""

from __future__ import annotations

import asyncio

from brokerkit.abilities import CancelWaiting, Presences, Signals
from brokerkit.client.handle import Cancel
from brokerkit.context import Context
from brokerkit.errors import ConnectionLost, GiveUp, TaskCancelled, TaskFailed
from brokerkit.records import TaskStatus
from brokerkit.testing.conformance.engine_rig import EngineScenario, Layout, Rig, only
from brokerkit.testing.faults import Faults


@only(records=True)
async def a_task_that_takes_long_is_seen_running(rig: Rig) -> None:
    gate = asyncio.Event()

    @rig.task()
    async def work(ctx: Context) -> None:
        await ctx.progress(0.25, "a quarter")
        await gate.wait()

    async with rig.opened():
        process = await rig.start()
        handle = await rig.send(work.message())
        assert await handle.status() is TaskStatus.PENDING
        await rig.advance(2.0)
        record = await rig.record(handle.id)
        assert record is not None
        assert process.worker is not None
        assert record.status is TaskStatus.RUNNING
        assert record.worker == process.worker.name
        assert (record.progress, record.note) == (0.25, "a quarter")
        gate.set()
        await rig.result(handle)
        last = await rig.record(handle.id)
        assert last is not None
        assert last.status is TaskStatus.SUCCESS
        assert last.progress == 0.25, "the last progress stays"


@only(records=True)
async def a_full_record_says_running_before_the_run(rig: Rig) -> None:
    seen: list[TaskStatus | None] = []

    @rig.task(record="full")
    async def work(ctx: Context) -> None:
        seen.append(await rig.client.status(ctx.id))

    async with rig.opened():
        await rig.start()
        await rig.result(await rig.send(work.message()))
        assert seen == [TaskStatus.RUNNING]


@only(records=True, steps=True)
async def who_reports_progress_is_seen_running(rig: Rig) -> None:
    gate = asyncio.Event()

    @rig.task()
    async def work(ctx: Context) -> None:
        await ctx.progress(0.25)
        await gate.wait()

    async with rig.opened():
        await rig.start()
        await rig.advance(10.25)  # between two writes
        handle = await rig.send(work.message())
        seen = [await rig.record(handle.id)]
        while seen[-1] is None or seen[-1].progress is None:
            await rig.advance(0.1)
            seen.append(await rig.record(handle.id))
        assert seen[-1].status is TaskStatus.RUNNING, "what has progress is not PENDING"
        gate.set()
        await rig.result(handle)


@only(records=True, steps=True)
async def progress_is_written_at_most_twice_a_second(rig: Rig) -> None:
    gate, reported = asyncio.Event(), asyncio.Event()

    @rig.task()
    async def work(ctx: Context) -> None:
        for step in range(100):
            await ctx.progress(step / 100)
            await rig.clock.sleep(0.02)
        reported.set()
        await gate.wait()

    async with rig.opened():
        process = await rig.start()
        began = rig.clock.now()
        handle = await rig.send(work.message())
        await rig.eventually(reported.is_set, "the handler does not go on")
        await rig.advance(1.0)
        writes, took = process.calls.count("patch"), rig.clock.now() - began
        assert 1 <= writes <= 2 * took + 1, f"{writes} writes in {took:.1f} seconds"
        record = await rig.record(handle.id)
        assert record is not None
        assert record.progress == 0.99, "the newest one is kept"
        gate.set()
        await rig.result(handle)


@only(records=True)
async def a_task_is_cancelled_before_it_starts(rig: Rig) -> None:
    runs: list[int] = []

    @rig.task()
    async def work() -> None:
        runs.append(1)

    async with rig.opened() as client:
        if not isinstance(client.transport, CancelWaiting):
            return
        handle = await rig.send(work.message())
        assert await handle.cancel() is Cancel.CANCELLED
        await rig.start()
        assert isinstance(await rig.outcome(handle), TaskCancelled)
        await rig.drained()
        assert not runs
        assert await handle.cancel() is Cancel.TOO_LATE


@only(records=True)
async def a_task_is_cancelled_while_it_runs(rig: Rig) -> None:
    runs: list[str] = []

    @rig.task()
    async def work() -> None:
        runs.append("started")
        try:
            await asyncio.Event().wait()
        finally:
            runs.append("ended")

    async with rig.opened() as client:
        if not isinstance(client.transport, Signals):
            return
        process = await rig.start(concurrency=1)
        handle = await rig.send(work.message())
        await rig.until(lambda: runs == ["started"], "it does not run")
        assert await handle.cancel() is Cancel.REQUESTED
        assert isinstance(await rig.outcome(handle), TaskCancelled)
        assert runs == ["started", "ended"]
        assert not await rig.dead(), "cancelled is not dead"
        assert process.worker is not None
        assert process.worker.running == 0
        assert await handle.cancel() is Cancel.TOO_LATE


@only(records=True)
async def what_goes_on_although_it_is_asked_to_end_has_its_own_outcome(rig: Rig) -> None:
    runs: list[str] = []

    @rig.task()
    async def work() -> str:
        runs.append("started")
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "done all the same"
        return "done"

    async with rig.opened() as client:
        if not isinstance(client.transport, Signals):
            return
        await rig.start(concurrency=1)
        handle = await rig.send(work.message())
        await rig.until(lambda: runs == ["started"], "it does not run")
        await rig.advance(rig.harness.quiet)  # signals reach who listens, which a worker begins beside its first run
        assert await handle.cancel() is Cancel.REQUESTED
        await rig.drained()
        record = await rig.record(handle.id)
        assert record is not None
        assert record.status is TaskStatus.SUCCESS, "it has not been cancelled"
        assert not record.asked
        assert await handle.result(timeout=1) == "done all the same"


@only(records=True)
async def a_task_that_a_worker_has_fetched_is_cancelled_before_it_starts(rig: Rig) -> None:
    gate, runs = asyncio.Event(), list[str]()

    @rig.task()
    async def work(name: str) -> None:
        runs.append(name)
        await gate.wait()

    async with rig.opened() as client:
        if not isinstance(client.transport, Signals):
            return
        _, handle = await rig.send_all([work.message("first"), work.message("second")])
        process = await rig.start(concurrency=1)
        await rig.until(lambda: runs == ["first"], "it does not run")
        fetched = [each for name, ids in process.faults.journal if name == "receive" for each in ids]
        assert handle.id in fetched, "it is fetched ahead"
        await rig.advance(rig.harness.quiet)  # signals reach who listens, which a worker begins beside its first run
        assert await handle.cancel() in (Cancel.REQUESTED, Cancel.CANCELLED)
        assert isinstance(await rig.outcome(handle), TaskCancelled), "it needs no slot to be cancelled"
        await rig.advance(rig.harness.quiet)  # a signal may take longer than a record
        gate.set()
        await rig.drained()
        assert runs == ["first"], "what was cancelled does not start"


@only(records=False)
async def without_a_record_too_who_waits_is_told_of_a_cancel(rig: Rig) -> None:
    started = asyncio.Event()

    @rig.task()
    async def work() -> None:
        started.set()
        await asyncio.Event().wait()

    async with rig.opened() as client:
        if not isinstance(client.transport, CancelWaiting):
            return
        waiting = await rig.send(work.message())
        assert await waiting.cancel() is Cancel.CANCELLED
        assert isinstance(await rig.outcome(waiting), TaskCancelled)
        await rig.start()
        running = await rig.send(work.message())
        await rig.until(started.is_set, "it does not run")
        assert await running.cancel() is Cancel.REQUESTED
        assert isinstance(await rig.outcome(running), TaskCancelled)
        await rig.drained()
        assert await running.cancel() is Cancel.TOO_LATE


@only(records=True)
async def a_task_that_was_sent_back_waits_again_and_can_be_cancelled(rig: Rig) -> None:
    runs: list[int] = []

    @rig.task()
    async def work(ctx: Context) -> None:
        runs.append(ctx.run)
        raise GiveUp("no")

    async with rig.opened() as client:
        process = await rig.start()
        handle = await rig.send(work.message())
        assert isinstance(await rig.outcome(handle), TaskFailed)
        await rig.drained()
        await rig.stop(process)
        assert await client.redrive(rig.queue) == 1
        record = await rig.record(handle.id)
        assert record is not None
        assert (record.status, record.run) == (TaskStatus.PENDING, 2)
        assert await handle.cancel() in (Cancel.CANCELLED, Cancel.REQUESTED)
        await rig.start()
        assert isinstance(await rig.outcome(handle), TaskCancelled)
        await rig.drained()
        assert runs == [1]


async def a_worker_is_present_while_it_serves(rig: Rig) -> None:
    @rig.task()
    async def work() -> None: ...

    async with rig.opened() as client:
        transport = client.transport
        if not isinstance(transport, Presences):
            return
        process = await rig.start(concurrency=3)
        assert process.worker is not None
        await rig.advance(20.0 if rig.harness.quiet == 0 else rig.step)
        (presence,) = [found for found in await transport.present() if rig.queue.name in found.sources]
        assert presence.worker == process.worker.name
        assert presence.concurrency == 3
        await rig.stop(process)
        assert not [found for found in await transport.present() if rig.queue.name in found.sources]


async def what_kills_a_background_task_leaves_the_worker(rig: Rig) -> None:
    @rig.task()
    async def work() -> None: ...

    calls = {Layout.SHARED: "commit", Layout.APART: "put", Layout.BARE: "settle"}
    async with rig.opened():
        faults = Faults(rig.clock)
        faults.fail(calls[rig.layout], error=RuntimeError("garbage"))
        process = await rig.start(faults)
        await rig.send(work.message())
        await rig.eventually(process.over.is_set, "the worker goes on as if nothing had happened")
        error, process.error = process.error, None
        assert isinstance(error, RuntimeError), f"what killed it was {error!r}"
        assert await rig.left() == 1, "nothing is acknowledged"
        await rig.start()
        await rig.drained()


async def a_transport_that_gives_up_ends_the_worker(rig: Rig) -> None:
    @rig.task()
    async def work() -> None: ...

    async with rig.opened():
        faults = Faults(rig.clock)
        faults.fail("receive", error=ConnectionLost("for good"))
        process = await rig.start(faults)
        await rig.eventually(process.over.is_set, "the worker is deaf")
        error, process.error = process.error, None
        assert isinstance(error, ConnectionLost), f"what ended it was {error!r}"


async def a_call_that_is_cancelled_from_inside_ends_the_worker(rig: Rig) -> None:
    @rig.task()
    async def work() -> None: ...

    async with rig.opened():
        faults = Faults(rig.clock)
        faults.fail("receive", error=asyncio.CancelledError())  # a client library that cancels its own futures
        process = await rig.start(faults)
        await rig.eventually(process.over.is_set, "the worker is deaf and nobody knows")
        assert process.error is not None
        process.error = None


SCENARIOS: tuple[EngineScenario, ...] = (
    a_task_that_takes_long_is_seen_running,
    a_full_record_says_running_before_the_run,
    who_reports_progress_is_seen_running,
    progress_is_written_at_most_twice_a_second,
    a_task_is_cancelled_before_it_starts,
    a_task_is_cancelled_while_it_runs,
    what_goes_on_although_it_is_asked_to_end_has_its_own_outcome,
    a_task_that_a_worker_has_fetched_is_cancelled_before_it_starts,
    without_a_record_too_who_waits_is_told_of_a_cancel,
    a_task_that_was_sent_back_waits_again_and_can_be_cancelled,
    a_worker_is_present_while_it_serves,
    what_kills_a_background_task_leaves_the_worker,
    a_transport_that_gives_up_ends_the_worker,
    a_call_that_is_cancelled_from_inside_ends_the_worker,
)
