"""Handlers of every name that matches a pattern: for messages without a task, with records and replies as for tasks."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from brokerkit import (
    App,
    ConfigurationError,
    Context,
    DuplicateTask,
    Exchange,
    Queue,
    RetriesExhausted,
    Retry,
    Settings,
    TaskFailed,
    Tasks,
    TaskStatus,
    TaskTimedOut,
)
from brokerkit.outcome import Reason
from tests.api.probes import dead_letters, soon

jobs = Queue("jobs")


class Backup(msgspec.Struct):
    target: str
    full: bool = False


async def test_a_name_without_a_task_goes_to_the_most_specific_pattern(url: str) -> None:
    app = App(url)

    @app.task(queue=jobs)
    async def DatabaseVacuum() -> str:  # noqa: N802
        return "the task"

    @app.handler("*", queue=jobs)
    async def anything(ctx: Context, arguments: dict[str, Any]) -> str:
        return f"anything: {ctx.name} {arguments}"

    @app.handler("Database*", queue=jobs)
    async def database(ctx: Context, arguments: dict[str, Any]) -> str:
        return f"database: {ctx.name} {arguments}"

    @app.handler("Database*Full", queue=jobs)
    def full(arguments: dict[str, Any]) -> str:
        return f"full: {arguments}"

    async with app, app.worker():
        answers = [
            await (await app.send(name, {"a": 1} if name != "DatabaseVacuum" else {}, queue="jobs")).result()
            for name in ("DatabaseVacuum", "DatabaseCopy", "DatabaseBackupFull", "Mail")
        ]
    assert answers == [
        "the task",
        "database: DatabaseCopy {'a': 1}",
        "full: {'a': 1}",
        "anything: Mail {'a': 1}",
    ]


async def test_its_run_is_recorded_under_the_name_of_the_message(url: str) -> None:
    app = App(url)

    @app.handler("Database*", queue=jobs, retry=Retry.fixed(max_retries=1, delay=0), record="full")
    async def database(ctx: Context) -> int:
        if ctx.name == "DatabaseDrop":
            raise PermissionError("not yours")
        return ctx.attempt

    async with app, app.worker():
        fine = await app.send("DatabaseCopy", queue="jobs")
        assert await fine.result() == 1
        record = await fine.record()
        assert record is not None
        assert (record.name, record.queue, record.status) == ("DatabaseCopy", "jobs", TaskStatus.SUCCESS)
        bad = await app.send("DatabaseDrop", queue="jobs")
        with pytest.raises(RetriesExhausted, match="not yours") as caught:
            await bad.result()
        assert caught.value.attempts == 2
        (letter,) = await dead_letters(app, "jobs")
    assert (letter.message.name, letter.reason) == ("DatabaseDrop", Reason.FAILED)


async def test_its_parameter_says_what_the_arguments_become(url: str) -> None:
    app = App(url)

    @app.handler("Backup*", queue=jobs)
    async def backup(order: Backup) -> str:
        return f"{order.target} {order.full}"

    @app.handler("Raw*", queue=jobs)
    async def raw(body: bytes) -> int:
        return len(body)

    @app.handler("Empty*", queue=jobs)
    async def empty() -> str:
        return "nothing"

    async with app, app.worker():
        assert await (await app.send("BackupNow", {"target": "eu", "full": True}, queue="jobs")).result() == "eu True"
        assert await (await app.send("Raw.1", {"a": 1}, queue="jobs")).result() == 4
        assert await (await app.send("Empty.1", {"a": 1}, queue="jobs")).result() == "nothing"
        with pytest.raises(TaskFailed, match=r"does not fit: .*target"):
            await (await app.send("BackupNow", {"goal": "eu"}, queue="jobs")).result()


async def test_it_has_a_timeout_and_the_apps_retry_policy(url: str) -> None:
    app = App(url, settings=Settings(retry=Retry.none()))

    @app.handler("Slow*", timeout=0.02)
    async def slow() -> None:
        await asyncio.Event().wait()

    async with app, app.worker():
        with pytest.raises(TaskTimedOut):
            await (await app.send("Slow.1", queue="default")).result()


async def test_it_takes_events_that_match_and_leaves_others_to_a_subscriber(url: str) -> None:
    app, seen = App(url), asyncio.Queue[str]()
    happened = Exchange("happened", type="fanout")
    everything = Queue("everything", bindings=[happened.bind()])

    @app.subscribe(everything)
    async def rest(ctx: Context) -> None:
        seen.put_nowait(f"rest: {ctx.name}")

    @app.handler("Back*", queue=everything)
    async def backups(ctx: Context, event: Backup) -> None:
        seen.put_nowait(f"handler: {ctx.name} {event.target}")

    async with app, app.worker():
        await app.publish(Backup("eu"), exchange=happened)
        assert await soon(seen.get()) == "handler: Backup eu"
        await app.publish({"a": 1}, exchange=happened)
        assert await soon(seen.get()) == "rest: "


async def test_what_no_pattern_matches_is_dead_lettered_and_the_patterns_are_named(url: str) -> None:
    app = App(url)

    @app.handler("Database*", queue=jobs)
    async def database() -> None: ...

    async with app, app.worker():
        await app.send("Mail", queue="jobs")
        (letter,) = await dead_letters(app, "jobs")
    assert letter.reason is Reason.UNKNOWN_TASK
    assert "no task or subscriber here takes 'Mail'; this worker knows: Database*" in letter.error


def test_two_patterns_that_fight_over_a_name_are_refused_where_the_second_is_declared() -> None:
    tasks, app = Tasks(), App("memory://")

    def first() -> None: ...
    def second() -> None: ...

    tasks.handler("a*c", queue="jobs")(first)
    tasks.handler("a*c", queue="elsewhere")(second)
    tasks.handler("a*x", queue="jobs")(second)
    with pytest.raises(
        DuplicateTask, match=r"first takes 'a\*c' and .*second takes 'a\*c' of queue 'jobs': some names"
    ):
        tasks.handler("a*c", queue="jobs")(second)
    app.include(tasks)
    app.include(tasks)
    assert len(app.handlers) == 3


async def test_a_subscriber_that_would_get_nothing_is_refused_when_the_worker_starts() -> None:
    app = App("memory://")

    @app.handler("*", queue=jobs)
    async def anything() -> None: ...

    @app.subscribe("jobs")
    async def everything() -> None: ...

    async with app:
        with pytest.raises(ConfigurationError, match=r"anything takes every name, so .*everything gets nothing"):
            async with app.worker():
                pass


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"priority": 3}, r"handler\(\) takes no priority"),
        ({"timeout": 0}, "timeout=0"),
        ({"record": "all"}, "record='all'"),
    ],
)
def test_an_option_that_makes_no_sense_is_refused(options: dict[str, Any], words: str) -> None:
    def anything() -> None: ...

    with pytest.raises(ConfigurationError, match=words):
        App("memory://").handler("*", **options)(anything)


def test_a_handler_takes_all_arguments_as_one() -> None:
    def two(first: int, second: int) -> None: ...

    with pytest.raises(ConfigurationError, match="takes the event as one parameter, not 2"):
        App("memory://").handler("*")(two)


async def test_a_queue_that_only_a_handler_mentions_is_declared_and_can_be_chosen(url: str) -> None:
    app = App(url)

    @app.handler("*", queue=Queue("jobs", max_length=7))
    async def anything() -> str:
        return "done"

    assert Queue("jobs", max_length=7) in app.topology().queues
    async with app, app.worker(queues=("jobs",)):
        assert await (await app.send("any", queue="jobs")).result() == "done"
