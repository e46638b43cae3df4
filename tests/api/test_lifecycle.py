"""Opening, working, leaving."""

import asyncio
import threading
from typing import Any

import pytest

from brokerkit import App, ConfigurationError, Context, Queue, TaskStatus
from tests.api.probes import soon


class Unlucky(Exception):
    """The body's own."""


@pytest.mark.parametrize("raised", [Unlucky("mine"), ExceptionGroup("own", [Unlucky()]), SystemExit(3), KeyError("x")])
async def test_an_exception_of_the_body_leaves_unchanged(url: str, raised: BaseException) -> None:
    app = App(url)

    @app.task
    async def charge() -> None: ...

    async def body() -> None:
        async with app, app.worker():
            await (await charge.send()).result()
            raise raised

    with pytest.raises(type(raised)) as caught:
        await body()
    assert caught.value is raised


async def test_cancelling_the_body_leaves_as_a_cancellation(url: str) -> None:
    app = App(url)
    inside = asyncio.Event()

    @app.task
    async def charge() -> None: ...

    async def body() -> None:
        async with app, app.worker():
            inside.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(body())
    await soon(inside.wait())
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await soon(task)


async def test_leaving_waits_for_what_runs(url: str) -> None:
    app = App(url)
    started, let_go, ended = asyncio.Event(), asyncio.Event(), False

    @app.task
    async def charge() -> None:
        nonlocal ended
        started.set()
        await let_go.wait()
        ended = True

    async with app:
        async with app.worker():
            handle = await charge.send()
            await soon(started.wait())
            asyncio.get_running_loop().call_soon(let_go.set)
        assert ended
        assert await handle.status() is TaskStatus.SUCCESS


async def test_what_has_not_started_when_the_worker_leaves_is_run_by_the_next(url: str) -> None:
    app = App(url)
    started, let_go = asyncio.Event(), asyncio.Event()

    @app.task
    async def charge(number: int) -> int:
        started.set()
        await let_go.wait()
        return number

    async with app:
        async with app.worker(concurrency=1):
            handles = await app.send_many([charge.message(number) for number in range(5)])
            await soon(started.wait())
            let_go.set()
        async with app.worker():
            assert [await handle.result() for handle in handles] == [0, 1, 2, 3, 4]


async def test_an_attempt_cut_off_by_the_end_of_the_grace_runs_again_as_the_same_attempt(url: str) -> None:
    app = App(url)
    started = asyncio.Event()
    patient = False

    @app.task
    async def charge(ctx: Context) -> int:
        started.set()
        if not patient:
            await asyncio.Event().wait()
        return ctx.attempt

    async with app:
        async with app.worker(grace=0):
            handle = await charge.send()
            await soon(started.wait())
            patient = True
        async with app.worker():
            assert await handle.result() == 1


async def test_sync_tasks_run_in_threads_beside_each_other(url: str) -> None:
    app = App(url)
    both = threading.Barrier(2, timeout=20)

    @app.task
    def charge(ctx: Context, order_id: str) -> str:
        ctx.progress_nowait(0.5, "halfway")
        both.wait()
        return f"{order_id} {threading.current_thread() is threading.main_thread()}"

    async with app, app.worker(sync_threads=2):
        first, second = await charge.send("o-1"), await charge.send("o-2")
        assert await first.result() == "o-1 False"
        assert await second.result() == "o-2 False"
        record = await first.record()
    assert record is not None
    assert (record.progress, record.note) == (0.5, "halfway")


async def test_an_app_can_be_opened_again(url: str) -> None:
    app = App(url)

    @app.task
    async def charge() -> int:
        return 1

    for _ in range(2):
        async with app, app.worker():
            assert await (await charge.send()).result() == 1


async def test_what_needs_an_open_app_says_so(url: str) -> None:
    app = App(url)

    @app.task
    async def charge() -> None: ...

    with pytest.raises(ConfigurationError, match="async with app"):
        await charge.send()
    with pytest.raises(ConfigurationError, match="async with app"):
        await app.status("x")
    with pytest.raises(ConfigurationError, match="async with app"):
        async with app.worker():
            pass


async def test_opening_an_open_app_is_refused_and_leaves_it_open(url: str) -> None:
    async with App(url) as app:
        with pytest.raises(ConfigurationError, match="open already"):
            await app.__aenter__()
        assert await app.status("nobody") is None


async def test_a_worker_with_nothing_to_do_is_refused(url: str) -> None:
    async with App(url) as app:
        with pytest.raises(ConfigurationError, match="no tasks and no subscribers"):
            async with app.worker():
                pass


async def test_a_worker_of_a_queue_nobody_consumes_is_refused_with_those_there_are(url: str) -> None:
    app = App(url)

    @app.task(queue=Queue("payments"))
    async def charge() -> None: ...

    async with app:
        with pytest.raises(ConfigurationError, match=r"refunds.*this app consumes payments"):
            async with app.worker(queues=("refunds",)):
                pass


@pytest.mark.parametrize("settings", [{"concurrency": 0}, {"sync_threads": -1}, {"grace": -1}, {"threads": 3}])
async def test_a_setting_of_the_worker_that_makes_no_sense_is_refused(url: str, settings: dict[str, Any]) -> None:
    async with App(url) as app:
        with pytest.raises(ConfigurationError, match=next(iter(settings))):
            app.worker(**settings)
