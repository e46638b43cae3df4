"""Tasks that run inside ``send``."""

from __future__ import annotations

import asyncio

import pytest

from brokerkit import (
    App,
    ConfigurationError,
    Context,
    EncodeError,
    Queue,
    RetriesExhausted,
    Retry,
    Settings,
    TaskStatus,
    TaskTimedOut,
    Unroutable,
)
from brokerkit.testing import immediate, override
from tests.testing import shop
from tests.testing.shop import seen


class FakeBank(shop.Bank):
    def charge(self, order_id: str) -> str:
        return f"charged {order_id}"


async def test_send_returns_when_the_task_has_run() -> None:
    with override(shop.app, shop.bank, FakeBank):
        async with immediate(shop.app):
            handle = await shop.charge.send("o-1")
            assert await handle.status() is TaskStatus.SUCCESS
            assert await handle.result() == "charged o-1"
            assert await (await shop.sync.send(4)).result() == 8


async def test_retries_take_no_time_and_follow_ups_have_run_too() -> None:
    async with immediate(shop.app) as sent:
        handle = await shop.flaky.send(3)
        assert seen == ["attempt 1", "attempt 2", "attempt 3", "receipt of attempt 3"]
        assert await handle.result() == 3
        sent.assert_sent(shop.receipt, order_id="of attempt 3")


async def test_a_task_that_fails_raises_from_its_result_and_lies_among_the_dead_letters() -> None:
    async with immediate(shop.app):
        handle = await shop.flaky.send(9)
        assert seen == [f"attempt {number}" for number in (1, 2, 3, 4)]
        with pytest.raises(RetriesExhausted, match="ConnectionError: not yet") as caught:
            await handle.result()
        assert caught.value.attempts == 4
        (letter,) = await shop.app.dead_letters("default")
        assert letter.message.id == handle.id


async def test_publish_returns_when_subscribers_and_their_follow_ups_have_run() -> None:
    async with immediate(shop.app):
        await shop.app.publish(shop.OrderPlaced("o-1", 1), exchange=shop.orders, routing_key="order.eu.placed")
        assert sorted(seen) == ["packing o-1", "receipt o-1"]


async def test_a_delay_takes_no_time_and_is_remembered() -> None:
    async with immediate(shop.app) as sent:
        await shop.receipt.options(delay=3600).send("o-1")
        assert seen == ["receipt o-1"]
        assert sent.assert_sent(shop.receipt).delay == 3600


async def test_a_task_that_leaves_no_result_has_run_as_well() -> None:
    async with immediate(shop.app):
        await shop.silent.send()
        assert seen == ["silent"]


async def test_many_tasks_and_tasks_that_send_and_wait_for_tasks() -> None:
    async with immediate(shop.app):
        handles = await shop.app.send_many([shop.receipt.message(str(number)) for number in range(600)])
        assert len(seen) == 600
        assert await handles[-1].result() == "599"
        assert await (await shop.countdown.send(50)).result() == 50


async def test_a_task_that_puts_itself_off_for_ever_ends_with_an_error() -> None:
    async with immediate(shop.app):
        with pytest.raises(RuntimeError, match='never has said "not now" 1000 times'):
            await shop.never.send()
        await shop.receipt.send("o-1")
        assert seen == ["receipt o-1"]


async def test_timeouts_are_real() -> None:
    app = App("memory://", settings=Settings(retry=Retry.none()))

    @app.task(timeout=0.02)
    async def slow() -> None:
        await asyncio.Event().wait()

    async with immediate(app):
        handle = await slow.send()
        with pytest.raises(TaskTimedOut):
            await handle.result()


async def test_what_is_refused_elsewhere_is_refused_here() -> None:
    async with immediate(shop.app):
        with pytest.raises(EncodeError, match="Expected `str`"):
            await shop.receipt.send(3)  # type: ignore[arg-type]
        with pytest.raises(Unroutable):
            await shop.app.publish("x", exchange=shop.orders, routing_key="refund")


async def test_a_queue_that_this_app_does_not_work_on_is_not_waited_for() -> None:
    async with immediate(shop.app) as sent:
        await shop.app.send("theirs", {"a": 1}, queue=Queue("theirs"))
        assert sent.assert_sent("theirs").arguments == {"a": 1}


async def test_an_app_without_records_works_as_well() -> None:
    app = App("amqp://broker.invalid/", store=None)

    @app.task
    async def receipt(order_id: str) -> None:
        seen.append(order_id)

    @app.task
    async def charge(ctx: Context, order_id: str) -> str:
        await ctx.send(receipt.message(order_id))
        return order_id

    async with immediate(app):
        assert await (await charge.send("o-1")).result() == "o-1"
        assert seen == ["o-1"]


async def test_the_program_may_open_the_app_itself() -> None:
    with immediate(shop.app) as sent:
        for _ in range(2):
            async with shop.app:
                await shop.receipt.send("o-1")
        assert seen == ["receipt o-1", "receipt o-1"]
        assert len(sent.tasks(shop.receipt)) == 2


async def test_the_apps_own_broker_is_back_afterwards_however_the_test_ends() -> None:
    app = App("memory://")
    before = (app._backing.transport, app.clock)
    with pytest.raises(ConfigurationError, match="no tasks and no subscribers"):
        async with immediate(app):
            pass
    with pytest.raises(KeyError), immediate(app):
        raise KeyError
    assert (app._backing.transport, app.clock) == before


async def test_an_app_that_is_open_keeps_its_broker() -> None:
    app = App("memory://")
    async with app:
        with pytest.raises(ConfigurationError, match="replace its broker before it is opened"), immediate(app):
            pass
