"""What ``result()`` gives or raises."""

import asyncio
import traceback
from typing import Any

import pytest

from brokerkit import (
    App,
    Cancel,
    Context,
    DecodeError,
    Retry,
    Settings,
    TaskCancelled,
    TaskError,
    TaskExpired,
    TaskFailed,
    Tasks,
    TaskStatus,
    TaskTimedOut,
)
from brokerkit.outcome import Reason
from tests.api.probes import dead_letters, soon

ONCE = Settings(retry=Retry.none())


class BankError(Exception):
    """Something of the user's own."""


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


async def test_a_failure_tells_type_message_traceback_and_attempts(url: str) -> None:
    app = App(url, settings=ONCE)

    @app.task
    async def charge(order_id: str) -> None:
        raise BankError(f"no money for {order_id}")

    async with app, app.worker():
        handle = await charge.send("o-1")
        with pytest.raises(TaskFailed) as caught:
            await handle.result()
    error = caught.value
    assert error.type == f"{__name__}.BankError"
    assert error.remote_message == "no money for o-1"
    assert 'raise BankError(f"no money for {order_id}")' in error.traceback
    assert "brokerkit/worker" not in error.traceback, "how it was called tells nobody anything"
    shown = "".join(traceback.format_exception(error))
    assert shown.endswith(f"In the worker, attempt 1:\n{error.traceback.rstrip()}\n"), "also where nobody catches it"
    assert (error.attempts, error.exhausted, error.task_id) == (1, False, handle.id)
    assert str(error) == f"{__name__}.BankError: no money for o-1"
    assert isinstance(error, TaskError)


@pytest.mark.parametrize(
    "raised",
    [
        Mute(), ExceptionGroup("several", [ValueError("a"), KeyError("b")]), ValueError("x" * 100_000),
        ValueError("\ud800"), asyncio.CancelledError("own"), SystemExit(1), GeneratorExit(), StopIteration(1),
        TimeoutError("mine"),
    ],
    ids=lambda raised: type(raised).__name__,
)  # fmt: skip
@pytest.mark.parametrize("sync", [False, True])
async def test_whatever_a_handler_raises_is_a_failure_and_the_worker_goes_on(
    url: str, raised: BaseException, sync: bool
) -> None:
    app = App(url, settings=ONCE)

    async def charge() -> None:
        raise raised

    def charge_sync() -> None:
        raise raised

    @app.task
    async def fine() -> int:
        return 1

    task: Any = app.task(name="charge")(charge_sync) if sync else app.task(name="charge")(charge)
    async with app, app.worker():
        handle = await task.send()
        with pytest.raises(TaskFailed) as caught:
            await handle.result(timeout=20)
        assert len(str(caught.value)) < 3000
        assert await (await fine.send()).result() == 1
        assert await handle.status() is TaskStatus.FAILURE


@pytest.mark.parametrize("where", ["task", "options"])
async def test_an_attempt_over_its_timeout_is_cancelled_and_timed_out(url: str, where: str) -> None:
    app = App(url, settings=ONCE)
    cancelled = asyncio.Event()

    @app.task(timeout=0.01 if where == "task" else None)
    async def charge() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    async with app, app.worker():
        sending = charge.options(timeout=0.01) if where == "options" else charge.options()
        handle = await sending.send()
        with pytest.raises(TaskTimedOut, match=r"charge .* attempt 1 exceeded its timeout of 0\.01 s") as caught:
            await handle.result()
        assert caught.value.task_id == handle.id
        await soon(cancelled.wait())
        (letter,) = await dead_letters(app, "default")
    assert letter.reason is Reason.TIMED_OUT


async def test_a_sync_handler_over_its_timeout_sees_that_it_is_cancelled(url: str) -> None:
    app = App(url, settings=ONCE)

    @app.task(timeout=0.01)
    def charge(ctx: Context) -> str:
        assert ctx.wait_cancelled(20)
        return "too late"

    async with app, app.worker():
        with pytest.raises(TaskTimedOut):
            await (await charge.send()).result()


async def test_a_timed_out_attempt_is_retried(url: str) -> None:
    app = App(url)

    @app.task(timeout=0.01, retry=Retry.fixed(1, 0))
    async def charge(ctx: Context) -> int:
        if ctx.attempt == 1:
            await asyncio.Event().wait()
        return ctx.attempt

    async with app, app.worker():
        assert await (await charge.send()).result() == 2


async def test_a_task_that_was_not_started_in_time_has_expired(url: str) -> None:
    app = App(url)
    ran = False

    @app.task
    async def charge() -> None:
        nonlocal ran
        ran = True

    async with app:
        handle = await charge.options(expires=0.001).send()
        await asyncio.sleep(0.01)  # time has to pass: that is what expires it
        async with app.worker():
            with pytest.raises(TaskExpired, match="not started before it expired"):
                await handle.result()
            (letter,) = await dead_letters(app, "default")
        assert await handle.status() is TaskStatus.EXPIRED
    assert letter.reason is Reason.EXPIRED
    assert not ran


async def test_cancelling_a_task_that_waits_is_final(url: str) -> None:
    app = App(url)

    @app.task
    async def charge() -> None: ...

    async with app:
        handle = await charge.send()
        assert await handle.cancel() is Cancel.CANCELLED
        with pytest.raises(TaskCancelled):
            await handle.result()
        assert await app.cancel(handle.id) is Cancel.TOO_LATE
        assert (await app.queue_stats("default")).ready == 0


async def test_cancelling_a_task_that_runs_asks_it_to_stop(url: str) -> None:
    app = App(url)
    started, stopped = asyncio.Event(), asyncio.Event()

    @app.task
    async def charge() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    async with app, app.worker():
        handle = await charge.send()
        await soon(started.wait())
        assert await app.cancel(handle.id) is Cancel.REQUESTED
        with pytest.raises(TaskCancelled):
            await handle.result()
        await soon(stopped.wait())
        assert await handle.status() is TaskStatus.CANCELLED


async def test_a_result_that_cannot_travel_is_a_failure_and_the_task_does_not_run_again(url: str) -> None:
    app, runs = App(url, settings=Settings(retry=Retry.fixed(max_retries=5, delay=0))), list[int]()

    @app.task
    async def charge(kind: str) -> Any:
        runs.append(1)
        return {"object": object(), "huge": 2**70, "broken": Unprintable()}[kind]

    async with app, app.worker():
        for kind in ("object", "huge", "broken"):
            handle = await charge.send(kind)
            with pytest.raises(TaskFailed, match="EncodeError: cannot encode") as caught:
                await handle.result()
            assert (caught.value.attempts, caught.value.exhausted) == (1, False)
            assert await handle.status() is TaskStatus.FAILURE
        letters = await dead_letters(app, "default", 3)
    assert len(runs) == 3
    assert all("cannot encode" in letter.error for letter in letters)


class Unprintable:
    def __repr__(self) -> str:
        raise RuntimeError("no")


async def test_a_result_of_another_type_than_expected_here_says_so(url: str) -> None:
    app = App(url)

    @app.task(name="charge")
    async def old() -> str:
        return "charged"

    @Tasks().task(name="charge")
    async def new() -> int:
        return 7

    async with app, app.worker():
        handle = await app.send(new.message())
        words = (
            r"task 'charge' has succeeded, but what it returned is no int here: .*Expected `int`, got `str`; the worker"
        )
        with pytest.raises(DecodeError, match=words):
            await handle.result()
        assert await handle.status() is TaskStatus.SUCCESS
