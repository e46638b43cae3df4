"""Cancelling, one case at a time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

import msgspec
import pytest

from brokerkit import App, Cancel, Context, MissingCapability, Retry, StoreError, TaskCancelled, TaskStatus
from brokerkit.message import Message, Outgoing
from brokerkit.records import TaskRecord
from brokerkit.store import Put
from brokerkit.stores.memory import MemoryStore
from brokerkit.testing import VirtualClock
from brokerkit.transport import Capabilities
from brokerkit.transports.memory import MemoryBroker, MemoryTransport
from brokerkit.worker.finished import followups_kept
from brokerkit.worker.intake import CANCEL_REMEMBERED, MOST_REMEMBERED
from tests.engine.test_tombstones import Unyielding


class Apart(MemoryTransport):
    """Keeps no records itself, and perhaps reaches no worker."""

    signals_reach = True

    @property
    def capabilities(self) -> Capabilities:
        return msgspec.structs.replace(
            super().capabilities, atomic_records=False, atomic_commit=False, signals=self.signals_reach
        )


class Moody(MemoryStore):
    """Answers the next gets as it is told, and may be down for reports."""

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__(clock)
        self.next: list[TaskRecord] = []
        self.down = False

    async def get(self, ids: Sequence[str]) -> Sequence[TaskRecord | None]:
        if self.next:
            return [self.next.pop(0)]
        return await super().get(ids)

    async def put(self, records: Sequence[TaskRecord]) -> Sequence[Put]:
        if self.down:
            raise StoreError("the database is down")
        return await super().put(records)


def make(kind: type[MemoryTransport] = Apart) -> tuple[VirtualClock, Moody, App]:
    clock = VirtualClock()
    store = Moody(clock)
    return clock, store, App(kind(MemoryBroker(clock)), store=store, clock=clock)


async def waiting_in(app: App) -> int | None:
    return (await app.queue_stats("default")).ready


# -- a message that has come back to be recognised -------------------------------------------------------------------


@pytest.mark.parametrize("left", ["its reply", "follow-ups"])
async def test_a_run_that_is_over_is_too_late_to_cancel_and_its_message_stays(left: str) -> None:
    _, store, app = make()

    @app.task
    async def work() -> None: ...

    async with app:
        handle = await work.send()
        record = await handle.record()
        assert record is not None
        if left == "its reply":
            over = msgspec.structs.replace(record, status=TaskStatus.SUCCESS, deliveries=1)
        else:
            followups = followups_kept([Outgoing(Message(id="f", name="work", body=b"\x80"), "", "default")])
            over = msgspec.structs.replace(record, status=TaskStatus.RUNNING, deliveries=1, followups=followups)
        await store.put([over])
        assert await handle.cancel() is Cancel.TOO_LATE
        assert await waiting_in(app) == 1
        assert await handle.record() == over


async def test_follow_ups_of_a_message_that_was_removed_too_late_still_leave() -> None:
    clock, store, app = make()
    ran: list[str] = []

    @app.task
    async def work(ctx: Context, word: str) -> None:
        ran.append(word)
        if word == "parent":
            await ctx.send(work.message("follow-up"))

    async with app:
        handle = await work.send("parent")
        pending = await handle.record()
        assert pending is not None
        followups = followups_kept([Outgoing(Message(id="f", name="work", body=b"\x80"), "", "default")])
        await store.put(
            [msgspec.structs.replace(pending, status=TaskStatus.RUNNING, deliveries=1, followups=followups)]
        )
        store.next = [pending]  # read just before the worker reported, crashed, and gave the message back
        assert await handle.cancel() is Cancel.TOO_LATE
        async with app.worker():
            await clock.advance(5)
        assert ran[-1] == "follow-up"


# -- the record ------------------------------------------------------------------------------------------------------


async def test_what_cannot_be_recorded_is_cancelled_all_the_same(caplog: pytest.LogCaptureFixture) -> None:
    _, store, app = make()

    @app.task
    async def work() -> None: ...

    async with app:
        handle = await work.send()
        store.down = True
        with caplog.at_level(logging.WARNING, "brokerkit"):
            assert await handle.cancel() is Cancel.CANCELLED
        assert "cancelled, but the store cannot be told: the database is down" in caplog.text
        assert await waiting_in(app) == 0
        with pytest.raises(TaskCancelled):
            await handle.result()  # by reply


async def test_a_cancel_is_in_the_record_also_when_that_changes_meanwhile() -> None:
    _, store, app = make()

    @app.task
    async def work() -> None: ...

    async with app:
        handle = await work.send()
        pending = await handle.record()
        assert pending is not None
        retry = msgspec.structs.replace(pending, status=TaskStatus.RETRY, deliveries=1)
        await store.put([retry])
        store.next = [pending, pending]  # it was retried between the reading and the removing
        assert await handle.cancel() is Cancel.CANCELLED
        record = await handle.record()
        assert record is not None
        assert (record.status, record.fence) == (TaskStatus.CANCELLED, retry.fence)


async def test_a_tombstone_is_not_laid_on_a_task_that_has_just_started() -> None:
    _, store, app = make(Unyielding)

    @app.task
    async def work() -> None: ...

    async with app:
        handle = await work.send()
        pending = await handle.record()
        assert pending is not None
        await store.put([msgspec.structs.replace(pending, status=TaskStatus.RUNNING, deliveries=1)])
        store.next = [pending]
        assert await handle.cancel() is Cancel.REQUESTED
        assert await handle.status() is TaskStatus.RUNNING


# -- who is asked ----------------------------------------------------------------------------------------------------


async def test_a_worker_that_has_just_started_looks_for_cancels_that_it_did_not_hear_of() -> None:
    clock, _, app = make(Unyielding)
    ran: list[int] = []

    @app.task
    async def work() -> None:
        ran.append(1)

    async with app:
        handle = await work.send()
        assert await handle.cancel() is Cancel.REQUESTED
        await clock.advance(0.1)  # too fresh to be looked up for its age
        async with app.worker():
            await clock.advance(5)
    assert not ran


async def test_a_message_whose_start_is_being_written_does_not_start_when_it_is_cancelled() -> None:
    clock, store, app = make()
    ran: list[int] = []
    writing, written = asyncio.Event(), asyncio.Event()

    @app.task(record="full")
    async def work() -> None:
        ran.append(1)

    class Slow(Moody):
        async def put(self, records: Sequence[TaskRecord]) -> Sequence[Put]:
            if any(record.status is TaskStatus.RUNNING for record in records):
                writing.set()
                await written.wait()
            return await super().put(records)

    store.__class__ = Slow
    async with app, app.worker():
        handle = await work.send()
        await writing.wait()
        assert await handle.cancel() is Cancel.REQUESTED
        await clock.settle()
        written.set()
        with pytest.raises(TaskCancelled):
            await handle.result()
        await clock.advance(1)
    assert not ran


async def test_a_retry_is_cancelled_also_where_the_cancel_came_while_it_was_on_its_way() -> None:
    clock, _, app = make()
    ran: list[int] = []
    fail = asyncio.Event()

    @app.task(retry=Retry.fixed(1, 50))
    async def work() -> None:
        ran.append(1)
        await fail.wait()
        raise ValueError("again")

    async with app, app.worker():
        handle = await work.send()
        await clock.settle()
        fail.set()
        assert await handle.cancel() is Cancel.REQUESTED, "it runs, for all that anybody knows"
        await clock.advance(60)
        assert await handle.status() is TaskStatus.CANCELLED
    assert ran == [1]


async def test_a_running_task_without_a_record_is_asked_too() -> None:
    clock = VirtualClock()
    app = App(MemoryTransport(MemoryBroker(clock)), store=None, clock=clock)
    started = asyncio.Event()

    @app.task
    async def work() -> None:
        started.set()
        await asyncio.Event().wait()

    async with app, app.worker():
        handle = await work.send()
        await started.wait()
        assert await handle.cancel() is Cancel.REQUESTED
        with pytest.raises(TaskCancelled):
            await handle.result()
        await clock.settle()
        assert await handle.cancel() is Cancel.TOO_LATE
        assert await app.cancel("nobody") is Cancel.TOO_LATE


async def test_without_a_record_who_waits_is_told_by_a_reply() -> None:
    clock = VirtualClock()
    app = App(MemoryTransport(MemoryBroker(clock)), store=None, clock=clock)

    @app.task
    async def work() -> None: ...

    async with app:
        handle = await work.send()
        waiting = asyncio.create_task(handle.result())
        await clock.settle()
        assert await app.cancel(handle.id) is Cancel.CANCELLED
        await clock.settle()
        with pytest.raises(TaskCancelled):
            await waiting


async def test_where_no_worker_can_be_reached_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Apart, "signals_reach", False)
    _, _, app = make()
    started, go = asyncio.Event(), asyncio.Event()

    @app.task
    async def work() -> None:
        started.set()
        await go.wait()

    async with app, app.worker():
        handle = await work.send()
        await started.wait()
        with pytest.raises(MissingCapability, match="cannot reach the worker"):
            await handle.cancel()
        go.set()


async def test_the_latest_cancels_are_remembered_and_no_more() -> None:
    clock = VirtualClock()
    app = App(MemoryTransport(MemoryBroker(clock)), clock=clock)

    @app.task
    async def work() -> None: ...

    async with app, app.worker() as worker:
        engine = worker._engine
        assert engine is not None
        intake = engine._intake
        for number in range(MOST_REMEMBERED + 5):
            engine.cancel(f"t-{number}", 1)
        assert len(intake._cancelled) == MOST_REMEMBERED
        assert next(iter(intake._cancelled)) == ("t-5", 1)
        await clock.advance(CANCEL_REMEMBERED)
        engine.cancel("t-9", 1)
        assert list(intake._cancelled) == [("t-9", 1)]
