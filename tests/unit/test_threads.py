"""The pool of threads for sync handlers."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from typing import Any

import pytest

from brokerkit.worker.threads import ThreadPool

PATIENCE = 10.0


def nothing() -> None: ...


async def call(pool: ThreadPool, function: Callable[[], Any], cancel: Callable[[], None] = nothing) -> Any:
    return await pool.run(function, nothing, cancel)


async def test_a_function_runs_in_a_thread_and_gives_its_value() -> None:
    pool = ThreadPool(1)
    assert await call(pool, threading.get_ident) != threading.get_ident()
    pool.close()


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(1), GeneratorExit(), BaseException("base")])
async def test_what_a_function_raises_is_raised(error: BaseException) -> None:
    pool = ThreadPool(1)

    def fail() -> None:
        raise error

    with pytest.raises(type(error)) as caught:
        await call(pool, fail)
    assert caught.value is error
    assert await call(pool, lambda: 1) == 1, "the thread is as good as new"
    pool.close()


async def test_stop_iteration_becomes_an_error_a_future_can_hold() -> None:
    pool = ThreadPool(1)

    def fail() -> None:
        raise StopIteration

    with pytest.raises(RuntimeError, match="StopIteration"):
        await call(pool, fail)
    pool.close()


async def test_no_more_threads_than_its_size_and_no_more_than_needed() -> None:
    pool, names, lock = ThreadPool(3), set[str](), threading.Lock()
    barrier = threading.Barrier(3, timeout=PATIENCE)

    def work() -> None:
        barrier.wait()
        with lock:
            names.add(threading.current_thread().name)

    await asyncio.gather(*(call(pool, work) for _ in range(9)))
    assert len(names) == 3
    pool.close()
    lonely, idents = ThreadPool(3), set[int]()
    for _ in range(5):
        idents.add(await call(lonely, threading.get_ident))
    assert len(idents) == 1, "one thread is enough for one call at a time"
    lonely.close()


async def test_a_cancelled_caller_waits_for_its_thread_and_tells_it() -> None:
    pool, told, started = ThreadPool(1), threading.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    returned: list[bool] = []

    def work() -> None:
        loop.call_soon_threadsafe(started.set)
        returned.append(told.wait(PATIENCE))

    task = asyncio.create_task(call(pool, work, told.set))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert returned == [True], "the function has returned before its caller did"
    assert pool.busy == 0
    pool.close()


async def test_a_caller_cancelled_while_it_waits_for_a_thread_never_runs() -> None:
    pool, release, ran = ThreadPool(1), threading.Event(), list[int]()
    first = asyncio.create_task(call(pool, lambda: release.wait(PATIENCE)))
    second = asyncio.create_task(call(pool, lambda: ran.append(1)))
    await asyncio.sleep(0)
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    release.set()
    await first
    assert await call(pool, lambda: 3) == 3, "and takes no thread with it"
    assert not ran
    pool.close()


async def test_begin_is_called_when_a_thread_is_free() -> None:
    pool, release, order = ThreadPool(1), threading.Event(), list[str]()
    first = asyncio.create_task(pool.run(lambda: release.wait(PATIENCE), lambda: order.append("first"), nothing))
    second = asyncio.create_task(pool.run(nothing, lambda: order.append("second"), nothing))
    await asyncio.sleep(0)
    assert order == ["first"]
    release.set()
    await asyncio.gather(first, second)
    assert order == ["first", "second"]
    pool.close()


async def test_context_variables_go_in_and_do_not_come_out() -> None:
    pool = ThreadPool(1)
    variable = contextvars.ContextVar("variable", default="none")
    variable.set("caller's")

    def work() -> str:
        seen = variable.get()
        variable.set("thread's")
        return seen

    assert [await call(pool, work), await call(pool, work)] == ["caller's", "caller's"]
    assert variable.get() == "caller's"
    pool.close()
