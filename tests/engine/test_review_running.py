"""Handlers that misuse what they run in harm nobody but themselves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from brokerkit import App, Context, Queue, Retry
from brokerkit.errors import ConfigurationError, ConnectionLost, MissingCapability, TaskFailed
from brokerkit.records import TaskRecord, TaskStatus
from brokerkit.settings import Settings
from brokerkit.stores.memory import MemoryStore
from brokerkit.testing import VirtualClock
from brokerkit.testing.faults import Faults
from brokerkit.testing.faulty import faulty_transport
from brokerkit.transport import Inbox
from brokerkit.transports.memory import MemoryBroker, MemoryTransport
from brokerkit.worker.threads import ThreadPool


def virtual_app(**given: Any) -> App:
    clock = VirtualClock()
    settings = Settings(retry=Retry.none())
    return App(MemoryTransport(MemoryBroker(clock)), clock=clock, settings=settings, **given)


def cancel_self() -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()


async def test_a_handler_that_cancels_its_own_task_leaves_a_slot_for_what_waits() -> None:
    app, ran = virtual_app(), list[int]()

    @app.task
    async def work(n: int) -> None:
        ran.append(n)
        if n == 0:
            cancel_self()

    async with app:
        handles = await app.send_many([work.message(n) for n in range(3)])
        async with app.worker(concurrency=1):
            async with asyncio.timeout(5):
                await handles[2].result()
    assert sorted(ran) == [0, 1, 2]


async def test_a_suspect_that_cancels_its_own_task_leaves_the_quarantine_for_the_next() -> None:
    clock = VirtualClock()
    broker = MemoryBroker(clock)
    app, ran = App(MemoryTransport(broker), clock=clock, settings=Settings(retry=Retry.none())), list[int]()

    @app.task
    async def work(n: int) -> None:
        ran.append(n)
        if n == 0:
            cancel_self()

    async with app:
        await app.send_many([work.message(n) for n in range(3)])
        for _ in range(3):  # three processes that die with them
            other = MemoryTransport(broker)
            async with other, other.consume([_source("default")]) as subscription:
                await subscription.receive({_lane("default"): 3})
                other.abandon()
        async with app.worker():
            for _ in range(200):
                await clock.advance(0.05)
                if len(ran) == 3:
                    break
    assert sorted(ran) == [0, 1, 2]


def _source(name: str) -> Any:
    from brokerkit.delivery import QueueSource

    return QueueSource(name)


def _lane(name: str) -> Any:
    from brokerkit.delivery import Lane

    return Lane(name, 0)


async def test_a_sync_handler_that_returns_a_coroutine_has_failed() -> None:
    app, ran = virtual_app(), list[str]()

    async def inner() -> None:
        ran.append("never")

    def outer() -> Coroutine[Any, Any, None]:
        return inner()

    task = app.task(outer)
    async with app, app.worker():
        with pytest.raises(TaskFailed, match="returned a coroutine"):
            await (await task.send()).result()
    assert not ran


def test_a_generator_function_is_no_task() -> None:
    app = virtual_app()

    async def yields() -> AsyncIterator[int]:
        yield 1

    with pytest.raises(ConfigurationError, match="generator"):
        app.task(yields)


def test_an_option_of_subscribe_that_does_not_exist_is_refused() -> None:
    app = virtual_app()
    with pytest.raises(ConfigurationError, match="typ"):
        app.subscribe(Queue("q"), typ="Order")(print)  # type: ignore[call-arg]
    with pytest.raises(ConfigurationError, match="Queue"):
        app.subscribe(3)(print)  # type: ignore[arg-type]


@pytest.mark.parametrize("settings", [{"queues": "payments"}, {"concurrency": 2.5}, {"sync_threads": "8"}])
def test_a_setting_of_the_wrong_type_is_named(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(settings))):
        virtual_app().worker(**settings)


async def test_a_thread_that_cannot_be_started_fails_one_call_and_not_those_after_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pool, fails = ThreadPool(2), [True]
    start = __import__("threading").Thread.start

    def stubborn(thread: Any) -> None:
        if fails.pop() if fails else False:
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr("threading.Thread.start", stubborn)
    ran: list[str] = []

    async def call(name: str) -> None:
        await pool.run(lambda: ran.append(name), lambda: None, lambda: None)

    with pytest.raises(RuntimeError, match="can't start"):
        await call("first")
    async with asyncio.timeout(5):
        await call("second")
    assert ran == ["second"], "what failed did not run all the same"
    pool.close()


async def test_a_sync_handler_cannot_miss_a_cancellation_that_comes_as_it_begins_to_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    app, seen = virtual_app(), list[bool]()

    @app.task
    def work(ctx: Context) -> None:
        import threading

        made = threading.Event

        class Switching(made):  # type: ignore[valid-type, misc]
            def __init__(self) -> None:
                super().__init__()
                monkeypatch.setattr("brokerkit.context.threading.Event", made)
                ctx.cancel()  # as the event loop may at this moment

        monkeypatch.setattr("brokerkit.context.threading.Event", Switching)
        if ctx._cancelled is not None:
            ctx.cancel()
        seen.append(ctx.wait_cancelled(0.01))
        monkeypatch.setattr("brokerkit.context.threading.Event", made)

    async with app, app.worker():
        await (await work.send()).result()
    assert seen == [True]


async def test_abilities_that_are_not_offered_are_not_used() -> None:
    clock = VirtualClock()
    faults = Faults(clock)
    inner = faulty_transport(MemoryTransport(MemoryBroker(clock)), faults)
    inner._capabilities = lambda known: msgspec.structs.replace(  # type: ignore[attr-defined]
        known, atomic_commit=False, signals=False, redrive=False
    )
    app = App(inner, clock=clock)

    @app.task
    async def work() -> int:
        return 1

    async with app, app.worker():
        assert await (await work.send()).result() == 1
        with pytest.raises(MissingCapability):
            await app.dead_letters("default")
    calls = {name for name, _ in faults.journal}
    assert "settle" in calls
    assert "commit" not in calls


async def test_an_older_attempt_that_comes_again_does_not_run_again() -> None:
    """Its retry was published, and only its acknowledgement was lost."""
    clock = VirtualClock()
    broker, store = MemoryBroker(clock), MemoryStore(clock)
    app, ran = App(MemoryTransport(broker), store=store, clock=clock), list[int]()

    @app.task
    async def work(ctx: Context) -> None:
        ran.append(ctx.attempt)

    async with app:
        handle = await work.send()
        await store.put(
            [TaskRecord(id=handle.id, name="work", queue="default", status=TaskStatus.RETRY, attempt=2, deliveries=1)]
        )
        other = MemoryTransport(broker)
        async with other, other.consume([_source("default")]) as subscription:
            await subscription.receive({_lane("default"): 1})
            other.abandon()
        async with app.worker():
            for _ in range(100):
                await clock.advance(0.05)
                if not (await app.queue_stats("default")).ready:
                    break
    assert ran == []


async def test_a_later_attempt_is_not_adopted_by_an_earlier_one() -> None:
    clock = VirtualClock()
    broker = MemoryBroker(clock)
    inner = MemoryTransport(broker)
    app, gate, ran = App(inner, clock=clock, settings=Settings(retry=Retry.none())), asyncio.Event(), list[int]()

    @app.task
    async def work(ctx: Context) -> None:
        ran.append(ctx.attempt)
        if ctx.attempt == 1:
            await gate.wait()

    async with app, app.worker() as worker:
        await work.send()
        await _until(clock, lambda: ran == [1])
        engine = worker._engine
        assert engine is not None
        (execution,) = engine.slots.running.values()
        first = execution.delivery
        first.lose()
        message = msgspec.structs.replace(first.message, attempt=2)
        engine._intake.admit([msgspec.structs.replace(first, message=message, deliveries=2, lost=False)])
        assert execution.delivery is first, "an attempt that ends must not settle another one"
        gate.set()
        await clock.advance(0.1)


async def _until(clock: VirtualClock, holds: Callable[[], bool]) -> None:
    for _ in range(200):
        if holds():
            return
        await clock.advance(0.05)
    raise AssertionError("it never holds")


async def test_who_waits_for_an_inbox_that_cannot_be_opened_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    app, told = virtual_app(), list[BaseException]()

    @app.task
    async def work() -> None: ...

    @asynccontextmanager
    async def broken(_: object) -> AsyncIterator[Inbox]:
        await asyncio.sleep(0)
        raise ConnectionLost("no inbox")
        yield

    monkeypatch.setattr(MemoryTransport, "replies", broken)

    async def request() -> None:
        try:
            await work.send()
        except ConnectionLost as error:
            told.append(error)

    with pytest.raises(ConnectionLost):  # noqa: PT012
        async with app:
            requests = asyncio.ensure_future(request())
            await asyncio.sleep(60)
    async with asyncio.timeout(1):
        await requests
    assert told
