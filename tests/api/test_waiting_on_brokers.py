"""Waiting, watching, cancelling and the blocking client from end to end, on brokers that several processes share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from brokerkit import App, Cancel, Context, Queue, Retry, TaskCancelled, TaskFailed, TaskStatus
from brokerkit.settings import BROKERS_OWN
from brokerkit.transport import Transport
from tests.api.probes import soon
from tests.conformance.rabbitmq_harness import rabbit
from tests.conformance.redis_harness import on_redis

COUNT = 60


@asynccontextmanager
async def apps(broker: str, sqlite_url: str) -> AsyncIterator[Callable[[], App]]:
    """Makes apps that share a broker and its records, as those of several processes do."""
    if broker == "sqlite":
        yield lambda: app_of(sqlite_url, BROKERS_OWN, "work")
    elif broker == "redis":
        async with on_redis("redis") as redis:
            yield lambda: app_of(redis.connect(), BROKERS_OWN, "work")
    else:
        async with rabbit("rabbitmq") as rabbitmq:
            queue = rabbitmq.name("work")
            yield lambda: app_of(rabbitmq.connect(), sqlite_url, queue)


def app_of(place: str | Transport, store: str, queue: str) -> App:
    app = App(place, store=store)

    @app.task(queue=Queue(queue), retry=Retry.none(), metadata={"state": "new"})
    async def halve(ctx: Context, number: int) -> float:
        await ctx.label(state="seen")
        if number < 0:
            raise ValueError("negative")
        await ctx.progress(0.5, "half")
        await asyncio.sleep(0.8 if number == 0 else 0)  # the store is told of progress at most twice a second
        return number / 2

    return app


@pytest.mark.parametrize("broker", ["sqlite", "redis", "rabbitmq"])
async def test_one_process_sends_and_another_waits(broker: str, sqlite_url: str) -> None:
    async with apps(broker, sqlite_url) as make:
        here, there = make(), make()
        halve = there.tasks["halve"]
        async with here, there, here.worker():
            sent: list[tuple[int, int]] = []
            numbers = [*range(1, COUNT), -1]
            calls = [here.tasks["halve"].message(number) for number in numbers]
            handles = await here.send_many(calls, batch=25, progress=lambda *done: sent.append(done))
            assert sent == [(25, COUNT), (50, COUNT), (COUNT, COUNT)]
            ended = [handle async for handle in here.as_completed(handles, timeout=20)]
            assert sorted(handle.id for handle in ended) == sorted(handle.id for handle in handles)

            others = [there.handle(handle.id, halve) for handle in handles]
            assert await there.wait(others, timeout=20) == (others, [])
            assert [await handle.result() for handle in others[:-1]] == [number / 2 for number in range(1, COUNT)]
            with pytest.raises(TaskFailed, match="negative"):
                await others[-1].result()
            await others[0].label(checked=True)
            (found,) = await there.find(name="halve", metadata={"checked": True}, limit=5)
            assert (found.id, found.metadata["state"]) == (others[0].id, "seen")

            slow = await here.tasks["halve"].send(0)
            seen = [record async for record in there.handle(slow.id, halve).watch(timeout=20)]
            assert (seen[-2].progress, seen[-2].note) == (0.5, "half")
            assert seen[-1].status is TaskStatus.SUCCESS

            late = await here.tasks["halve"].options(delay=1).send(1)
            answer = await there.handle(late.id).cancel()
            assert answer is (Cancel.REQUESTED if broker == "rabbitmq" else Cancel.CANCELLED)
            with pytest.raises(TaskCancelled):
                await late.result(timeout=20)
            assert await there.status(late.id) is TaskStatus.CANCELLED


@pytest.mark.parametrize("broker", ["sqlite", "redis", "rabbitmq"])
async def test_a_program_without_an_event_loop_sends_and_waits(broker: str, sqlite_url: str) -> None:
    async with apps(broker, sqlite_url) as make:
        working, calling = make(), make()
        halve = calling.tasks["halve"]

        def call() -> list[float]:
            with calling.blocking() as client:
                handles = client.send_many([halve.message(number) for number in range(1, COUNT)])
                assert client.wait(handles, timeout=20) == (handles, [])
                again = client.handle(handles[0].id, halve)
                assert client.result(again) == 0.5
                (last,) = client.watch(again)
                assert last.status is TaskStatus.SUCCESS
                return sorted(client.result(handle) for handle in client.as_completed(handles, timeout=20))

        async with working, working.worker():
            assert await soon(asyncio.to_thread(call)) == [number / 2 for number in range(1, COUNT)]
