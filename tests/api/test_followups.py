"""What a handler leaves behind: with the commit, or not at all."""

import asyncio
from typing import Any

import pytest

from brokerkit import App, Context, Exchange, Queue, RetriesExhausted, Retry, TaskFailed, Unroutable
from brokerkit.outcome import Reason
from tests.api.probes import dead_letters, soon

things = Exchange("things", type="topic")
AT_ONCE = Retry.fixed(max_retries=2, delay=0)


class Shop:
    """An app with a queue that receipts go to, which nobody here consumes."""

    def __init__(self, url: str) -> None:
        self.app = App(url)
        self.receipts = Queue("receipts", bindings=[things.bind("receipt")])
        self.app.declare(self.receipts)

        @self.app.task(queue="receipts")
        async def receipt(order_id: str) -> None: ...

        self.receipt = receipt

    def working(self) -> Any:
        return self.app.worker(queues=("default",))

    async def waiting(self) -> int | None:
        return (await self.app.queue_stats("receipts")).ready


async def test_a_follow_up_leaves_when_the_handler_returns(url: str) -> None:
    shop = Shop(url)

    @shop.app.task
    async def charge(ctx: Context) -> list[str]:
        return [
            await ctx.send(shop.receipt.message("o-1")),
            await ctx.publish({"order_id": "o-1"}, exchange=things, routing_key="receipt"),
        ]

    async with shop.app, shop.working():
        handle = await charge.send()
        task_id, event_id = await handle.result()
        assert await shop.waiting() == 2
        record = await shop.app.record(task_id)
    assert record is not None
    assert (record.name, record.parent, record.root) == ("receipt", handle.id, handle.id)
    assert event_id not in {task_id, handle.id}


async def test_a_follow_up_does_not_leave_while_the_handler_runs(url: str) -> None:
    shop = Shop(url)
    sent, let_go = asyncio.Event(), asyncio.Event()

    @shop.app.task
    async def charge(ctx: Context) -> None:
        await ctx.send(shop.receipt.message("o-1"))
        sent.set()
        await let_go.wait()

    async with shop.app, shop.working():
        handle = await charge.send()
        await soon(sent.wait())
        assert await shop.waiting() == 0
        let_go.set()
        await handle.result()
        assert await shop.waiting() == 1


@pytest.mark.parametrize("sync", [False, True])
async def test_nothing_leaves_when_the_handler_raises_after_sending(url: str, sync: bool) -> None:
    shop = Shop(url)

    async def charge(ctx: Context) -> None:
        await ctx.send(shop.receipt.message("o-1"))
        await ctx.publish({"order_id": "o-1"}, exchange=things, routing_key="receipt")
        raise ValueError("after all")

    def charge_sync(ctx: Context) -> None:
        ctx.send_nowait(shop.receipt.message("o-1"))
        ctx.publish_nowait({"order_id": "o-1"}, exchange=things, routing_key="receipt")
        raise ValueError("after all")

    task = shop.app.task(name="charge", retry=AT_ONCE)(charge_sync if sync else charge)
    async with shop.app, shop.working():
        handle = await task.send()
        with pytest.raises(RetriesExhausted, match="ValueError: after all"):
            await handle.result()
        assert await shop.waiting() == 0


async def test_only_the_attempt_that_succeeds_leaves_its_follow_ups(url: str) -> None:
    shop = Shop(url)

    @shop.app.task(retry=AT_ONCE)
    async def charge(ctx: Context) -> str:
        task_id = await ctx.send(shop.receipt.message(f"o-{ctx.attempt}"))
        if ctx.attempt < 3:
            raise ValueError("not yet")
        return task_id

    async with shop.app, shop.working():
        task_id = await (await charge.send()).result()
        assert await shop.waiting() == 1
        assert await shop.app.record(task_id) is not None


async def test_a_send_through_the_app_leaves_at_once_whatever_follows(url: str) -> None:
    shop = Shop(url)

    @shop.app.task(retry=Retry.none())
    async def charge() -> None:
        await shop.receipt.send("o-1")
        raise ValueError("after all")

    async with shop.app, shop.working():
        with pytest.raises(TaskFailed):
            await (await charge.send()).result()
        assert await shop.waiting() == 1


UNROUTABLE = r"a follow-up was not accepted: unroutable \(.*to exchange '\w+', key 'nobody\.listens'"
"""With the others where it cannot be told which of them it was."""


async def test_an_unroutable_follow_up_fails_the_attempt_and_takes_its_siblings_back(url: str) -> None:
    shop = Shop(url)

    @shop.app.task(retry=Retry.fixed(max_retries=1, delay=0))
    async def charge(ctx: Context) -> None:
        await ctx.send(shop.receipt.message("o-1"))
        await ctx.publish({"order_id": "o-1"}, exchange=things, routing_key="nobody.listens")

    async with shop.app, shop.working():
        handle = await charge.send()
        with pytest.raises(RetriesExhausted, match=UNROUTABLE) as caught:
            await handle.result()
        assert caught.value.attempts == 2
        (letter,) = await dead_letters(shop.app, "default")
        assert letter.reason is Reason.FOLLOW_UP_FAILED
        assert await shop.waiting() == 0


async def test_an_immediate_unroutable_publish_is_the_handlers_own_error(url: str) -> None:
    shop = Shop(url)

    @shop.app.task
    async def charge() -> str:
        try:
            await shop.app.publish({}, exchange=things, routing_key="nobody.listens")
        except Unroutable:
            return "noticed"
        return "not noticed"

    async with shop.app, shop.working():
        assert await (await charge.send()).result() == "noticed"


async def test_follow_ups_keep_their_options_and_their_order(url: str) -> None:
    app = App(url)
    seen: asyncio.Queue[str] = asyncio.Queue()

    @app.task
    async def step(ctx: Context, number: int) -> None:
        seen.put_nowait(f"{number} {ctx.headers.get('from')} {ctx.message.correlation_id}")

    @app.task
    async def start(ctx: Context) -> None:
        for number in range(3):
            await ctx.send(step.options(headers={"from": ctx.id}, correlation_id="c").message(number))

    async with app, app.worker(concurrency=1):
        handle = await start.send()
        assert [await soon(seen.get()) for _ in range(3)] == [f"{number} {handle.id} c" for number in range(3)]
