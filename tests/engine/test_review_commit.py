"""What a worker commits: never twice, never not at all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from brokerkit import App, Context, Exchange, Retry
from brokerkit.errors import ConnectionLost, StoreError, TaskFailed
from brokerkit.message import Message, Outgoing
from brokerkit.middleware import Send
from brokerkit.outcome import Reason
from brokerkit.records import TaskStatus
from brokerkit.settings import Settings
from brokerkit.store import Put
from brokerkit.stores.memory import MemoryStore
from brokerkit.testing import VirtualClock
from brokerkit.testing.faults import Faults
from brokerkit.testing.faulty import FaultyStore, faulty_transport
from brokerkit.transport import Published
from brokerkit.transports.memory import MemoryBroker, MemoryTransport


class Bench:
    """An app on the memory broker whose records are apart, and faults between them."""

    def __init__(self, settings: Settings | None = None) -> None:
        self.clock = VirtualClock()
        self.faults = Faults(self.clock)
        self.broker = MemoryBroker(self.clock)
        self.store = MemoryStore(self.clock)
        self.inner = MemoryTransport(self.broker)
        self.app = App(
            faulty_transport(self.inner, self.faults, apart=True),
            store=FaultyStore(self.store, self.faults),
            clock=self.clock,
            settings=settings or Settings(retry=Retry.none()),
        )

    async def until(self, holds: Callable[[], object]) -> None:
        for _ in range(400):
            if holds():
                return
            await self.clock.advance(0.05)
        raise AssertionError("it never holds")

    async def drained(self) -> None:
        """Until the queue is empty and nothing of it is held."""
        for _ in range(400):
            stats = await self.app.queue_stats("default")
            if not stats.ready and not stats.in_flight and not stats.delayed:
                return
            await self.clock.advance(0.05)
        raise AssertionError("messages are left")

    async def copy(self, task_id: str, name: str) -> None:
        """A second message with the id of the first."""
        message = Message(id=task_id, name=name, body=b"\x80", created=self.clock.now(), routing_key="default")
        await self.inner.publish([Outgoing(message, "", "default")], deadline=5.0)
        await self.clock.advance()

    @asynccontextmanager
    async def serving(self, **settings: Any) -> AsyncIterator[None]:
        async with self.app, self.app.worker(**settings):
            yield


@pytest.mark.parametrize("concurrency", [1, 2])
async def test_a_copy_of_a_running_message_waits_until_the_report_of_the_first_is_stored(concurrency: int) -> None:
    bench, runs, gate = Bench(), list[int](), asyncio.Event()

    @bench.app.task
    async def work() -> int:
        runs.append(1)
        await gate.wait()
        return len(runs)

    async with bench.serving(concurrency=concurrency):
        handle = await work.send()
        await bench.until(lambda: len(runs) == 1)
        await bench.copy(handle.id, "work")
        slow = bench.faults.stall("put", ids={handle.id})
        gate.set()
        await bench.until(slow.reached.is_set)
        await bench.clock.advance(1.0)
        slow.release()
        await bench.drained()
    assert len(runs) == 1, "the store knows that it has finished"


@pytest.mark.parametrize("call", ["put", "settle", "reply"])
async def test_a_call_cancelled_from_within_is_a_failed_call(call: str) -> None:
    bench, gate = Bench(), asyncio.Event()

    @bench.app.task
    async def work() -> int:
        await gate.wait()
        return 1

    async with bench.serving(), asyncio.TaskGroup() as waits:
        handle = await work.send()
        cancelled = bench.faults.fail(call, error=asyncio.CancelledError())
        gate.set()
        result = waits.create_task(handle.result(timeout=60))
        await bench.until(result.done)
        await bench.drained()
        assert result.result() == 1
        assert cancelled.reached.is_set()


async def test_middleware_that_refuses_a_follow_up_fails_its_attempt_and_not_the_worker() -> None:
    def choosy(send: Send) -> Send:
        async def around(messages: Sequence[Outgoing]) -> Sequence[Published]:
            if any(outgoing.message.name == "bad" for outgoing in messages):
                raise ValueError("not this one")
            return await send(messages)

        return around

    bench, followed = Bench(Settings(retry=Retry.none(), send_middleware=[choosy])), list[str]()

    @bench.app.task
    async def bad() -> None: ...

    @bench.app.task
    async def good() -> None:
        followed.append("good")

    @bench.app.task
    async def work(ctx: Context, wrong: bool) -> None:
        await ctx.send((bad if wrong else good).message())

    async with bench.serving(), asyncio.TaskGroup() as waits:
        first, second = await bench.app.send_many([work.message(True), work.message(False)])
        refused = waits.create_task(_error_of(first))
        fine = waits.create_task(second.result(timeout=60))
        await bench.until(lambda: refused.done() and fine.done() and followed == ["good"])
        assert "not this one" in str(refused.result())
        (dead,) = await bench.app.dead_letters("default")
        assert dead.reason is Reason.FOLLOW_UP_FAILED


async def _error_of(handle: Any) -> BaseException:
    with pytest.raises(TaskFailed) as caught:
        await handle.result(timeout=60)
    return caught.value


async def test_a_refused_follow_up_is_named() -> None:
    bench = Bench()

    @bench.app.task
    async def work(ctx: Context) -> None:
        await ctx.publish({}, exchange="nowhere", routing_key="a.b")

    bench.app.declare(Exchange("nowhere"))
    async with bench.serving(), asyncio.TaskGroup() as waits:
        refused = waits.create_task(_error_of(await work.send()))
        await bench.until(refused.done)
        assert "'nowhere'" in str(refused.result())
        assert "'a.b'" in str(refused.result())


async def test_a_follow_up_left_after_the_end_is_refused() -> None:
    bench, kept = Bench(), list[Context]()

    @bench.app.task
    async def work(ctx: Context) -> None:
        kept.append(ctx)

    async with bench.serving():
        await work.send()
        await bench.until(lambda: kept)
        await bench.drained()
        with pytest.raises(RuntimeError, match="has ended"):
            kept[0].send_nowait(work.message())
        with pytest.raises(RuntimeError, match="has ended"):
            await kept[0].in_thread(lambda: None)


async def test_a_message_nobody_takes_is_dead_lettered_although_its_report_was_stored_before_a_crash() -> None:
    bench = Bench()

    @bench.app.task
    async def work() -> None: ...

    async with bench.app:
        handle = await bench.app.send("unknown", {}, queue="default")
        unsettled = bench.faults.fail("settle", error=ConnectionLost("gone"), times=None)  # reported, never settled
        async with bench.app.worker():
            await bench.until(lambda: _status(bench, handle.id) is TaskStatus.FAILURE)
            bench.inner.disconnect()
            unsettled.release()
            await bench.drained()
        assert [dead.message.id for dead in await bench.app.dead_letters("default")] == [handle.id]


def _status(bench: Bench, task_id: str) -> TaskStatus | None:
    kept = bench.store._kept.get(task_id)
    return kept.record.status if kept is not None else None


async def test_what_expires_while_it_runs_here_goes_on_when_it_is_delivered_again() -> None:
    bench, gate, runs = Bench(), asyncio.Event(), list[int]()

    @bench.app.task
    async def work() -> int:
        runs.append(1)
        await gate.wait()
        return 7

    async with bench.serving(), asyncio.TaskGroup() as waits:
        handle = await work.options(expires=1.0).send()
        await bench.until(lambda: len(runs) == 1)
        await bench.clock.advance(2.0)
        bench.inner.disconnect()
        await bench.clock.advance(2.0)
        gate.set()
        result = waits.create_task(handle.result(timeout=60))
        await bench.until(result.done)
        assert result.result() == 7
        assert not await bench.app.dead_letters("default")
        assert len(runs) == 1


async def test_progress_is_kept_until_it_is_written() -> None:
    bench, gate = Bench(), asyncio.Event()

    @bench.app.task
    async def work(ctx: Context) -> None:
        await ctx.progress(0.5, "half")
        await gate.wait()

    async with bench.serving():
        bench.faults.fail("patch", error=StoreError("down"), times=2)
        handle = await work.send()
        await bench.clock.advance(3.0)
        (record,) = await bench.store.get([handle.id])
        gate.set()
    assert record is not None
    assert record.progress == 0.5


async def test_a_running_task_is_reported_although_the_store_failed_the_first_time() -> None:
    bench, gate = Bench(), asyncio.Event()

    @bench.app.task
    async def work() -> None:
        await gate.wait()

    async with bench.serving():
        handle = await work.send()
        bench.faults.fail("put", error=StoreError("down"))
        bench.faults.answer("put", verdict=Put.ERROR)
        await bench.clock.advance(4.0)
        assert await handle.status() is TaskStatus.RUNNING
        gate.set()


async def test_a_drain_ends_although_the_store_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("brokerkit.worker.engine.LAST_WORDS", 0.02)
    bench, gate = Bench(), asyncio.Event()

    @bench.app.task
    async def work(ctx: Context) -> None:
        await ctx.progress(0.5)
        await gate.wait()

    async with asyncio.timeout(5):
        async with bench.serving(grace=0.0):
            stalls = [bench.faults.stall(call) for call in ("patch", "announce", "pause")]
            await work.send()
            await bench.clock.advance()
    for stall in stalls:
        stall.release()


async def test_pending_records_go_to_the_store_that_was_named() -> None:
    clock = VirtualClock()
    broker, store = MemoryBroker(clock), MemoryStore(clock)
    app = App(MemoryTransport(broker), store=store, clock=clock)

    @app.task
    async def work() -> None: ...

    async with app:
        handle = await work.send()
        assert await handle.status() is TaskStatus.PENDING
        assert not await broker.store.find(_everything())


def _everything() -> Any:
    from brokerkit.store import RecordFilter

    return RecordFilter()
