"""Dead letters: looked at, sent back, deleted."""

import pytest

from brokerkit import App, Context, Exchange, Log, Queue, Retry, Settings, TaskFailed, TaskStatus, TopologyError
from brokerkit.outcome import Reason
from tests.api.probes import dead_letters, until


class Shop:
    """An app whose task fails until the bank is open."""

    def __init__(self, url: str) -> None:
        self.app = App(url, settings=Settings(retry=Retry.fixed(1, 0)))
        self.open = False
        self.seen: list[tuple[int, int]] = []

        @self.app.task(queue=Queue("payments"))
        async def charge(ctx: Context, order_id: str) -> str:
            self.seen.append((ctx.run, ctx.attempt))
            if not self.open:
                raise ConnectionError("the bank is closed")
            return order_id

        self.charge = charge

    async def fail(self, *orders: str) -> list[str]:
        """Send orders and wait until each has failed; returns their ids."""
        handles = await self.app.send_many([self.charge.message(order) for order in orders])
        for handle in handles:
            with pytest.raises(TaskFailed):
                await handle.result()
        return [handle.id for handle in handles]


async def test_a_dead_letter_tells_what_where_why_and_when(url: str) -> None:
    shop = Shop(url)
    async with shop.app, shop.app.worker():
        (task_id,) = await shop.fail("o-1")
        (letter,) = await dead_letters(shop.app, "payments")
        assert await shop.app.dead_letters(Queue("payments")) == [letter]
        record = await shop.app.record(task_id)
    assert letter.message.id == task_id
    assert (letter.message.name, letter.source, letter.reason) == ("charge", "payments", Reason.FAILED)
    assert (letter.error, letter.message.attempt) == ("ConnectionError: the bank is closed", 2)
    assert record is not None
    assert record.created < letter.died


async def test_dead_letters_are_listed_oldest_first_up_to_the_limit(url: str) -> None:
    shop = Shop(url)
    async with shop.app, shop.app.worker(concurrency=1):
        ids = [(await shop.fail(f"o-{number}"))[0] for number in range(4)]
        assert [letter.message.id for letter in await dead_letters(shop.app, "payments", 4)] == ids
        assert [letter.message.id for letter in await shop.app.dead_letters("payments", limit=2)] == ids[:2]
        assert (await shop.app.queue_stats("payments")).dead == 4


async def test_a_redrive_is_a_new_run_at_attempt_1(url: str) -> None:
    shop = Shop(url)
    async with shop.app, shop.app.worker():
        (task_id,) = await shop.fail("o-1")
        await dead_letters(shop.app, "payments")
        shop.open = True
        assert await shop.app.redrive("payments") == 1

        async def succeeded() -> bool:
            return await shop.app.status(task_id) is TaskStatus.SUCCESS

        await until(succeeded)
        record = await shop.app.record(task_id)
        assert await shop.app.dead_letters("payments") == []
    assert shop.seen == [(1, 1), (1, 2), (2, 1)]
    assert record is not None
    assert (record.run, record.attempt, record.error) == (2, 1, None)


async def test_a_redriven_task_may_fail_and_be_redriven_again(url: str) -> None:
    shop = Shop(url)
    async with shop.app, shop.app.worker():
        await shop.fail("o-1")
        for run in (2, 3):
            await dead_letters(shop.app, "payments")
            assert await shop.app.redrive("payments", ids=None) == 1
            (letter,) = await dead_letters(shop.app, "payments")
            assert (letter.message.run, letter.message.attempt) == (run, 2)


async def test_only_the_given_ids_are_redriven(url: str) -> None:
    shop = Shop(url)
    async with shop.app:
        async with shop.app.worker():
            first, second, third = await shop.fail("o-1", "o-2", "o-3")
            await dead_letters(shop.app, "payments", 3)
        assert await shop.app.redrive("payments", [first, third, "nobody"]) == 2
        assert [letter.message.id for letter in await shop.app.dead_letters("payments")] == [second]
        assert await shop.app.redrive("payments", []) == 0
        stats = await shop.app.queue_stats("payments")
    assert (stats.ready, stats.dead) == (2, 1)


async def test_dead_letters_can_be_deleted(url: str) -> None:
    shop = Shop(url)
    async with shop.app, shop.app.worker():
        first, second = await shop.fail("o-1", "o-2")
        await dead_letters(shop.app, "payments", 2)
        assert await shop.app.purge("payments", [first]) == 1
        assert [letter.message.id for letter in await shop.app.dead_letters("payments")] == [second]
        assert await shop.app.purge("payments") == 1
        assert await shop.app.redrive("payments") == 0


async def test_a_group_has_dead_letters_of_its_own(url: str) -> None:
    app = App(url, settings=Settings(retry=Retry.none()))
    events = Exchange("events", type="fanout")
    history = Log("history", bindings=[events.bind()])
    closed = True
    seen: list[str] = []

    @app.subscribe(history, group="fraud")
    async def fraud(ctx: Context) -> None:
        if closed:
            raise ValueError("closed")
        seen.append(ctx.source)

    @app.subscribe(history, group="mail")
    async def mail(ctx: Context) -> None:
        seen.append(ctx.source)

    async def after(count: int) -> None:
        async def enough() -> bool:
            return len(seen) >= count

        await until(enough)

    async with app, app.worker():
        await app.publish({"order_id": "o-1"}, exchange=events)
        (letter,) = await dead_letters(app, "history@fraud")
        await after(1)
        assert letter.source == "history@fraud"
        assert await app.dead_letters("history@mail") == []
        closed = False
        assert await app.redrive("history@fraud") == 1
        await after(2)
    assert seen == ["history@mail", "history@fraud"]


async def test_the_dead_letters_of_a_queue_nobody_declared_are_an_error(url: str) -> None:
    async with App(url) as app:
        for ask in (app.dead_letters, app.redrive, app.purge, app.queue_stats):
            with pytest.raises(TopologyError, match="nowhere"):
                await ask("nowhere")
