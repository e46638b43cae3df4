"""Sending: by function, by name, many at once, with options."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from brokerkit import App, Context, EncodeError, Handle, Queue, QueueFull, TaskFailed, TaskStatus, Unroutable
from brokerkit.outcome import Reason
from tests.api.probes import dead_letters


class Seen(msgspec.Struct):
    """What a handler is told of its message."""

    id: str
    priority: int
    headers: dict[str, Any]
    correlation_id: str | None
    timeout: float | None


def echo(app: App) -> Any:
    @app.task
    async def tell(ctx: Context) -> Seen:
        message = ctx.message
        return Seen(message.id, message.priority, dict(ctx.headers), message.correlation_id, message.timeout)

    return tell


async def test_options_travel_with_the_message(url: str) -> None:
    app = App(url)
    tell = echo(app)
    headers = {"text": "ü", "whole": 1, "real": 1.5, "flag": True}
    async with app, app.worker():
        handle = await tell.options(
            priority="critical", headers=headers, correlation_id="c-1", timeout=timedelta(seconds=9), id="mine"
        ).send()
        assert handle.id == "mine"
        assert await handle.result() == Seen("mine", 9, headers, "c-1", 9.0)


@pytest.mark.parametrize("by", ["delay", "timedelta", "at"])
async def test_a_delayed_task_does_not_start_before_its_time(url: str, by: str) -> None:
    app = App(url)

    @app.task
    async def late(ctx: Context) -> float:
        assert ctx.message.due is not None
        return ctx.started - ctx.message.due

    spans: dict[str, dict[str, Any]] = {
        "delay": {"delay": 0.05},
        "timedelta": {"delay": timedelta(milliseconds=50)},
        "at": {"at": datetime.now(UTC) + timedelta(milliseconds=50)},
    }
    async with app, app.worker():
        handle = await late.options(**spans[by]).send()
        assert await handle.status() is TaskStatus.PENDING
        assert await handle.result() >= 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"delay": 1, "at": datetime.now(UTC)}, "delay= or at=, not both"),
        ({"at": datetime(2024, 1, 1)}, "no time zone"),  # noqa: DTZ001 - that is what is refused
        ({"expires": datetime(2024, 1, 1)}, "no time zone"),  # noqa: DTZ001
        ({"at": 1_800_000_000}, "give a datetime with a zone"),
        ({"delay": -1}, "delay=-1"),
        ({"timeout": float("nan")}, "timeout=nan"),
        ({"expires": float("inf")}, "expires=inf"),
        ({"id": ""}, "1 to 255 bytes"),
        ({"id": "x" * 256}, "1 to 255 bytes"),
        ({"priority": "urgent"}, "priority takes"),
        ({"priority": -1}, "priority takes"),
        ({"dely": 1}, "dely"),
    ],
)
async def test_an_option_that_makes_no_sense_is_refused_before_anything_is_sent(
    url: str, options: dict[str, Any], words: str
) -> None:
    app = App(url)
    tell = echo(app)
    async with app:
        with pytest.raises((ValueError, TypeError), match=words):
            await tell.options(**options).send()
        assert (await app.queue_stats("default")).ready == 0


@pytest.mark.parametrize(
    ("headers", "words"),
    [
        ({"bk-id": "x"}, "brokerkit's own"),
        ({"a": [1]}, "values are strings, numbers or booleans"),
        ({"a": None}, "values are strings, numbers or booleans"),
        ({1: "a"}, "names are strings"),
        ({"a": "x\r\ny"}, "control character"),
        ({"a\n": "x"}, "control character"),
        ({"a": "x" * 17_000}, "over the limit of 16384"),
        ({"a": "\ud800"}, "a"),
    ],
)
async def test_a_header_that_cannot_travel_is_refused_before_anything_is_sent(
    url: str, headers: dict[str, Any], words: str
) -> None:
    app = App(url)
    tell = echo(app)
    async with app:
        with pytest.raises(EncodeError, match=words):
            await tell.options(headers=headers).send()
        assert (await app.queue_stats("default")).ready == 0


async def test_a_task_is_sent_by_name_to_code_one_does_not_have(url: str) -> None:
    app = App(url)

    @app.task(name="shop.charge", queue="payments")
    async def charge(order_id: str, amount: float = 1.0) -> str:
        return f"{order_id} {amount}"

    async with app, app.worker():
        handle: Handle[Any] = await app.send("shop.charge", {"order_id": "o-1", "amount": 2.0}, queue="payments")
        assert await handle.result() == "o-1 2.0"
        handle = await app.send("shop.charge", {"order_id": "o-2"}, queue=Queue("payments"), priority="low", id="mine")
        assert (handle.id, await handle.result()) == ("mine", "o-2 1.0")
        with pytest.raises(Unroutable, match="queue 'nowhere'"):
            await app.send("shop.charge", {}, queue="nowhere")


async def test_names_that_the_receiver_does_not_know_are_ignored(url: str) -> None:
    app = App(url)

    @app.task
    async def charge(order_id: str) -> str:
        return order_id

    async with app, app.worker():
        newer = {"order_id": "o-1", "added_in_a_later_version": True}
        assert await (await app.send("charge", newer, queue="default")).result() == "o-1"


async def test_a_name_nobody_takes_is_dead_lettered_with_a_record(url: str) -> None:
    app = App(url)
    echo(app)
    async with app, app.worker():
        handle = await app.send("charge", {}, queue="default")
        with pytest.raises(TaskFailed, match="'charge'; this worker knows: tell"):
            await handle.result()
        (letter,) = await dead_letters(app, "default")
        assert await handle.status() is TaskStatus.FAILURE
    assert letter.reason is Reason.UNKNOWN_TASK


async def test_many_calls_of_different_tasks_are_sent_in_batches(url: str) -> None:
    app = App(url)

    @app.task
    async def double(number: int) -> int:
        return 2 * number

    @app.task(queue="words")
    async def shout(word: str) -> str:
        return word.upper()

    async with app, app.worker():
        handles = await app.send_many([double.message(21), shout.message("a"), double.message(1)], batch=2)
        assert [await handle.result() for handle in handles] == [42, "A", 2]
        assert await app.send_many([]) == []


async def test_a_call_is_a_value_that_can_be_sent_again(url: str) -> None:
    app = App(url)

    @app.task
    async def double(number: int) -> int:
        return 2 * number

    call = double.message(4)
    async with app, app.worker():
        first, second = await app.send(call), await app.send(call)
        assert first.id != second.id
        assert [await first.result(), await second.result()] == [8, 8]


async def test_a_full_queue_refuses_and_leaves_no_record(url: str) -> None:
    app = App(url)

    @app.task(queue=Queue("small", max_length=1))
    async def charge() -> None: ...

    async with app:
        await charge.send()
        with pytest.raises(QueueFull, match="max_length") as caught:
            await charge.options(id="mine").send()
        assert list(caught.value.failed) == ["mine"]
        assert await app.status("mine") is None


async def test_concurrent_senders_get_their_own_results(url: str) -> None:
    app = App(url)

    @app.task
    async def double(number: int) -> int:
        return 2 * number

    async def one(number: int) -> int:
        return await (await double.send(number)).result()

    async with app, app.worker():
        assert await asyncio.gather(*(one(n) for n in range(50))) == [2 * n for n in range(50)]
