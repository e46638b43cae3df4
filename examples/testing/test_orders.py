"""How tasks are tested without a broker. Run me with pytest and pytest-asyncio: pytest"""

from collections.abc import Callable

from orders import Bank, app, charge, events, on_placed, place, remind

from brokerkit import App, TaskStatus
from brokerkit.testing import Sent, VirtualClock, context, dummy, immediate, override


class FakeBank(Bank):
    def __init__(self, failures: int = 0) -> None:
        self.failures = failures

    async def charge(self, order_id: str, amount: float) -> str:
        self.failures -= 1
        if self.failures >= 0:
            raise ConnectionError("the bank is closed")
        return f"{order_id} charged {amount:.2f}"


async def test_the_function_alone() -> None:
    assert await charge("o-1", 9.9, bank=FakeBank()) == "o-1 charged 9.90"


async def test_a_handler_that_leaves_a_follow_up() -> None:
    ctx = context()
    await on_placed(ctx, {"order_id": "o-1"})
    assert Sent(ctx.followups or []).assert_sent(remind, order_id="o-1").delay == 86400


async def test_what_the_code_sends() -> None:
    async with dummy(app) as sent:  # nothing runs
        await place("o-1", 9.9)
    assert sent.assert_sent(charge, order_id="o-1").message.priority == 7
    sent.assert_published(events, {"order_id": "o-1"}, routing_key="order.placed")
    sent.assert_not_sent(remind)


async def test_all_of_it() -> None:
    with override(app, Bank, FakeBank):
        async with immediate(app) as sent:  # send and publish return when everything has run
            await place("o-1", 9.9)
            assert await (await charge.send("o-2", 5.0)).result() == "o-2 charged 5.00"
    sent.assert_sent(remind, order_id="o-1")


async def test_the_retries(brokerkit_app: Callable[..., App], brokerkit_clock: VirtualClock) -> None:
    bank = FakeBank(failures=1)
    with override(app, Bank, lambda: bank):
        async with brokerkit_app(app, clock=brokerkit_clock), app.worker():
            handle = await charge.send("o-1", 9.9)
            await brokerkit_clock.advance(1)
            assert await handle.status() is TaskStatus.RETRY
            await brokerkit_clock.advance(60)  # no time at all
            assert await handle.result() == "o-1 charged 9.90"
