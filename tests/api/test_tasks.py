"""Declaring tasks: names, queues, options, modules."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from brokerkit import App, ConfigurationError, Context, DuplicateTask, Handle, Queue, Retry, Tasks, TopologyError

FAKE: Context = object.__new__(Context)
"""What a unit test may pass for a context that the function does not look into."""


async def test_a_task_without_arguments_uses_the_queue_default(url: str) -> None:
    app = App(url)

    @app.task
    async def charge(order_id: str) -> str:
        return order_id

    async with app, app.worker():
        handle = await charge.send("o-1")
        assert await handle.result() == "o-1"
        record = await handle.record()
    assert record is not None
    assert (record.name, record.queue) == ("charge", "default")


async def test_empty_parentheses_are_the_same(url: str) -> None:
    app = App(url)

    @app.task()
    async def charge() -> int:
        return 1

    async with app, app.worker():
        assert await (await charge.send()).result() == 1
    assert charge.queue == Queue("default")


async def test_the_wire_name_is_the_functions_unless_one_is_given(url: str) -> None:
    app = App(url)

    @app.task(name="shop.charge", queue="payments")
    async def charge(ctx: Context) -> str:
        return f"{ctx.name} from {ctx.source}"

    @app.task(queue="payments")
    async def refund(ctx: Context) -> str:
        return f"{ctx.name} from {ctx.source}"

    async with app, app.worker():
        assert await (await charge.send()).result() == "shop.charge from payments"
        assert await (await refund.send()).result() == "refund from payments"


def test_a_second_task_of_a_name_is_an_error_at_import(tmp_path: Path) -> None:
    module = tmp_path / "shop.py"
    module.write_text(
        "from brokerkit import App\n"
        "app = App('memory://')\n"
        "@app.task\ndef charge() -> None: ...\n"
        "@app.task(name='charge', queue='other')\ndef refund() -> None: ...\n"
    )
    spec = importlib.util.spec_from_file_location("shop", module)
    assert spec is not None
    assert spec.loader is not None
    with pytest.raises(DuplicateTask, match=r"'charge'.*shop\.py:3.*shop\.py:5.*name="):
        spec.loader.exec_module(importlib.util.module_from_spec(spec))


async def test_calling_a_task_runs_the_plain_function() -> None:
    app = App("memory://")

    @app.task
    async def charge(ctx: Context, order_id: str, amount: float = 1.0) -> str:
        """Take the money."""
        return f"{order_id}: {amount} {ctx is FAKE}"

    @app.task
    def refund(order_id: str) -> str:
        return order_id

    assert await charge(FAKE, "o-1", amount=2.0) == "o-1: 2.0 True"
    assert refund("o-2") == "o-2"
    assert (charge.__doc__, charge.__name__, charge.__module__) == ("Take the money.", "charge", __name__)


def test_a_context_that_is_not_first_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="'ctx' must be the first parameter"):

        @App("memory://").task
        async def charge(order_id: str, ctx: Context) -> None: ...


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"record": "all"}, "record='all'"),
        ({"timeout": 0}, "timeout=0"),
        ({"timeout": -1.0}, "timeout=-1"),
        ({"expires": float("inf")}, "expires=inf"),
        ({"priority": 10}, "priority takes 0 to 9"),
        ({"priority": "urgent"}, "priority takes 0 to 9 or one of low, normal, high, critical"),
        ({"retries": 3}, "retries"),
    ],
)
def test_an_option_that_makes_no_sense_is_refused_at_import(options: dict[str, Any], words: str) -> None:
    def charge() -> None: ...

    with pytest.raises((ConfigurationError, ValueError, TypeError), match=words):
        App("memory://").task(**options)(charge)


async def test_tasks_of_a_module_without_an_app_are_included(url: str) -> None:
    tasks = Tasks()

    @tasks.task(queue="payments", retry=Retry.none())
    async def charge(order_id: str) -> str:
        return order_id

    @tasks.task
    def refund(order_id: str) -> str:
        return order_id.upper()

    app = App(url)
    app.include(tasks)
    async with app, app.worker():
        charged: Handle[str] = await charge.send("o-1")
        assert await charged.result() == "o-1"
        assert await (await refund.send("o-2")).result() == "O-2"


async def test_a_task_that_belongs_to_no_app_says_so() -> None:
    tasks = Tasks()

    @tasks.task
    async def charge() -> None: ...

    with pytest.raises(ConfigurationError, match=r"app\.include\(tasks\)"):
        await charge.send()


async def test_a_task_of_several_apps_is_sent_through_one_of_them(url: str) -> None:
    tasks = Tasks()

    @tasks.task
    async def charge() -> int:
        return 7

    other, app = App("memory://"), App(url)
    other.include(tasks)
    app.include(tasks)
    async with app, app.worker():
        with pytest.raises(ConfigurationError, match=r"app\.send\(task\.message"):
            await charge.send()
        handle = await app.send(charge.message())
        assert await handle.result() == 7


def test_including_a_name_twice_is_an_error() -> None:
    app, tasks = App("memory://"), Tasks()

    @app.task
    async def charge() -> None: ...

    @tasks.task(name="charge")
    async def other() -> None: ...

    with pytest.raises(DuplicateTask, match="'charge'"):
        app.include(tasks)


def test_one_queue_described_in_two_ways_is_refused_with_both() -> None:
    app = App("memory://")

    @app.task(queue=Queue("payments", priorities=3))
    async def charge() -> None: ...

    @app.task(queue=Queue("payments", timeout=5))
    async def refund() -> None: ...

    with pytest.raises(TopologyError, match=r"queues\.payments: declared twice, with different priorities and timeout"):
        app.topology()


def test_a_queue_mentioned_by_name_is_the_one_described_elsewhere() -> None:
    app = App("memory://")

    @app.task(queue="payments")
    async def charge() -> None: ...

    @app.task(queue=Queue("payments", priorities=3))
    async def refund() -> None: ...

    assert app.topology().queues == (Queue("payments", priorities=3),)
