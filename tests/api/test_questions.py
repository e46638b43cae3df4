"""Records, counts, and what is missing without a store."""

import asyncio

import pytest

from brokerkit import App, Cancel, Context, MissingCapability, Queue, Retention, Retry, Settings, TaskFailed, TaskStatus
from tests.api.probes import soon, until


async def test_a_handle_and_the_app_give_the_same_record(url: str) -> None:
    app = App(url)

    @app.task(metadata={"shop": "eu", "tries": 1})
    async def charge(order_id: str) -> str:
        return order_id

    async with app, app.worker() as worker:
        handle = await charge.options(metadata={"customer": "c-1", "tries": 2}).send("o-1")
        await handle.result()
        record = await app.record(handle.id)
        assert record == await handle.record()
        assert await app.status(handle.id) is await handle.status() is TaskStatus.SUCCESS
    assert record is not None
    assert record.metadata == {"shop": "eu", "tries": 2, "customer": "c-1"}
    assert record.worker == worker.name
    assert record.started is not None
    assert record.finished is not None
    assert record.created <= record.started <= record.finished


async def test_a_task_is_pending_then_running_then_done(url: str) -> None:
    app = App(url)
    started, let_go = asyncio.Event(), asyncio.Event()

    @app.task(record="full")
    async def charge(ctx: Context) -> None:
        await ctx.progress(0.25, "a quarter")
        started.set()
        await let_go.wait()

    async with app:
        handle = await charge.send()
        assert await handle.status() is TaskStatus.PENDING
        async with app.worker():
            await soon(started.wait())
            assert await handle.status() is TaskStatus.RUNNING

            async def progressed() -> bool:
                record = await handle.record()
                return record is not None and (record.progress, record.note) == (0.25, "a quarter")

            await until(progressed)
            let_go.set()
            await handle.result()
        assert await handle.status() is TaskStatus.SUCCESS


async def test_a_task_that_keeps_no_record_is_unknown_but_answers(url: str) -> None:
    app = App(url)

    @app.task(record="none")
    async def charge() -> int:
        return 1

    async with app, app.worker():
        handle = await charge.send()
        assert await handle.result() == 1
        assert await handle.record() is None
        assert await handle.status() is None


async def test_the_record_of_a_failure_keeps_its_error(url: str) -> None:
    app = App(url)

    @app.task(retry=Retry.fixed(1, 0))
    async def charge() -> None:
        raise ConnectionError("down")

    async with app, app.worker():
        handle = await charge.send()
        with pytest.raises(TaskFailed):
            await handle.result()
        record = await handle.record()
    assert record is not None
    assert record.error is not None
    assert (record.status, record.error.type, record.error.message) == (TaskStatus.FAILURE, "ConnectionError", "down")
    assert (record.error.exhausted, [attempt.number for attempt in record.attempts]) == (True, [1, 2])


async def test_a_queue_is_counted_as_a_whole_and_by_lane(url: str) -> None:
    app = App(url)
    started, let_go = asyncio.Event(), asyncio.Event()

    @app.task(queue=Queue("payments", priorities=3))
    async def charge() -> None:
        started.set()
        await let_go.wait()

    async with app:
        for priority in ("low", "normal", "normal", "high", "critical", 0):
            await charge.options(priority=priority).send()
        await charge.options(delay=3600).send()
        stats = await app.queue_stats("payments")
        assert [lane.ready for lane in stats.lanes] == [2, 2, 2]
        assert [lane.delayed for lane in stats.lanes] == [0, 1, 0]
        assert (stats.queue, stats.ready, stats.in_flight, stats.delayed) == ("payments", 6, 0, 1)
        assert (stats.dead, stats.consumers) == (0, 0)
        async with app.worker():
            await soon(started.wait())
            stats = await app.queue_stats(Queue("payments"))
            assert stats.consumers == 1
            assert stats.in_flight is not None
            assert stats.in_flight >= 1
            let_go.set()


async def test_the_most_urgent_goes_first(url: str) -> None:
    app = App(url)
    order: list[str] = []

    @app.task(queue=Queue("payments", priorities=3, strict=True))
    async def charge(name: str) -> None:
        order.append(name)

    async with app:
        handles = [
            await charge.options(priority=priority).send(f"{priority}-{number}")
            for number in range(2)
            for priority in ("low", "normal", "critical")
        ]
        async with app.worker(concurrency=1):
            for handle in handles:
                await handle.result()
    assert order == ["critical-0", "critical-1", "normal-0", "normal-1", "low-0", "low-1"]


async def test_by_default_the_less_urgent_get_a_share(url: str) -> None:
    app = App(url)
    order: list[str] = []

    @app.task(queue=Queue("payments", priorities=2))
    async def charge(name: str) -> None:
        order.append(name)

    async with app:
        calls = [charge.options(priority=priority).message(priority) for priority in ("low", "high") for _ in range(40)]
        handles = await app.send_many(calls)
        async with app.worker(concurrency=1):
            for handle in handles:
                await handle.result()
    first = order[:40]
    assert first.count("high") > 2 * first.count("low") > 0


async def test_without_a_store_results_come_by_reply_only(url: str) -> None:
    app = App(url, store=None)

    @app.task
    async def charge() -> int:
        return 1

    @app.task(retry=Retry.none())
    async def fails() -> None:
        raise ValueError("no")

    async with app, app.worker():
        handle = await charge.send()
        assert await handle.result() == 1
        with pytest.raises(TaskFailed):
            await (await fails.send()).result()
        for question in (handle.status, handle.record, lambda: app.status("x"), lambda: app.record("x")):
            with pytest.raises(MissingCapability, match="no store keeps records"):
                await question()
        waiting = await charge.options(delay=3600).send()
        assert await waiting.cancel() is Cancel.CANCELLED


async def test_another_store_than_the_brokers_own_keeps_the_records(url: str, sqlite_url: str) -> None:
    app = App(url, store=sqlite_url)

    @app.task
    async def charge() -> int:
        return 1

    @app.task(retry=Retry.none())
    async def fails() -> None:
        raise ValueError("no")

    async with app, app.worker():
        first, second = await charge.send(), await fails.send()
        assert await first.result() == 1
        with pytest.raises(TaskFailed):
            await second.result()
    async with App("memory://", store=sqlite_url) as other:
        assert await other.status(first.id) is TaskStatus.SUCCESS
        assert await other.status(second.id) is TaskStatus.FAILURE


async def test_an_app_says_what_is_kept_of_tasks_that_do_not(url: str) -> None:
    app = App(url, settings=Settings(record="none"))

    @app.task
    async def quiet() -> int:
        return 1

    @app.task(record="outcome")
    async def kept() -> int:
        return 2

    @app.handler("odd*")
    async def odd(arguments: dict[str, int]) -> int:
        return 3

    async with app, app.worker():
        handles = [await quiet.send(), await kept.send(), await app.send("oddly", {}, queue="default")]
        assert [await handle.result() for handle in handles] == [1, 2, 3]
        assert [await handle.status() for handle in handles[:2]] == [None, TaskStatus.SUCCESS]


async def test_records_are_kept_as_long_as_the_app_says(url: str) -> None:
    app = App(url, settings=Settings(retention=Retention(success=0.05)))

    @app.task
    async def task() -> int:
        return 1

    async with app, app.worker():
        handle = await task.send()
        await handle.result()

        async def forgotten() -> bool:
            return await handle.record() is None

        await until(forgotten)


def test_settings_of_records_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="record='some': choose outcome, full, none"):
        Settings(record="some")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"success=-1\.0\): give seconds > 0"):
        Retention(success=-1.0)
    with pytest.raises(ValueError, match=r"cap=0\): give a number >= 1, or None"):
        Retention(cap=0)
