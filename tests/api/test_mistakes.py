"""What a program gets that makes a usual mistake: an error at once, which names the thing and the way out."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from brokerkit import (
    App,
    ConfigurationError,
    Context,
    EncodeError,
    Exchange,
    Handle,
    Queue,
    Retry,
    TaskFailed,
    TopologyError,
    Unroutable,
)
from brokerkit.message import Message, Outgoing
from brokerkit.publisher import publish_error
from brokerkit.transport import Published


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"retries": 3}, r"task\(\) takes no retries; did you mean 'retry'\?"),
        ({"eta": 3}, r"task\(\) takes no eta; it takes name, queue, retry"),
        ({"retry": 3}, r"retry=3: give a Retry, as Retry\.exponential"),
        ({"timeout": "10s"}, r"timeout takes seconds or a timedelta, not '10s'"),
        ({"queue": 3}, "queue=3: give a Queue or the name of one"),
    ],
)
def test_an_option_of_a_task_that_makes_no_sense(options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigurationError, match=complaint):
        App("memory://").task(**options)


def test_a_policy_of_a_subscriber_or_handler_that_is_none() -> None:
    app, wrong = App("memory://"), {"retry": 3}
    with pytest.raises(ConfigurationError, match="give a Retry"):
        app.subscribe(Queue("q"), **wrong)(print)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="give a Retry"):
        app.handler("a*", **wrong)(print)  # type: ignore[arg-type]


def test_a_method_is_no_task_and_that_of_an_instance_is() -> None:
    app = App("memory://")

    class Shop:
        def charge(self, amount: int) -> int:
            return amount

    with pytest.raises(ConfigurationError, match="is a method, and its self cannot travel"):
        app.task(Shop.charge)
    assert app.task(Shop().charge).name == "charge"


def test_a_task_is_no_function_to_be_decorated_again() -> None:
    app = App("memory://")

    @app.task
    async def charge() -> None: ...

    decorators: list[Callable[[Any], Any]] = [app.task, app.subscribe(Queue("q")), app.handler("a*")]
    for decorate in decorators:
        with pytest.raises(ConfigurationError, match=r"'charge' is a task already: .*, charge\.function"):
            decorate(charge)
    app.subscribe(Queue("q"))(charge.function)


async def test_what_has_no_name_can_be_given_one() -> None:
    def add(a: int, b: int) -> int:
        return a + b

    app = App("memory://")
    with pytest.raises(ConfigurationError, match="give the task one, name="):
        app.task(functools.partial(add, 1))
    add_one = app.task(name="add_one")(functools.partial(add, b=1))
    async with app, app.worker():
        assert await (await add_one.send(2)).result() == 3


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"countdown": 3}, "a send takes no countdown; it takes delay, at, priority"),
        ({"delay": "5s"}, "delay takes seconds or a timedelta, not '5s'"),
        ({"retry": 3}, "retry=3: give a Retry"),
    ],
)
def test_an_option_of_a_send_that_makes_no_sense(options: dict[str, Any], complaint: str) -> None:
    app = App("memory://")

    @app.task
    async def charge(amount: int) -> None: ...

    with pytest.raises(TypeError, match=complaint):
        charge.options(**options)


def test_an_option_among_the_arguments_is_pointed_out() -> None:
    app = App("memory://")

    @app.task
    async def charge(amount: int) -> None: ...

    loose: Any = charge.message
    with pytest.raises(TypeError, match=r"that is said before: charge\.options\(delay=…\)"):
        loose(1, delay=5)
    with pytest.raises(TypeError, match=r"unexpected keyword argument 'amuont'$"):
        loose(1, amuont=5)


def test_the_argument_that_cannot_travel_is_named() -> None:
    app = App("memory://")

    @app.task
    async def charge(amount: int, card: object) -> None: ...

    with pytest.raises(EncodeError, match=r"argument 'card' of .*charge: cannot encode object"):
        charge.message(1, object())
    with pytest.raises(EncodeError, match=r"charge: 2000\d{3} bytes are over the limit of 1048576; send a reference"):
        charge.message(1, "x" * 2_000_000)


@pytest.mark.parametrize("wrong", ["task", "coroutine", "name"])
async def test_what_is_sent_must_be_a_call(wrong: str) -> None:
    app = App("memory://")

    @app.task
    async def charge() -> None: ...

    def mistaken() -> Any:
        return charge if wrong == "task" else charge.send() if wrong == "coroutine" else "charge"

    @app.task(retry=Retry.none())
    async def parent(ctx: Context) -> None:
        await ctx.send(mistaken())

    async with app, app.worker():
        sends: list[Callable[[Any], Awaitable[Any]]] = [lambda call: app.send_many([call])]
        if wrong != "name":
            sends.append(app.send)
        for send in sends:
            with pytest.raises(TypeError, match=r"a call is wanted, as charge\.message"):
                await send(mistaken())
        with pytest.raises(TaskFailed, match="a call is wanted"):
            await (await parent.send()).result()


async def test_a_name_that_nobody_declares_is_told_from_a_binding_that_is_missing() -> None:
    app, orders, other = App("memory://"), Exchange("orders"), Exchange("other")
    app.declare(orders, Queue("payments"))
    async with app:
        with pytest.raises(Unroutable, match=r"there is no such queue; did you mean 'payments'\?"):
            await app.send("charge", {}, queue="paymets")
        with pytest.raises(Unroutable, match=r"declares no such exchange; did you mean 'orders'\?"):
            await app.publish(1, exchange="order", routing_key="a")
        with pytest.raises(Unroutable, match="no binding matches; bind a queue"):
            await app.publish(1, exchange=orders, routing_key="a")
        with pytest.raises(Unroutable, match="no binding matches; bind a queue"):
            await app.publish(1, exchange=other, routing_key="a")  # declared as it is used


def test_a_queue_that_has_been_deleted_is_told_from_one_that_never_was() -> None:
    message = Message(id="m-1", name="charge", body=b"", created=0.0)
    failed = {"m-1": Published.UNROUTABLE}
    error = publish_error([Outgoing(message, "", "payments")], failed, [Queue("payments")])
    assert "the queue has been deleted" in str(error)
    assert "did you mean" not in str(error)


@pytest.mark.parametrize("bindings", [["orders"], Exchange("orders").bind("a"), "orders"])
async def test_bindings_that_are_none_are_problems_of_the_topology(bindings: Any) -> None:
    app = App("memory://")
    app.declare(Queue("q", bindings=bindings))
    with pytest.raises(TopologyError, match=r"queues\.q\.bindings"):
        app.topology()


@pytest.mark.parametrize("wrong", [3, Path("shop.db")])
def test_a_broker_or_store_that_is_no_url(wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"the broker is named by its URL, as sqlite:///shop\.db"):
        App(wrong)
    with pytest.raises(ConfigurationError, match="the store is named by its URL"):
        App("memory://", store=wrong)


def test_a_scheme_that_is_nearly_right() -> None:
    with pytest.raises(ConfigurationError, match=r"a file of SQLite is sqlite:///shop\.db"):
        App("shop.db")
    with pytest.raises(ConfigurationError, match=r"did you mean 'amqp'\?"):
        App("ampq://localhost")


async def test_waiting_without_a_limit_and_for_what_is_no_handle() -> None:
    app = App("memory://")

    @app.task
    async def charge() -> int:
        return 1

    async with app, app.worker():
        handle: Handle[int] = await charge.send()
        assert await handle.result(timeout=None) == 1
        wrong: Any = [handle.id]
        with pytest.raises(TypeError, match=r"of an id, app\.handle\("):
            await app.wait(wrong)


@pytest.mark.parametrize(
    ("wanted", "complaint"),
    [
        ({"status": "FAILURE"}, r"find\(\) takes no status; did you mean 'statuses'\?"),
        ({"created_after": datetime(2026, 1, 1)}, "has no time zone"),  # noqa: DTZ001 - that is the mistake
    ],
)
async def test_a_question_that_makes_no_sense(wanted: dict[str, Any], complaint: str) -> None:
    async with App("memory://") as app:
        with pytest.raises(ConfigurationError, match=complaint):
            await app.find(**wanted)


async def test_tasks_are_found_by_a_time_with_a_zone() -> None:
    app = App("memory://")

    @app.task
    async def charge() -> None: ...

    async with app:
        sent = await charge.send()
        minute = timedelta(minutes=1)
        (found,) = await app.find(created_after=datetime.now(UTC) - minute, created_before=datetime.now(UTC) + minute)
        assert found.id == sent.id
        assert await app.find(created_after=datetime.now(UTC) + minute) == []


async def test_a_setting_of_a_worker_that_does_not_exist() -> None:
    app = App("memory://")
    wrong: Any = {"concurency": 3}
    async with app:
        with pytest.raises(ConfigurationError, match=r"worker\(\) takes no concurency; did you mean 'concurrency'\?"):
            app.worker(**wrong)
