"""An app whose records are in a database: what users see of it."""

from __future__ import annotations

import asyncio

import pytest

from brokerkit import App, Context, Retry, Settings, StoreError, TaskFailed, TaskStatus
from brokerkit.store import RecordFilter
from tests.sql.making import Place, store
from tests.sql.proxy import Proxy

pytestmark = pytest.mark.broker


async def test_tasks_leave_their_records_and_results_in_the_database(place: Place) -> None:
    prefix = place.prefix()
    app = App("memory://", store=place.url(prefix), settings=Settings(retry=Retry.none()))

    @app.task
    async def charge(ctx: Context, order: str) -> dict[str, str]:
        await ctx.progress(0.5, "half")
        return {"order": order}

    @app.task
    async def fail(order: str) -> None:
        raise ValueError(f"no money for {order}")

    async with app, app.worker(concurrency=16):
        handles = await app.send_many([charge.message(f"o-{number}") for number in range(300)])
        assert [await each.result(timeout=30) for each in handles] == [{"order": f"o-{n}"} for n in range(300)]
        failed = await fail.options(metadata={"customer": "c-1"}).send("o-1")
        with pytest.raises(TaskFailed, match="no money for o-1"):
            await failed.result(timeout=30)
        assert await handles[7].status() is TaskStatus.SUCCESS
        assert await app.status("nobody") is None
    async with store(place, prefix) as other:
        found = await other.find(RecordFilter(name="charge", statuses=(TaskStatus.SUCCESS,), limit=1000))
        assert {each.id for each in found} == {each.id for each in handles}
        assert {(each.note, each.queue) for each in found} == {("half", "default")}
        [record] = await other.find(RecordFilter(metadata={"customer": "c-1"}))
        assert (record.id, record.status) == (failed.id, TaskStatus.FAILURE)
        assert record.error is not None
        assert [attempt.error.message for attempt in record.attempts] == ["no money for o-1"]


async def test_a_result_is_found_by_its_record_alone(place: Place) -> None:
    app = App("memory://", store=place.url(place.prefix()))

    @app.task(reply=False)
    async def double(number: int) -> int:
        return 2 * number

    async with app, app.worker():
        handle = await double.send(21)
        assert await handle.result(timeout=30) == 42


async def test_retries_keep_every_failed_attempt(place: Place) -> None:
    app = App("memory://", store=place.url(place.prefix()))

    @app.task(retry=Retry.fixed(max_retries=3, delay=0.01), metadata={"kind": "flaky"})
    async def flaky(ctx: Context) -> int:
        if ctx.attempt < 3:
            raise ConnectionError(f"attempt {ctx.attempt}")
        return ctx.attempt

    async with app, app.worker():
        handle = await flaky.send()
        assert await handle.result(timeout=30) == 3
        record = await handle.record()
    assert record is not None
    assert [attempt.error.message for attempt in record.attempts] == ["attempt 1", "attempt 2"]
    assert (record.status, record.metadata) == (TaskStatus.SUCCESS, {"kind": "flaky"})


async def test_outcomes_wait_for_a_database_that_is_away(place: Place) -> None:
    async with Proxy.before(place) as proxy:
        app = App("memory://", store=proxy.url(place, place.prefix(), timeout=0.5, connect_timeout=0.5))
        ran: list[int] = []

        @app.task(reply=False)
        async def work(number: int) -> int:
            ran.append(number)
            if number == 3:
                proxy.refusing = True
                proxy.cut()
            return number

        async with app:
            handles = await app.send_many([work.message(number) for number in range(20)])
            async with app.worker(concurrency=4):
                while len(ran) < 8:
                    await asyncio.sleep(0.01)
                proxy.refusing = False
                assert [await each.result(timeout=30) for each in handles] == list(range(20))
        assert sorted(ran) == list(range(20)), "a run whose report waited was repeated"


async def test_an_app_does_not_start_without_its_database(place: Place) -> None:
    async with Proxy.before(place) as proxy:
        proxy.refusing = True
        app = App("memory://", store=proxy.url(place, place.prefix()))
        with pytest.raises(StoreError, match=r"127\.0\.0\.1"):
            await app.__aenter__()
