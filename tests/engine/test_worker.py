"""The worker in its app: how it is left, what it names, what wraps its handlers."""

from __future__ import annotations

import asyncio
import gc
import logging
import time
from collections.abc import Sequence
from typing import Any

import pytest

from brokerkit import App, Context
from brokerkit.message import Outgoing
from brokerkit.middleware import Receive, Send
from brokerkit.settings import Settings
from brokerkit.testing import VirtualClock
from brokerkit.transport import Published
from brokerkit.transports.memory import MemoryBroker, MemoryTransport
from brokerkit.worker import engine as engine_module


def virtual_app(settings: Settings | None = None) -> App:
    clock = VirtualClock()
    return App(MemoryTransport(MemoryBroker(clock)), clock=clock, settings=settings)


class Mine(Exception):
    pass


async def test_an_exception_of_the_body_leaves_the_worker_unchanged() -> None:
    app = virtual_app()

    @app.task
    async def work() -> None: ...

    error = Mine("mine")
    with pytest.raises(Mine) as caught:  # noqa: PT012
        async with app, app.worker():
            await (await work.send()).result()
            raise error
    assert caught.value is error


async def test_a_worker_may_be_left_and_started_again() -> None:
    app = virtual_app()

    @app.task
    async def work(n: int) -> int:
        return n

    async with app:
        for n in range(3):
            async with app.worker():
                assert await (await work.send(n)).result() == n


async def test_a_timeout_around_the_worker_ends_its_handlers() -> None:
    app, ended = virtual_app(), list[str]()

    @app.task
    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("ended")

    async def serve() -> None:
        async with app, app.worker(grace=0.0):
            await work.send()
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await serve()
    assert ended == ["ended"]


async def test_a_handler_that_does_not_let_go_does_not_hold_the_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "LAST_WORDS", 0.02)
    monkeypatch.setattr("brokerkit.supervisor.LAST_WORDS", 0.02)
    app, release, started = virtual_app(), asyncio.Event(), asyncio.Event()

    @app.task
    async def stubborn() -> None:
        started.set()
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                pass

    async with app:
        async with app.worker(grace=0.0) as worker:
            await stubborn.send()
            await started.wait()
        assert worker.stuck == 1, "and its process has to end hard"
        stats = await app.queue_stats("default")
        assert stats.ready == 1, "it is handed back"
    release.set()
    await asyncio.sleep(0.01)


async def test_a_handler_that_blocks_the_event_loop_is_named(caplog: pytest.LogCaptureFixture) -> None:
    app = virtual_app()

    @app.task
    async def blocks_for_long() -> None:
        for _ in range(200):
            time.sleep(0.01)
            if "blocked" in caplog.text:
                return

    with caplog.at_level(logging.WARNING, "brokerkit.worker"):
        async with app, app.worker(loop_lag=0.05):
            await (await blocks_for_long.send()).result()
    assert "blocks_for_long" in caplog.text


async def test_the_first_middleware_is_the_outermost() -> None:
    order: list[str] = []

    def receiving(name: str) -> Any:
        def wrap(receive: Receive) -> Receive:
            async def around(context: Context) -> Any:
                order.append(f"{name} before")
                value = await receive(context)
                order.append(f"{name} after")
                return value

            return around

        return wrap

    def sending(name: str) -> Any:
        def wrap(send: Send) -> Send:
            async def around(messages: Sequence[Outgoing]) -> Sequence[Published]:
                order.append(f"{name} sends")
                return await send(messages)

            return around

        return wrap

    settings = Settings(
        middleware=[receiving("outer"), receiving("inner")], send_middleware=[sending("first"), sending("second")]
    )
    app = virtual_app(settings)

    @app.task
    async def work() -> None:
        order.append("async")

    @app.task
    def sync_work() -> None:
        order.append("sync")

    async with app, app.worker():
        for task, name in ((work, "async"), (sync_work, "sync")):
            order.clear()
            await (await app.send(task.message())).result()
            assert order == [
                "first sends", "second sends",
                "outer before", "inner before", name, "inner after", "outer after",
            ]  # fmt: skip


async def test_a_handle_that_is_gone_is_forgotten() -> None:
    app = virtual_app()

    @app.task
    async def work() -> int:
        return 1

    async with app:
        kept = await work.send()
        gone = [await work.send() for _ in range(10)]
        waiters = app._open._inbox._waiters
        assert len(waiters) == 11
        del gone
        gc.collect()
        assert len(waiters) == 1
        async with app.worker():
            assert await kept.result() == 1


async def test_a_loop_lag_of_zero_turns_the_monitor_off() -> None:
    app = virtual_app()

    @app.task
    async def work() -> int:
        return 1

    async with app, app.worker(loop_lag=0) as worker:
        assert await (await work.send()).result() == 1
        assert worker.lag.blocked == 0
