"""Waiting for many tasks, watching one, and handles that are made from ids."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from itertools import pairwise

import pytest

from brokerkit import (
    App,
    Cancel,
    ConfigurationError,
    Context,
    Handle,
    MissingCapability,
    Retry,
    TaskCancelled,
    TaskFailed,
    TaskNotFound,
    TaskRecord,
    TaskStatus,
)
from tests.api.probes import dead_letters, soon


def make(url: str, *, store: str | None = "broker") -> tuple[App, dict[int, asyncio.Event]]:
    """An app whose task ``work`` returns its number when its gate is opened, and raises for odd ones."""
    app = App(url, store=store)
    gates = {number: asyncio.Event() for number in range(10)}

    @app.task(retry=Retry.none())
    async def work(ctx: Context, number: int) -> int:
        await ctx.progress(0.5, f"half of {number}")
        await gates[number].wait()
        if number % 2:
            raise ValueError("odd")
        return number

    return app, gates


async def send(app: App, *numbers: int) -> list[Handle[int]]:
    return await app.send_many([app.tasks["work"].message(number) for number in numbers])


# -- wait ------------------------------------------------------------------------------------------------------------


async def test_wait_tells_who_has_ended_whatever_became_of_them(url: str) -> None:
    app, gates = make(url)
    seen: list[tuple[int, int]] = []
    async with app, app.worker():
        handles = await send(app, 0, 1, 2)
        gates[0].set()
        gates[1].set()
        done, pending = await app.wait(handles, timeout=0.5, progress=lambda *counts: seen.append(counts))
        assert (done, pending) == (handles[:2], handles[2:])
        assert await done[0].result(timeout=0) == 0
        with pytest.raises(TaskFailed, match="odd"):
            await done[1].result(timeout=0)
        assert seen[-1] == (2, 3)
        gates[2].set()
        assert await app.wait(handles) == (handles, []), "those that had ended count, too"
        assert await app.wait([]) == ([], [])


async def test_progress_counts_up_to_all(url: str) -> None:
    app, gates = make(url)
    sent: list[tuple[int, int]] = []
    ended: list[tuple[int, int]] = []
    for gate in gates.values():
        gate.set()
    async with app, app.worker():
        calls = [app.tasks["work"].message(number) for number in range(10)]
        handles = await app.send_many(calls, batch=4, progress=lambda *counts: sent.append(counts))
        await app.wait(handles, progress=lambda *counts: ended.append(counts))
    assert sent == [(4, 10), (8, 10), (10, 10)]
    assert ended[-1] == (10, 10)
    assert ended == sorted(set(ended))


async def test_a_cancelled_task_has_ended(url: str) -> None:
    app, _ = make(url)
    async with app:
        handles = await send(app, 0, 1)
        assert await handles[0].cancel() is Cancel.CANCELLED
        assert await app.wait(handles, timeout=0.01) == (handles[:1], handles[1:])
        with pytest.raises(TaskCancelled):
            await handles[0].result(timeout=0)


async def test_a_handle_of_another_app_or_opening_is_refused_with_the_fix(url: str) -> None:
    app, _ = make(url)
    async with app:
        handles = await send(app, 0)
    async with app:
        with pytest.raises(ConfigurationError, match=r"make one here, app\.handle\(handle\.id, task\)"):
            await app.wait(handles)
        with pytest.raises(ConfigurationError, match="the app is closed"):
            await handles[0].result()


async def test_closing_the_app_ends_every_wait(url: str) -> None:
    app, _ = make(url)
    async with asyncio.TaskGroup() as group:
        async with app:
            (handle,) = await send(app, 0)

            async def wait(waiting: asyncio.Event) -> None:
                waiting.set()
                with pytest.raises(ConfigurationError, match="the app is closed"):
                    await handle.result()

            begun = asyncio.Event()
            waiter = group.create_task(wait(begun))
            await begun.wait()
        await soon(waiter)


# -- as_completed ----------------------------------------------------------------------------------------------------


async def test_tasks_come_in_the_order_in_which_they_end(url: str) -> None:
    app, gates = make(url)
    async with app, app.worker():
        handles = await send(app, 0, 1, 2)
        order: list[str] = []
        for number in (2, 0, 1):
            gates[number].set()
            async with aclosing(app.as_completed([each for each in handles if each.id not in order])) as ending:
                order.append((await soon(anext(ending))).id)
        assert order == [handles[number].id for number in (2, 0, 1)]
        assert [handle.id async for handle in app.as_completed(handles)] == [handle.id for handle in handles]


async def test_who_has_not_ended_in_time_is_counted(url: str) -> None:
    app, gates = make(url)
    async with app, app.worker():
        handles = await send(app, 0, 2)
        gates[0].set()
        ending = app.as_completed(handles, timeout=0.4)
        assert await anext(ending) is handles[0]
        with pytest.raises(TimeoutError, match=r"1 of 2 tasks have not ended within 0\.4 s; they go on"):
            await anext(ending)
        gates[2].set()


# -- watch -----------------------------------------------------------------------------------------------------------


async def test_a_watch_shows_status_and_progress_until_the_end(url: str) -> None:
    app, gates = make(url)
    async with app:
        (handle,) = await send(app, 0)
        updates = handle.watch(timeout=20)
        seen: list[TaskRecord] = [await anext(updates)]
        async with app.worker():
            async for record in updates:
                seen.append(record)
                if record.progress == 0.5:
                    gates[0].set()
    assert seen[0].status is TaskStatus.PENDING
    assert (seen[-2].progress, seen[-2].note) == (0.5, "half of 0")
    assert (seen[-1].status, seen[-1].progress, seen[-1].id) == (TaskStatus.SUCCESS, 0.5, handle.id)
    assert all(one != two for one, two in pairwise(seen))


async def test_a_task_that_has_ended_is_shown_once(url: str) -> None:
    app, gates = make(url)
    gates[1].set()
    async with app, app.worker():
        (handle,) = await send(app, 1)
        await app.wait([handle])
        assert [record.status async for record in handle.watch()] == [TaskStatus.FAILURE]
        assert [record.status async for record in app.handle(handle.id).watch()] == [TaskStatus.FAILURE]


async def test_by_reply_alone_the_end_is_shown(url: str) -> None:
    app, gates = make(url, store=None)
    gates[0].set()
    async with app, app.worker():
        (handle,) = await send(app, 0)
        (last,) = [record async for record in handle.watch(timeout=20)]
        assert (last.status, last.name, last.attempt, last.result) == (TaskStatus.SUCCESS, "work", 1, b"\x00")


async def test_a_watch_has_an_end_when_the_task_has_none(url: str) -> None:
    app, _ = make(url)
    async with app:
        (handle,) = await send(app, 0)
        updates = handle.watch(timeout=0.1)
        assert (await anext(updates)).status is TaskStatus.PENDING
        with pytest.raises(TimeoutError, match=r"within 0\.1 s"):
            await anext(updates)


# -- handles from ids ------------------------------------------------------------------------------------------------


async def test_a_handle_is_made_from_an_id_where_nobody_has_sent_it(sqlite_url: str) -> None:
    here, gates = make(sqlite_url)
    there, _ = make(sqlite_url)
    async with here, there:
        (sent,) = await send(here, 0)
        work = there.tasks["work"]
        handle = there.handle(sent.id, work)
        assert (handle.id, handle.name) == (sent.id, "work")
        assert await handle.status() is TaskStatus.PENDING
        assert await there.wait([handle], timeout=0) == ([], [handle])
        gates[0].set()
        async with here.worker():
            assert await handle.result(timeout=20) == 0
            for unnamed in (there.handle(sent.id), there.handle(sent.id, "work")):
                assert await unnamed.result(timeout=20) == 0
        assert await handle.cancel() is Cancel.TOO_LATE


async def test_a_result_whose_type_has_changed_is_told(url: str) -> None:
    app, gates = make(url)
    gates[0].set()
    changed = App(url)

    @changed.task
    async def work(number: int) -> list[str]:
        return [str(number)]

    async with app, app.worker():
        (sent,) = await send(app, 0)
        await app.wait([sent])
        with pytest.raises(Exception, match="Expected `array`, got `int`"):
            await app.handle(sent.id, work).result()


@pytest.mark.parametrize("how", ["result", "watch"])
async def test_an_unknown_id_is_told_at_once(url: str, how: str) -> None:
    app, _ = make(url)
    async with app:
        handle = app.handle("nobody", "work")
        with pytest.raises(TaskNotFound, match="nobody knows task nobody: the id is wrong") as caught:
            await soon(handle.result() if how == "result" else anext(handle.watch()))
        assert caught.value.task_id == "nobody"
        assert await handle.status() is None
        assert await handle.cancel() is Cancel.TOO_LATE


async def test_without_a_store_only_who_has_sent_it_can_wait(url: str) -> None:
    app, gates = make(url, store=None)
    async with app, app.worker():
        (sent,) = await send(app, 0)
        stranger = app.handle("o-1", "work")
        for ask in (stranger.result, lambda: app.wait([sent, stranger]), lambda: anext(stranger.watch())):
            with pytest.raises(MissingCapability, match="no outcome of task o-1 can come here: its reply goes to"):
                await ask()
        again = app.handle(sent.id, app.tasks["work"])
        gates[0].set()
        assert await soon(again.result()) == 0, "its reply comes here"


async def test_a_task_that_leaves_nothing_to_wait_for_says_so(url: str) -> None:
    app = App(url)

    @app.task(reply=False, record="none")
    async def forgotten() -> None: ...

    @app.task(record="none")
    async def fleeting() -> int:
        return 1

    async with app, app.worker():
        handle = await forgotten.send()
        for each in (handle, app.handle(handle.id, forgotten)):
            with pytest.raises(MissingCapability, match="neither a reply nor a record"):
                await each.result()
        kept = await fleeting.send()
        with pytest.raises(MissingCapability, match="neither a reply nor a record"):
            await app.handle("another", fleeting).result()
        assert await kept.result(timeout=20) == 1


async def test_a_watch_goes_on_with_what_somebody_else_has_sent_back(sqlite_url: str) -> None:
    app, gates = make(sqlite_url)
    gates[1].set()
    async with app, App(sqlite_url) as operator:
        (handle,) = await send(app, 1)
        async with app.worker():
            await app.wait([handle])
            await dead_letters(app, "default")
        assert await operator.redrive("default") == 1
        updates = handle.watch(timeout=20)
        record = await anext(updates)
        assert (record.status, record.run) == (TaskStatus.PENDING, 2)
        async with app.worker():
            *_, last = [record async for record in updates]
        assert (last.status, last.run) == (TaskStatus.FAILURE, 2)


# -- sent back -------------------------------------------------------------------------------------------------------


async def test_what_is_sent_back_is_pending_and_waited_for_anew(url: str) -> None:
    app = App(url)
    broken = True

    @app.task(retry=Retry.none(), metadata={"shop": "eu"})
    async def work() -> str:
        if broken:
            raise ValueError("broken")
        return "mended"

    async with app:
        handle = await work.send()
        async with app.worker():
            with pytest.raises(TaskFailed):
                await handle.result()
            await dead_letters(app, "default")
        broken = False
        assert await app.redrive("default") == 1
        record = await handle.record()
        assert record is not None
        assert (record.status, record.run, record.error, record.metadata) == (
            TaskStatus.PENDING,
            2,
            None,
            {"shop": "eu"},
        )
        both = [handle, app.handle(handle.id, work)]
        assert await app.wait(both, timeout=0.01) == ([], both)
        updates = handle.watch(timeout=20)
        assert (await anext(updates)).run == 2
        async with app.worker():
            assert [await each.result(timeout=20) for each in both] == ["mended", "mended"]
        assert [record.run async for record in handle.watch()] == [2]
