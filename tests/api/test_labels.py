"""Labels: set at send, by the handler and by clients; and finding records by them, and by all else."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from brokerkit import (
    App,
    ConfigurationError,
    Context,
    EncodeError,
    MissingCapability,
    Retry,
    TaskFailed,
    TaskNotFound,
    TaskStatus,
)
from tests.api.probes import soon, until

SURROGATE = "\ud800"


async def labels_of(app: App, task_id: str) -> dict[str, Any]:
    record = await app.record(task_id)
    return record.metadata if record is not None else {}


async def test_a_handler_labels_its_task_while_it_runs_and_with_its_outcome(url: str) -> None:
    app = App(url)
    go = asyncio.Event()

    @app.task(metadata={"state": "new", "shop": "eu"})
    async def charge(ctx: Context) -> None:
        await ctx.label(state="started", tries=1)
        await ctx.progress(0.5)
        await go.wait()
        await ctx.label(state="charged")

    async with app, app.worker():
        handle = await charge.send()

        async def started() -> bool:
            return (await labels_of(app, handle.id)).get("state") == "started"

        await until(started)
        go.set()
        await handle.result()
        record = await handle.record()
    assert record is not None
    assert (record.metadata, record.progress) == ({"state": "charged", "shop": "eu", "tries": 1}, 0.5)


@pytest.mark.parametrize("sync", [False, True])
async def test_labels_of_an_attempt_stay_whatever_becomes_of_it(url: str, sync: bool) -> None:
    app = App(url)

    async def attempt(ctx: Context) -> None:
        await ctx.label(**{f"attempt-{ctx.attempt}": True})
        raise ValueError("no")

    def attempt_sync(ctx: Context) -> None:
        ctx.label_nowait(**{f"attempt-{ctx.attempt}": True})
        raise ValueError("no")

    task: Any = app.task(retry=Retry.fixed(1, 0))(attempt_sync if sync else attempt)
    async with app, app.worker():
        handle = await task.send()
        with pytest.raises(TaskFailed):
            await handle.result()
        assert await labels_of(app, handle.id) == {"attempt-1": True, "attempt-2": True}


async def test_a_client_labels_a_task_before_while_and_after_it_runs(url: str) -> None:
    app = App(url)
    started, go = asyncio.Event(), asyncio.Event()

    @app.task(metadata={"state": "new"})
    async def charge() -> None:
        started.set()
        await go.wait()

    async with app:
        handle = await charge.send()
        await app.label(handle.id, state="seen", n=1)
        async with app.worker():
            await soon(started.wait())
            await handle.label(while_running=True)
            go.set()
            await handle.result()
        assert await labels_of(app, handle.id) == {"state": "seen", "n": 1, "while_running": True}
        await handle.label(state="archived", **{"odd name": "x"})
        labels = await labels_of(app, handle.id)
        assert labels == {"state": "archived", "n": 1, "while_running": True, "odd name": "x"}
        assert await handle.status() is TaskStatus.SUCCESS


async def test_labels_stay_when_a_task_is_sent_back(url: str) -> None:
    app = App(url)

    @app.task(metadata={"state": "new"}, retry=Retry.none())
    async def charge(ctx: Context) -> None:
        if ctx.run == 1:
            raise ValueError("no")

    async with app, app.worker():
        handle = await charge.send()
        await app.wait([handle])
        await handle.label(state="looked at")

        async def sent_back() -> bool:
            return await app.redrive("default") == 1

        await until(sent_back)
        await handle.result()
        assert await labels_of(app, handle.id) == {"state": "looked at"}


@pytest.mark.parametrize("label", [object(), [1], SURROGATE, 2**70], ids=["object", "list", "surrogate", "too large"])
async def test_a_label_that_cannot_travel_is_refused(url: str, label: Any) -> None:
    app = App(url)

    @app.task(retry=Retry.none())
    async def charge(ctx: Context) -> str:
        with pytest.raises(EncodeError):
            await ctx.label(a=label)
        return "went on"

    async with app, app.worker():
        handle = await charge.send()
        assert await handle.result() == "went on"
        with pytest.raises(EncodeError):
            await handle.label(a=label)
        with pytest.raises(EncodeError, match="brokerkit's own"):
            await handle.label(**{"bk-x": 1})


async def test_a_label_for_nobody_or_nowhere_is_an_error(url: str) -> None:
    async with App(url) as app:
        with pytest.raises(TaskNotFound, match="no record of task nobody is kept here"):
            await app.label("nobody", a=1)
    async with App(url, store=None) as app:
        with pytest.raises(MissingCapability, match="no store keeps records"):
            await app.label("nobody", a=1)


# -- finding ---------------------------------------------------------------------------------------------------------


async def test_records_are_found_by_what_they_say(url: str) -> None:
    app = App(url)

    @app.task(retry=Retry.none())
    async def charge(number: int) -> int:
        return 1 // number

    @app.task(queue="parked", metadata={"shop": "eu"})
    async def parked() -> None: ...

    async with app:
        waiting = [await parked.options(metadata={"n": n}).send() for n in range(3)]
        async with app.worker(queues=("default",)):
            good, bad = await app.send_many([charge.message(1), charge.message(0)])
            await app.wait([good, bad])

        async def ids(**wanted: Any) -> list[str]:
            return [record.id for record in await app.find(**wanted)]

        assert await ids(name="parked") == [handle.id for handle in reversed(waiting)], "newest first"
        assert await ids(queue="parked", limit=1) == [waiting[2].id]
        assert await ids(statuses=[TaskStatus.FAILURE, TaskStatus.CANCELLED]) == [bad.id]
        assert await ids(metadata={"shop": "eu", "n": 1}) == [waiting[1].id]
        assert len(await ids()) == 5
        first = await waiting[0].record()
        assert first is not None
        assert await ids(created_before=first.created) == []
        assert len(await ids(created_after=first.created)) == 5
        assert await ids(name="nobody") == []


@pytest.mark.parametrize(
    ("wanted", "complaint"),
    [({"nme": "charge"}, "nme"), ({"statuses": ["DONE"]}, "DONE"), ({"limit": "many"}, "limit"), ({"name": 1}, "name")],
)
async def test_a_filter_that_makes_no_sense_is_told(url: str, wanted: dict[str, Any], complaint: str) -> None:
    async with App(url) as app:
        with pytest.raises(ConfigurationError, match=f"find.*{complaint}"):
            await app.find(**wanted)
