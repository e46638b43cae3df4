"""Cancelling where a queue gives nothing back: the record says so, and the worker reads it before it starts."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

import msgspec
import pytest

from brokerkit import App, Cancel, MissingCapability, TaskCancelled, TaskStatus
from brokerkit.records import TaskRecord
from brokerkit.store import Store
from brokerkit.stores.memory import MemoryStore
from brokerkit.testing import VirtualClock
from brokerkit.transport import Capabilities
from brokerkit.transports.memory import MemoryBroker, MemoryTransport


class Unyielding(MemoryTransport):
    """A broker that never gives a queued message back, and takes back what runs for a minute."""

    @property
    def capabilities(self) -> Capabilities:
        return msgspec.structs.replace(
            super().capabilities, cancel="tombstone", atomic_records=False, atomic_commit=False, settle_within=60.0
        )


class Counted(MemoryStore):
    """Counts the records that are asked for."""

    looked_up = 0

    async def get(self, ids: Sequence[str]) -> Sequence[TaskRecord | None]:
        found = await super().get(ids)
        self.looked_up += len(found)
        return found


def unyielding_app(clock: VirtualClock, store: Store | None) -> App:
    return App(Unyielding(MemoryBroker(clock)), store=store, clock=clock)  # type: ignore[arg-type]


async def test_a_task_that_waits_is_cancelled_by_its_record() -> None:
    clock = VirtualClock()
    app, ran = unyielding_app(clock, MemoryStore(clock)), []

    @app.task
    async def work(n: int) -> None:
        ran.append(n)

    async with app:
        handles = [await work.send(n) for n in range(3)]
        await clock.advance(5)
        assert await handles[1].cancel() is Cancel.REQUESTED
        assert await handles[1].status() is TaskStatus.CANCELLED
        assert await handles[1].cancel() is Cancel.REQUESTED, "nobody has read it yet"
        async with app.worker():
            await handles[0].result()
            await handles[2].result()
            with pytest.raises(TaskCancelled):
                await handles[1].result()
            assert await handles[1].cancel() is Cancel.TOO_LATE, "it is cancelled"
    assert ran == [0, 2]


async def test_a_delayed_task_is_cancelled_by_its_record() -> None:
    clock = VirtualClock()
    app, ran = unyielding_app(clock, MemoryStore(clock)), []

    @app.task
    async def work() -> None:
        ran.append(1)

    async with app, app.worker():
        handle = await work.options(delay=30).send()
        assert await handle.cancel() is Cancel.REQUESTED
        waiting = asyncio.create_task(handle.result())
        await clock.advance(31)
        with pytest.raises(TaskCancelled):
            await waiting
        await clock.advance(1)
    assert not ran


async def test_a_running_task_is_asked_and_its_own_outcome_stands() -> None:
    clock = VirtualClock()
    app = unyielding_app(clock, MemoryStore(clock))
    started, go = asyncio.Event(), asyncio.Event()

    @app.task
    async def work() -> str:
        started.set()
        try:
            await go.wait()
        except asyncio.CancelledError:
            return "cleaned up"
        return "done"

    async with app, app.worker():
        handle = await work.send()
        await started.wait()
        await clock.advance(2)  # by now its record says that it runs
        assert await handle.status() is TaskStatus.RUNNING
        assert await handle.cancel() is Cancel.REQUESTED
        assert await handle.result() == "cleaned up"
        assert await handle.status() is TaskStatus.SUCCESS


async def test_a_fresh_message_is_not_looked_up() -> None:
    clock = VirtualClock()
    store = Counted(clock)
    app = unyielding_app(clock, store)

    @app.task
    async def work() -> None: ...

    async with app, app.worker():
        handle = await work.send()
        await handle.result()
        assert store.looked_up == 0, "neither the worker nor the caller had to ask"


async def test_without_a_store_cancelling_is_refused() -> None:
    clock = VirtualClock()
    app = unyielding_app(clock, None)

    @app.task
    async def work() -> None: ...

    async with app:
        handle = await work.send()
        with pytest.raises(MissingCapability, match="name one with App"):
            await handle.cancel()


async def test_a_task_that_may_outlast_the_brokers_patience_is_named(caplog: pytest.LogCaptureFixture) -> None:
    app = unyielding_app(VirtualClock(), None)

    @app.task(timeout=90)
    async def long_one() -> None: ...

    @app.task(timeout=30)
    async def short_one() -> None: ...

    with caplog.at_level(logging.WARNING, "brokerkit.worker"):
        async with app, app.worker():
            pass
    assert "long_one may run for 90 s" in caplog.text
    assert "short_one" not in caplog.text
