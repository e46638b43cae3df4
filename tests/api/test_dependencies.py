"""Dependencies around attempts: made once per message, cleaned up whatever happens, before anything is committed."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextvars import ContextVar
from typing import Annotated, Any

import pytest

from brokerkit import (
    App,
    ConfigurationError,
    Context,
    Depends,
    GiveUp,
    Handle,
    LifespanFailed,
    Queue,
    Retry,
    RetryLater,
    Settings,
    TaskCancelled,
    TaskFailed,
    TaskStatus,
    TaskTimedOut,
)
from brokerkit.middleware import Receive
from brokerkit.testing import override
from tests.api.probes import soon, until

current: ContextVar[str] = ContextVar("current", default="nothing")


class Ledger:
    """What happened, in order; most dependencies here write into it."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def __call__(self, line: str) -> None:
        self.lines.append(line)

    def taken(self) -> list[str]:
        """What was written since the last time."""
        lines, self.lines = self.lines, []
        return lines

    def session(self, name: str = "session") -> Callable[[], AsyncIterator[str]]:
        """An async generator that commits, or rolls back."""

        async def session() -> AsyncIterator[str]:
            self(f"{name} opens")
            token = current.set(name)
            try:
                yield name
                self(f"{name} commits")
            except BaseException as error:
                self(f"{name} rolls back {type(error).__name__}")
                raise
            finally:
                await asyncio.sleep(0)
                current.reset(token)  # fails in any context but that of the opening

        return session

    def threaded(self, name: str = "file") -> Callable[[], Iterator[str]]:
        """A generator that notes its thread."""

        def file() -> Iterator[str]:
            self(f"{name} opens in {place()}")
            token = current.set(name)
            try:
                yield name
            except Exception as error:
                self(f"{name} sees {type(error).__name__}")
                raise
            finally:
                current.reset(token)
                self(f"{name} closes in {place()}")

        return file


class Tenant:
    """A dependency that is a class."""

    def __init__(self, message: Context, *, realm: str = "eu") -> None:
        self.name = f"{message.args['order_id']} {message.attempt} {realm}"


async def region() -> str:
    return "eu"


def place() -> str:
    return "loop" if threading.current_thread() is threading.main_thread() else "thread"


@pytest.fixture
def ledger() -> Ledger:
    return Ledger()


@pytest.fixture
def app() -> App:
    return App("memory://", settings=Settings(retry=Retry.none()))


async def test_it_is_cleaned_up_before_the_outcome_is_committed(url: str, ledger: Ledger) -> None:
    app = App(url)
    session = ledger.session()

    @app.task
    async def receipt() -> None:
        ledger("receipt")

    @app.task
    async def charge(ctx: Context, order_id: str, db: str = Depends(session)) -> str:
        await ctx.send(receipt.message())
        ledger(f"{order_id} in {db}, context {current.get()}")
        return order_id

    async with app, app.worker():
        assert await (await charge.send("o-1")).result() == "o-1"
        await until(lambda: asyncio.sleep(0, "receipt" in ledger.lines))
    assert ledger.taken() == ["session opens", "o-1 in session, context session", "session commits", "receipt"]


async def test_each_function_is_called_once_per_message_unless_it_is_not_shared(app: App) -> None:
    numbers = iter(range(100))

    def number() -> int:
        return next(numbers)

    async def doubled(n: int = Depends(number)) -> int:
        return 2 * n

    @app.task
    async def charge(
        n: int = Depends(number),
        same: int = Depends(number),
        other: int = Depends(number, cache=False),
        double: int = Depends(doubled),
    ) -> list[int]:
        return [n, same, other, double]

    async with app, app.worker():
        assert await (await charge.send()).result() == [0, 0, 1, 0]
        assert await (await charge.send()).result() == [2, 2, 3, 4]


async def test_it_is_given_the_context_and_through_it_the_arguments(app: App) -> None:
    @app.task
    async def charge(order_id: str, tenant: Tenant = Depends(Tenant)) -> str:
        return tenant.name

    async with app, app.worker():
        assert await (await charge.send("o-1")).result() == "o-1 1 eu"


@pytest.mark.parametrize("raised", [ValueError("no"), GiveUp("no"), asyncio.CancelledError(), SystemExit(1)])
async def test_what_the_handler_raises_is_raised_in_every_dependency(
    app: App, ledger: Ledger, raised: BaseException
) -> None:
    outer = ledger.session("outer")

    async def inner(name: str = Depends(outer)) -> AsyncIterator[str]:
        try:
            yield name
        finally:
            ledger("inner ends")

    @app.task
    async def charge(a: str = Depends(inner)) -> None:
        raise raised

    async with app, app.worker():
        with pytest.raises(TaskFailed, match=type(raised).__name__):
            await (await charge.send()).result()
    assert ledger.taken() == ["outer opens", "inner ends", f"outer rolls back {type(raised).__name__}"]


async def test_catching_the_error_does_not_make_the_attempt_a_success(app: App, ledger: Ledger) -> None:
    session = ledger.session()

    async def forgiving(db: str = Depends(session)) -> AsyncIterator[None]:
        try:
            yield
        except ValueError:
            ledger("forgiven")

    @app.task
    async def charge(nothing: None = Depends(forgiving)) -> None:
        raise ValueError("no")

    async with app, app.worker():
        with pytest.raises(TaskFailed, match="ValueError: no"):
            await (await charge.send()).result()
    assert ledger.taken() == ["session opens", "forgiven", "session rolls back ValueError"]


async def test_what_a_clean_up_raises_is_the_attempts_failure(ledger: Ledger) -> None:
    app = App("memory://", settings=Settings(retry=Retry.fixed(max_retries=1, delay=0)))
    session = ledger.session()

    async def strict(db: str = Depends(session)) -> AsyncIterator[None]:
        yield
        raise ConnectionError("cannot flush")

    @app.task
    async def receipt() -> None:
        ledger("receipt")

    @app.task
    async def charge(ctx: Context, nothing: None = Depends(strict)) -> str:
        await ctx.send(receipt.message())
        return "charged"

    async with app, app.worker():
        with pytest.raises(TaskFailed, match="ConnectionError: cannot flush") as caught:
            await (await charge.send()).result()
    assert caught.value.attempts == 2
    assert ledger.taken() == ["session opens", "session rolls back ConnectionError"] * 2


async def test_a_clean_up_may_choose_the_outcome(app: App) -> None:
    async def patient(ctx: Context) -> AsyncIterator[None]:
        try:
            yield
        except ConnectionError as error:
            raise RetryLater(0, counted=False) from error

    @app.task
    async def charge(ctx: Context, nothing: None = Depends(patient)) -> int:
        if ctx.message.postponed < 3:
            raise ConnectionError
        return ctx.message.postponed

    async with app, app.worker():
        assert await (await charge.send()).result() == 3


@pytest.mark.parametrize("broken", ["makes", "yields twice", "yields nothing", "hides a coroutine"])
async def test_one_that_cannot_be_made_or_ended_fails_the_attempt_and_those_before_it_clean_up(
    app: App, ledger: Ledger, broken: str
) -> None:
    session = ledger.session()

    async def makes(db: str = Depends(session)) -> None:
        raise LookupError("no such tenant")

    async def yields_twice(db: str = Depends(session)) -> AsyncIterator[None]:
        yield
        yield

    def yields_nothing(db: str = Depends(session)) -> Iterator[None]:
        yield from ()

    async def coroutine() -> int:
        return 1

    def hides(db: str = Depends(session)) -> Any:
        return coroutine()

    function, words, error = {
        "makes": (makes, "no such tenant", "LookupError"),
        "yields twice": (yields_twice, "generator didn't stop", "RuntimeError"),
        "yields nothing": (yields_nothing, "generator didn't yield", "RuntimeError"),
        "hides a coroutine": (hides, "hides is no `async def` but returned a coroutine", "TypeError"),
    }[broken]

    @app.task
    async def charge(value: None = Depends(function)) -> None: ...

    async with app, app.worker():
        with pytest.raises(TaskFailed, match=words):
            await (await charge.send()).result()
    assert ledger.taken() == ["session opens", f"session rolls back {error}"]


async def test_a_timeout_rolls_back_and_the_clean_up_may_wait(app: App, ledger: Ledger) -> None:
    session = ledger.session()

    @app.task(timeout=0.02)
    async def slow(db: str = Depends(session)) -> None:
        await asyncio.Event().wait()

    async def never() -> None:
        await asyncio.Event().wait()

    @app.task(timeout=0.02)
    async def never_made(db: str = Depends(session), nothing: None = Depends(never)) -> None: ...

    async def slow_to_close() -> AsyncIterator[None]:
        yield
        await asyncio.Event().wait()

    @app.task(timeout=0.02)
    async def never_closed(db: str = Depends(session), nothing: None = Depends(slow_to_close)) -> None: ...

    async with app, app.worker():
        for task in (slow, never_made, never_closed):
            with pytest.raises(TaskTimedOut):
                await (await app.send(task.message())).result()
            assert ledger.taken() == ["session opens", "session rolls back CancelledError"]


async def test_cancelling_and_stopping_roll_back(app: App, ledger: Ledger) -> None:
    session, started = ledger.session(), asyncio.Event()

    @app.task
    async def slow(db: str = Depends(session)) -> None:
        started.set()
        await asyncio.Event().wait()

    async with app:
        async with app.worker(grace=0.0):
            handle = await slow.send()
            await soon(started.wait())
            await handle.cancel()
            with pytest.raises(TaskCancelled):
                await handle.result()
            assert ledger.taken() == ["session opens", "session rolls back CancelledError"]
            started.clear()
            await slow.send()
            await soon(started.wait())
        assert ledger.taken() == ["session opens", "session rolls back CancelledError"]
        assert (await app.queue_stats("default")).ready == 1


async def test_of_a_sync_handler_the_sync_ones_live_in_its_thread(app: App, ledger: Ledger) -> None:
    file = ledger.threaded()

    def inside(name: str = Depends(file)) -> str:
        return f"{name} {place()} {current.get()}"

    @app.task
    def charge(order_id: str, text: str = Depends(inside)) -> str:
        if order_id == "bad":
            raise ValueError("no")
        return f"{text}, {current.get()} {place()}"

    async with app, app.worker():
        assert await (await charge.send("o-1")).result() == "file thread file, file thread"
        assert ledger.taken() == ["file opens in thread", "file closes in thread"]
        with pytest.raises(TaskFailed, match="ValueError: no"):
            await (await charge.send("bad")).result()
        assert ledger.taken() == ["file opens in thread", "file sees ValueError", "file closes in thread"]


async def test_a_sync_handler_that_hides_a_coroutine_is_found_out_among_dependencies_too(
    app: App, ledger: Ledger
) -> None:
    async def hidden() -> None: ...

    @app.task
    def charge(name: str = Depends(ledger.threaded())) -> Any:
        return hidden()

    async with app, app.worker():
        with pytest.raises(TaskFailed, match="the handler is no `async def` but returned a coroutine"):
            await (await charge.send()).result()
    assert ledger.taken() == ["file opens in thread", "file sees TypeError", "file closes in thread"]


async def test_of_a_sync_handler_the_async_ones_live_around_its_thread(app: App, ledger: Ledger) -> None:
    file, session = ledger.threaded(), ledger.session()

    @app.task
    def charge(order_id: str, name: str = Depends(file), db: str = Depends(session)) -> str:
        if order_id == "bad":
            raise ValueError("no")
        return f"{name} {db} {place()}"

    async with app, app.worker():
        assert await (await charge.send("o-1")).result() == "file session thread"
        assert ledger.taken() == [
            "session opens", "file opens in thread", "file closes in thread", "session commits",
        ]  # fmt: skip
        with pytest.raises(TaskFailed, match="ValueError: no"):
            await (await charge.send("bad")).result()
        assert ledger.taken()[-3:] == ["file sees ValueError", "file closes in thread", "session rolls back ValueError"]


async def test_of_an_async_handler_the_sync_ones_live_on_the_event_loop(app: App, ledger: Ledger) -> None:
    file = ledger.threaded()

    @app.task
    async def charge(name: str = Depends(file)) -> str:
        return current.get()

    async with app, app.worker():
        assert await (await charge.send()).result() == "file"
    assert ledger.taken() == ["file opens in loop", "file closes in loop"]


async def test_a_sync_handler_over_its_timeout_ends_before_what_is_around_it(app: App, ledger: Ledger) -> None:
    session = ledger.session()

    @app.task(timeout=0.02)
    def slow(ctx: Context, db: str = Depends(session)) -> None:
        while not ctx.wait_cancelled(1.0):
            pass
        ledger("told to stop")

    async with app, app.worker():
        with pytest.raises(TaskTimedOut):
            await (await slow.send()).result()
    assert ledger.taken() == ["session opens", "told to stop", "session rolls back CancelledError"]


async def test_subscribers_have_dependencies_and_may_annotate_them(url: str, ledger: Ledger) -> None:
    app, seen = App(url), asyncio.Event()
    session = ledger.session()

    @app.subscribe(Queue("things"))
    async def take(where: Annotated[str, Depends(region)], event: dict[str, int], db: str = Depends(session)) -> None:
        ledger(f"{event} {where}")
        seen.set()

    async with app, app.worker():
        await app.publish({"a": 1}, exchange="", routing_key="things")
        await soon(seen.wait())
    assert ledger.taken() == ["session opens", "{'a': 1} eu", "session commits"]


async def test_middleware_is_around_dependencies(ledger: Ledger) -> None:
    def wrap(receive: Receive) -> Receive:
        async def wrapped(context: Context) -> Any:
            ledger("before")
            try:
                return await receive(context)
            finally:
                ledger("after")

        return wrapped

    app = App("memory://", settings=Settings(middleware=[wrap]))
    session = ledger.session()

    @app.task
    async def charge(db: str = Depends(session)) -> None: ...

    async with app, app.worker():
        await (await charge.send()).result()
    assert ledger.taken() == ["before", "session opens", "session commits", "after"]


async def test_context_variables_do_not_leak_from_one_message_to_the_next(app: App) -> None:
    def sloppy(ctx: Context) -> None:
        current.set(ctx.args["name"])

    @app.task
    async def charge(name: str, before: str, nothing: None = Depends(sloppy)) -> str:
        return current.get()

    @app.task
    async def look() -> str:
        return current.get()

    async with app, app.worker(concurrency=1):
        assert await (await charge.send("a", "")).result() == "a"
        assert await (await look.send()).result() == "nothing"


async def test_calling_the_task_directly_takes_a_fake() -> None:
    @App("memory://").task
    async def charge(order_id: str, db: str = Depends(lambda: "real")) -> str:
        return f"{order_id} {db}"

    assert await charge("o-1", db="fake") == "o-1 fake"


async def test_one_of_the_worker_is_made_once_before_it_takes_messages_and_ends_after_its_last_commit(
    url: str, ledger: Ledger
) -> None:
    app = App(url)

    async def settings() -> str:
        ledger("settings")
        return "eu"

    async def pool(where: str = Depends(settings, scope="worker")) -> AsyncIterator[str]:
        ledger(f"pool opens in {where}")
        yield "pool"
        ledger("pool closes")

    async def connection(of: str = Depends(pool, scope="worker")) -> AsyncIterator[str]:
        ledger("connection opens")
        yield f"connection of {of}"
        ledger("connection closes")

    @app.task
    async def charge(db: str = Depends(connection), again: str = Depends(pool, scope="worker")) -> str:
        return f"{db}, {again}"

    @app.task(queue="elsewhere")
    async def other(value: None = Depends(lambda: ledger("not served"), scope="worker")) -> None: ...

    async with app:
        handle: Handle[str] = await charge.send()
        async with app.worker(queues=("default",)):
            assert await handle.result() == "connection of pool, pool"
            assert await (await charge.send()).result() == "connection of pool, pool"
            assert "pool closes" not in ledger.lines
    opened = ["connection opens", "connection closes"]
    assert ledger.taken() == ["settings", "pool opens in eu", *opened, *opened, "pool closes"]


async def test_one_of_the_worker_that_cannot_be_made_keeps_it_from_starting(url: str, ledger: Ledger) -> None:
    app = App(url)

    def first() -> Iterator[None]:
        try:
            yield
        finally:
            ledger("first ends")

    async def pool(nothing: None = Depends(first, scope="worker")) -> None:
        raise ConnectionRefusedError("nobody there")

    @app.task
    async def charge(db: None = Depends(pool, scope="worker")) -> None: ...

    async with app:
        handle = await charge.send()
        with pytest.raises(LifespanFailed, match=r"pool failed, so the worker takes no messages: .*nobody there"):
            async with app.worker():
                pass
        assert await handle.status() is TaskStatus.PENDING
    assert ledger.taken() == ["first ends"]


async def test_two_scopes_of_one_function_are_refused_when_the_worker_starts(app: App) -> None:
    def pool() -> int:
        return 1

    @app.task
    async def charge(db: int = Depends(pool, scope="worker")) -> None: ...

    @app.task
    async def refund(db: int = Depends(pool)) -> None: ...

    async with app:
        with pytest.raises(ConfigurationError, match=r"pool is used with scope='worker' and with scope='message'"):
            async with app.worker():
                pass


async def test_overrides_reach_what_is_depended_on_indirectly(app: App, ledger: Ledger) -> None:
    session = ledger.session()

    async def repository(db: str = Depends(session)) -> str:
        return f"repository of {db}"

    @app.task
    async def charge(orders: str = Depends(repository)) -> str:
        return orders

    async with app:
        with override(app, session, lambda: "fake"):
            async with app.worker():
                assert await (await charge.send()).result() == "repository of fake"
                with (
                    pytest.raises(ConfigurationError, match="before the worker starts"),
                    override(app, session, lambda: "another"),
                ):
                    pass
        assert ledger.taken() == []
        async with app.worker():
            assert await (await charge.send()).result() == "repository of session"
