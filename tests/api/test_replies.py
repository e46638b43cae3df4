"""Where a result comes from, and what cannot come."""

import asyncio
from typing import Any

import pytest

from brokerkit import App, DecodeError, MissingCapability, Retry, Settings, TaskFailed


async def test_the_callers_own_wait_may_run_out_while_the_task_goes_on(url: str) -> None:
    app = App(url)
    let_go = asyncio.Event()

    @app.task
    async def charge() -> int:
        await let_go.wait()
        return 1

    async with app, app.worker():
        handle = await charge.send()
        with pytest.raises(TimeoutError, match=r"within 0\.01 s; the task goes on"):
            await handle.result(timeout=0.01)
        let_go.set()
        assert await handle.result() == 1
        assert await handle.result() == 1  # asked again


async def test_without_a_reply_the_result_comes_from_the_record(url: str) -> None:
    app = App(url)

    @app.task(reply=False)
    async def charge() -> int:
        return 1

    async with app, app.worker():
        assert await (await charge.send()).result() == 1


async def test_without_reply_and_record_there_is_nothing_to_wait_for(url: str) -> None:
    app = App(url, store=None)

    @app.task(reply=False)
    async def charge() -> None: ...

    async with app:
        handle = await charge.send()
        with pytest.raises(MissingCapability, match="reply=True"):
            await handle.result()


async def test_a_value_that_cannot_travel_is_a_failure_and_not_run_again(url: str) -> None:
    app = App(url, settings=Settings(retry=Retry.fixed(3, 0)))
    runs = 0

    @app.task
    async def charge() -> Any:
        nonlocal runs
        runs += 1
        return object()

    async with app, app.worker():
        with pytest.raises(TaskFailed, match="no representation"):
            await (await charge.send()).result()
    assert runs == 1


async def test_a_value_that_is_not_what_the_annotation_says_is_noticed_by_the_caller(url: str) -> None:
    app = App(url)

    @app.task
    async def charge() -> int:
        return "one"  # type: ignore[return-value]

    async with app, app.worker():
        with pytest.raises(DecodeError, match="Expected `int`, got `str`"):
            await (await charge.send()).result()
