"""What a worker enters before its first message and leaves after its last commit."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from brokerkit import App, ConfigurationError, Context, LifespanFailed, Retry, TaskFailed, Tasks, TaskStatus
from tests.api.probes import soon


async def test_it_is_entered_before_the_first_message_and_left_after_the_last_commit(url: str) -> None:
    app, lines = App(url), list[str]()
    started, let_go = asyncio.Event(), asyncio.Event()

    @app.task
    async def charge(ctx: Context) -> str:
        lines.append(f"runs with {ctx.state}")
        started.set()
        await let_go.wait()
        return "charged"

    @app.lifespan
    async def pool() -> AsyncIterator[str]:
        lines.append("opens")
        yield "a pool"
        lines.append(f"closes when the task is {await handle.status()}")

    async with app:
        handle = await charge.send()
        async with app.worker():
            await soon(started.wait())
            asyncio.get_running_loop().call_later(0.01, let_go.set)
    assert lines == ["opens", "runs with a pool", "closes when the task is SUCCESS"]


async def test_every_worker_enters_it_anew() -> None:
    numbers = iter(range(10))

    @contextlib.contextmanager
    def numbered(app: App) -> Iterator[str]:
        yield f"{app.name} {next(numbers)}"

    app = App("memory://", name="shop", lifespan=numbered)

    @app.task
    async def look(ctx: Context) -> str:
        return str(ctx.state)

    async with app:
        for number in range(2):
            async with app.worker():
                assert await (await look.send()).result() == f"shop {number}"


async def test_without_one_there_is_no_state() -> None:
    app = App("memory://")

    @app.task
    async def look(ctx: Context) -> bool:
        return ctx.state is None

    async with app, app.worker():
        assert await (await look.send()).result() is True


async def test_several_are_entered_in_order_their_mappings_united_and_left_in_reverse() -> None:
    lines: list[str] = []

    def lifespan(name: str) -> Callable[[], AsyncIterator[dict[str, str]]]:
        async def generator() -> AsyncIterator[dict[str, str]]:
            lines.append(f"{name} opens")
            yield {name: name.upper()}
            lines.append(f"{name} closes")

        return generator

    def quiet() -> Iterator[None]:
        lines.append("quiet opens")
        yield
        lines.append("quiet closes")

    tasks = Tasks()
    tasks.lifespan(lifespan("mail"))
    app = App("memory://", lifespan=lifespan("pool"))
    app.lifespan(quiet)
    app.include(tasks)
    app.include(tasks)

    @app.task
    async def look(ctx: Context) -> Any:
        return ctx.state

    async with app, app.worker():
        assert await (await look.send()).result() == {"pool": "POOL", "mail": "MAIL"}
    names = ["pool", "quiet", "mail"]
    assert lines == [f"{name} opens" for name in names] + [f"{name} closes" for name in reversed(names)]


async def test_one_that_fails_keeps_the_worker_from_starting_and_those_before_it_are_left(url: str) -> None:
    app, lines = App(url), list[str]()

    @app.task
    async def charge() -> str:
        return "charged"

    @app.lifespan
    async def first() -> AsyncIterator[None]:
        try:
            yield
        finally:
            lines.append("first left")

    @app.lifespan
    async def broken() -> AsyncIterator[None]:
        raise ConnectionRefusedError("postgres is down")
        yield

    async with app:
        handle = await charge.send()
        with pytest.raises(LifespanFailed, match=r"broken failed, so the worker takes no messages: .*postgres is down"):
            async with app.worker():
                raise AssertionError("the worker has started")
        assert await handle.status() is TaskStatus.PENDING
        app.lifespans.remove(broken)
        async with app.worker():
            assert await handle.result() == "charged"
    assert lines == ["first left", "first left"]


async def test_an_exception_of_the_body_reaches_it_and_leaves_unchanged() -> None:
    app, seen = App("memory://"), list[BaseException]()

    @app.task
    async def charge() -> None: ...

    @app.lifespan
    async def curious() -> AsyncIterator[None]:
        try:
            yield
        except BaseException as error:  # kept, which does not hide it
            seen.append(error)

    mine = KeyError("mine")
    with pytest.raises(KeyError) as caught:
        async with app, app.worker():
            raise mine
    assert caught.value is mine
    assert seen == [mine]


async def test_what_it_raises_at_the_end_is_raised_where_the_worker_is_left() -> None:
    app = App("memory://")

    @app.task
    async def charge() -> str:
        return "charged"

    @app.lifespan
    async def forgetful() -> AsyncIterator[None]:
        yield
        raise OSError("cannot close")

    with pytest.raises(OSError, match="cannot close"):
        async with app, app.worker():
            assert await (await charge.send()).result() == "charged"


async def test_state_that_cannot_be_united_is_refused() -> None:
    def mapping() -> Iterator[dict[str, int]]:
        yield {"pool": 1}

    def same() -> Iterator[dict[str, int]]:
        yield {"pool": 2}

    def other() -> Iterator[int]:
        yield 3

    for second, words in ((same, "two lifespans yield 'pool'"), (other, "each must yield a mapping, not 3")):
        app = App("memory://", lifespan=mapping)
        app.lifespan(second)
        app.task(nothing)
        async with app:
            with pytest.raises(ConfigurationError, match=words):
                async with app.worker():
                    pass


async def nothing() -> None: ...
def returns_nothing() -> None: ...
async def coroutine() -> None: ...
def takes_two(app: App, other: int) -> Iterator[None]:
    yield


def test_what_is_no_lifespan_is_refused_where_it_is_declared() -> None:
    app = App("memory://")
    with pytest.raises(ConfigurationError, match="coroutine returns before the worker begins; give it one `yield`"):
        app.lifespan(coroutine)
    with pytest.raises(ConfigurationError, match="takes_two: a lifespan takes the app or nothing"):
        app.lifespan(takes_two)
    with pytest.raises(ConfigurationError, match="takes a function, not 3"):
        App("memory://", lifespan=3)  # type: ignore[arg-type]


async def test_a_function_that_returns_no_context_is_refused_when_the_worker_starts() -> None:
    app = App("memory://", lifespan=returns_nothing)
    app.task(nothing)
    async with app:
        with pytest.raises(LifespanFailed, match="returned None, which is no context manager; give it one `yield`"):
            async with app.worker():
                pass


async def test_it_is_not_entered_for_a_worker_that_has_nothing_to_do() -> None:
    def lifespan() -> Iterator[None]:
        raise AssertionError("entered")
        yield

    app = App("memory://", lifespan=lifespan)
    async with app:
        with pytest.raises(ConfigurationError, match="no tasks"):
            async with app.worker():
                pass


async def test_a_handler_that_fails_leaves_the_lifespan_alone() -> None:
    app, lines = App("memory://"), list[str]()

    @app.lifespan
    async def pool() -> AsyncIterator[None]:
        yield
        lines.append("closed in order")

    @app.task(retry=Retry.none())
    async def charge() -> None:
        raise ValueError("no")

    async with app, app.worker():
        with pytest.raises(TaskFailed):
            await (await charge.send()).result()
    assert lines == ["closed in order"]
