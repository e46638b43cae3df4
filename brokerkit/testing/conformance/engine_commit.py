"""A commit that cannot be done in one go: each delivery goes its own way, and nothing is acknowledged too early."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

from brokerkit.abilities import Committed
from brokerkit.context import Context
from brokerkit.errors import ConnectionLost, StoreError, TaskFailed
from brokerkit.message import Message, Scalar
from brokerkit.outcome import Reason
from brokerkit.records import TaskStatus
from brokerkit.store import Put
from brokerkit.testing.conformance.engine_rig import EngineScenario, Layout, Rig, only
from brokerkit.testing.faults import Faults
from brokerkit.topology import DeadLetter, Exchange, Queue, Retry
from brokerkit.transport import Published, Settled

TOO_LONG = 1_500_000
"""Bytes of a result that no store takes by default."""


@only(steps=True, records=True)
async def a_stalled_store_delays_only_its_own_users(rig: Rig) -> None:
    nowhere = Exchange(rig.harness.name("nowhere"))
    rig.declared.append(nowhere)
    done: list[int] = []

    @rig.task()
    async def kept(n: int) -> int:
        return n

    @rig.task(record="none", reply=False)
    async def quick(n: int) -> None:
        done.append(n)

    @rig.task()
    async def large() -> bytes:
        return b"x" * TOO_LONG

    @rig.task(retry=Retry.none())
    async def lost_event(ctx: Context) -> None:
        await ctx.publish("nobody listens", exchange=nowhere, routing_key="k")

    async with rig.opened():
        faults = Faults(rig.clock)
        mixed = await rig.send_all([call for n in range(10) for call in (kept.message(n), quick.message(n))])
        slow = [handle for handle in mixed if handle.name == "kept"]
        big, eventless = await rig.send(large.message()), await rig.send(lost_event.message())
        stall = faults.stall("put", ids={handle.id for handle in slow})
        process = await rig.start(faults)
        await rig.until(lambda: len(done) == 10, "the others do not run")
        await rig.until(lambda: process.counts.done >= 10, "the others are not settled while the store stalls")
        assert await rig.left() >= len(slow), "what is not stored is not acknowledged"
        stall.release()
        assert [await rig.result(handle) for handle in slow] == list(range(10))
        assert isinstance(await rig.outcome(big), TaskFailed)
        assert isinstance(await rig.outcome(eventless), TaskFailed)
        await rig.drained()
        assert await rig.dead() == {big.id: Reason.FAILED, eventless.id: Reason.FOLLOW_UP_FAILED}


async def what_the_broker_does_not_settle_is_settled_later(rig: Rig) -> None:
    runs, arrived = Counter[int](), Counter[str]()

    @rig.task()
    async def work(ctx: Context, n: int) -> int:
        runs[n] += 1
        await ctx.send(note.message(n))
        return n

    @rig.task(reply=False, record="none")
    async def note(ctx: Context, n: int) -> None:
        arrived[ctx.id] += 1

    async with rig.opened():
        faults = Faults(rig.clock)
        handles = await rig.send_all([work.message(n) for n in range(6)])
        ids = {handle.id for handle in handles}
        faults.answer("settle", verdict=Settled.FAILED, ids=ids, times=12)
        faults.answer("commit", verdict=Committed.FAILED, ids=ids, times=12)
        await rig.start(faults)
        await rig.drained()
        assert [await rig.result(handle) for handle in handles] == list(range(6))
        assert dict(runs) == dict.fromkeys(range(6), 1), f"nothing runs again: {runs}"
        assert list(arrived.values()) == [1] * 6, f"a confirmed follow-up is not sent again: {arrived}"


async def a_commit_that_raises_is_tried_again(rig: Rig) -> None:
    runs = Counter[int]()

    @rig.task()
    async def work(n: int) -> int:
        runs[n] += 1
        return n

    async with rig.opened():
        faults = Faults(rig.clock)
        faults.fail("settle", "commit", error=ConnectionLost("gone for a moment"), times=3)
        handles = await rig.send_all([work.message(n) for n in range(6)])
        await rig.start(faults)
        await rig.drained()
        assert [await rig.result(handle) for handle in handles] == list(range(6))
        assert dict(runs) == dict.fromkeys(range(6), 1), f"nothing runs again: {runs}"


@only(steps=True)
async def a_follow_up_of_unknown_fate_is_sent_again_under_its_id(rig: Rig) -> None:
    arrived, runs = Counter[str](), Counter[int]()

    @rig.task()
    async def work(ctx: Context) -> None:
        runs[0] += 1
        for n in range(3):
            await ctx.send(note.message(n))

    @rig.task(reply=False, record="none")
    async def note(ctx: Context, n: int) -> None:
        arrived[f"{n} as {ctx.id}"] += 1

    async with rig.opened():
        faults = Faults(rig.clock)
        faults.answer("publish", verdict=Published.UNKNOWN, skip=1, times=1)
        await rig.start(faults)
        await rig.result(await rig.send(work.message()))
        await rig.drained()
        assert runs[0] == 1
        assert list(arrived.values()) == [1, 1, 1], f"only the one of unknown fate is sent again: {arrived}"


@only(steps=True)
async def a_refused_follow_up_is_retried_and_then_dead_lettered(rig: Rig) -> None:
    runs: list[int] = []

    @rig.task(retry=Retry.fixed(max_retries=1, delay=rig.step))
    async def work(ctx: Context) -> None:
        runs.append(ctx.attempt)
        await ctx.send(note.message())

    @rig.task(reply=False)
    async def note() -> None:
        runs.append(-1)

    async with rig.opened():
        faults = Faults(rig.clock)
        faults.answer("publish", verdict=Published.FULL, times=None)
        await rig.start(faults)
        handle = await rig.send(work.message())
        assert isinstance(await rig.outcome(handle), TaskFailed)
        assert runs == [1, 2]
        await rig.drained()
        assert await rig.dead() == {handle.id: Reason.FOLLOW_UP_FAILED}


@only(steps=True, records=True)
async def a_follow_up_whose_record_no_store_takes_stops_nobody_else(rig: Rig) -> None:
    gate, arrived, heavy = asyncio.Event(), list[int](), rig.harness.name("heavy")

    @rig.task(retry=Retry.none(), record="none")
    async def work(ctx: Context, n: int) -> int:
        await ctx.send((note.options(id=heavy) if n == 0 else note).message(n))
        await gate.wait()
        return n

    @rig.task(reply=False)
    async def note(n: int) -> None:
        arrived.append(n)

    async with rig.opened():
        faults = Faults(rig.clock)
        faults.answer("put", verdict=Put.TOO_LARGE, ids={heavy}, times=None)
        await rig.start(faults)
        handles = await rig.send_all([work.message(n) for n in range(5)])
        gate.set()  # all end together, in one batch
        assert [await rig.result(handle) for handle in handles[1:]] == [1, 2, 3, 4]
        assert isinstance(await rig.outcome(handles[0]), TaskFailed)
        await rig.drained()
        assert sorted(arrived) == [1, 2, 3, 4]


@only(steps=True, records=True)
async def a_failure_whose_report_was_stored_unseen_is_dead_lettered_all_the_same(rig: Rig) -> None:
    @rig.task(retry=Retry.none())
    async def fail() -> None:
        raise ValueError("no")

    async with rig.opened():
        faults = Faults(rig.clock)
        faults.fail("put", error=StoreError("no answer in time"), after=True)
        await rig.start(faults)
        handle = await rig.send(fail.message())
        assert isinstance(await rig.outcome(handle), TaskFailed)
        await rig.drained()
        assert await rig.dead() == {handle.id: Reason.FAILED}, "a failed message is in its dead-letter queue"


@only(records=True)
async def a_report_no_store_takes_does_not_stop_its_message(rig: Rig) -> None:
    """Labels that leave no room for the error's text."""

    @rig.task(retry=Retry.fixed(max_retries=1, delay=rig.step))
    async def fail() -> None:
        raise ValueError("x" * 1_900)

    async with rig.opened():
        await rig.start()
        labels: dict[str, Scalar] = {"label": "x" * ((1 << 20) - 700)}
        if 0 < rig.client.transport.capabilities.largest_headers < 1 << 20:
            return  # no message of this broker has such labels
        message = Message(id=rig.harness.name("m"), name="fail", body=b"\x80", metadata=labels)
        await rig.publish(message)
        await rig.drained()
        assert set(await rig.dead()) == {message.id}


async def a_result_too_large_to_keep_or_send_is_a_failure(rig: Rig) -> None:
    runs: list[int] = []

    @rig.task()
    async def large() -> bytes:
        runs.append(1)
        return b"x" * TOO_LONG

    async with rig.opened():
        await rig.start()
        handle = await rig.send(large.message())
        assert isinstance(await rig.outcome(handle), TaskFailed)
        assert runs == [1], "running it again would not help"


@only(steps=True, records=True)
async def a_store_in_trouble_is_asked_again(rig: Rig) -> None:
    runs = Counter[int]()

    @rig.task()
    async def work(n: int) -> int:
        runs[n] += 1
        return n

    async with rig.opened():
        faults = Faults(rig.clock)
        faults.answer("put", verdict=Put.ERROR, times=9)
        faults.fail("put", error=StoreError("down"), times=2)
        handles = await rig.send_all([work.message(n) for n in range(6)])
        await rig.start(faults)
        await rig.drained()
        records: list[Any] = [await rig.record(handle.id) for handle in handles]
        assert [record.status for record in records] == [TaskStatus.SUCCESS] * 6, (
            "nothing is settled without its report"
        )
        assert dict(runs) == dict.fromkeys(range(6), 1), f"nothing runs again: {runs}"


async def a_full_dead_letter_queue_blocks_and_recovers(rig: Rig) -> None:
    rig.queue = Queue(rig.queue.name, dead_letter=DeadLetter(max_length=1))

    @rig.task(retry=Retry.none(), record="none" if rig.layout is Layout.BARE else "outcome")
    async def fail(n: int) -> None:
        raise ValueError(str(n))

    async with rig.opened():
        process = await rig.start()
        calls = [fail.message(n) for n in range(2)]
        at_once = 2 if rig.client.transport.capabilities.limits_exact else 1
        handles = await rig.send_all(calls[:at_once])
        await rig.eventually(lambda: process.counts.done == 1, "the first is dead-lettered")
        handles += await rig.send_all(calls[at_once:])
        await rig.advance(rig.step)
        # Counted, not looked at: a broker that has to take dead letters to show them has room for another meanwhile.
        assert (await rig.client.queue_stats(rig.queue)).dead in {1, None}
        assert await rig.left() == 1, "the other one is kept, not discarded"
        first = set(await rig.dead())
        await rig.client.purge(rig.queue, list(first))
        await rig.drained()
        assert set(await rig.dead()) == {handle.id for handle in handles} - first


SCENARIOS: tuple[EngineScenario, ...] = (
    a_stalled_store_delays_only_its_own_users,
    what_the_broker_does_not_settle_is_settled_later,
    a_commit_that_raises_is_tried_again,
    a_follow_up_of_unknown_fate_is_sent_again_under_its_id,
    a_refused_follow_up_is_retried_and_then_dead_lettered,
    a_follow_up_whose_record_no_store_takes_stops_nobody_else,
    a_failure_whose_report_was_stored_unseen_is_dead_lettered_all_the_same,
    a_report_no_store_takes_does_not_stop_its_message,
    a_result_too_large_to_keep_or_send_is_a_failure,
    a_store_in_trouble_is_asked_again,
    a_full_dead_letter_queue_blocks_and_recovers,
)
