"""Sending without running, and what can be said of what was sent."""

from __future__ import annotations

import asyncio
import threading

import pytest

from brokerkit import Queue, TaskFailed, TaskStatus, Unroutable
from brokerkit.testing import Sent, dummy
from tests.testing import shop
from tests.testing.shop import OrderPlaced, charge, orders, receipt, seen


async def test_what_is_sent_is_accepted_and_nothing_runs() -> None:
    async with dummy(shop.app) as sent, shop.app.worker():
        handle = await receipt.send("o-1")
        await shop.place("o-2")
        assert await handle.status() is TaskStatus.PENDING
        assert (await shop.app.queue_stats("default")).ready == 1
        with pytest.raises(TaskFailed, match=r"NothingRuns: dummy\(app\) runs nothing.*immediate\(app\) does"):
            await handle.result()
        with pytest.raises(Unroutable):
            await shop.app.publish("x", exchange=orders, routing_key="refund")
    assert seen == []
    assert [str(task) for task in sent.tasks()] == [
        "receipt(order_id='o-1') to default",
        "charge(order_id='o-2', amount=9.9) to payments, delayed by 60 s",
    ]
    (event,) = sent.events()
    assert str(event) == "OrderPlaced {'order_id': 'o-2', 'amount': 9.9} to orders, key 'order.eu.placed'"
    assert event.decoded(OrderPlaced) == OrderPlaced("o-2", 9.9)


async def test_what_was_sent_can_be_asserted_in_part_and_looked_at() -> None:
    async with dummy(shop.app) as sent:
        sent.assert_nothing_sent()
        await shop.place("o-1")
        task = sent.assert_sent(charge, order_id="o-1")
        assert (task.queue, task.delay, task.message.priority) == ("payments", 60, 7)
        sent.assert_sent("charge", amount=9.9)
        await charge.send("o-3")
        assert sent.assert_sent(charge, order_id="o-3", amount=1.0).arguments == {"order_id": "o-3", "amount": 1.0}
        sent.assert_not_sent(charge, order_id="o-2")
        sent.assert_not_sent(receipt)
        event = sent.assert_published(orders)
        assert event is not sent.assert_published("orders", OrderPlaced("o-1", 9.9), routing_key="order.eu.placed")
        assert event.payload == {"order_id": "o-1", "amount": 9.9}
        assert sent.events("elsewhere") == []
        assert repr(sent).startswith("Sent(charge(order_id='o-1', amount=9.9) to payments")


def failure(sent: Sent, call: str) -> str:
    with pytest.raises(AssertionError) as caught:
        eval(call, {"sent": sent, "charge": charge, "receipt": receipt, "orders": orders})
    return str(caught.value)


async def test_a_failure_shows_what_was_sent_instead() -> None:
    async with dummy(shop.app) as sent:
        assert failure(sent, "sent.assert_sent(receipt)") == "receipt() was not sent, nor was anything else"
        assert failure(sent, "sent.assert_published(orders)") == (
            "an event was not published to orders, nor was anything else"
        )
        await shop.place("o-1")
        assert failure(sent, "sent.assert_sent(charge, order_id='o-2')") == (
            "charge(order_id='o-2') was not sent; these were:\n"
            "  charge(order_id='o-1', amount=9.9) to payments, delayed by 60 s"
        )
        assert failure(sent, "sent.assert_sent(receipt, order_id='o-1')") == (
            "receipt(order_id='o-1') was not sent, but something else:\n"
            "  charge(order_id='o-1', amount=9.9) to payments, delayed by 60 s\n"
            "  OrderPlaced {'order_id': 'o-1', 'amount': 9.9} to orders, key 'order.eu.placed'"
        )
        assert failure(sent, "sent.assert_not_sent(charge)").startswith("charge() was sent:\n  charge(order_id='o-1'")
        assert failure(sent, "sent.assert_nothing_sent()").startswith("something was sent:\n  charge(")
        assert failure(sent, "sent.assert_published(orders, {'a': 1}, routing_key='order.us')") == (
            "{'a': 1} was not published to orders with key 'order.us'; these were:\n"
            "  OrderPlaced {'order_id': 'o-1', 'amount': 9.9} to orders, key 'order.eu.placed'"
        )
        for number in range(30):
            await receipt.send(str(number))
        assert failure(sent, "sent.assert_sent(receipt, order_id='x')").endswith("to default\n  and 10 more")


async def test_a_parameter_that_the_task_does_not_have_is_a_mistake_of_the_test() -> None:
    async with dummy(shop.app) as sent:
        for check in (sent.assert_sent, sent.assert_not_sent):
            with pytest.raises(TypeError, match="charge has no parameter bank, ordr; it has order_id, amount"):
                check(charge, ordr="o-1", bank=None)


async def test_arguments_are_compared_as_values_and_as_they_travel() -> None:
    app_task = shop.app.tasks["receipt"]
    async with dummy(shop.app) as sent:
        await shop.app.send("theirs", {"point": (1, 2), "order": OrderPlaced("o-1", 1)}, queue=Queue("theirs"))
        sent.assert_sent("theirs", point=(1, 2), order=OrderPlaced("o-1", 1))
        sent.assert_sent("theirs", point=[1, 2])
        sent.assert_not_sent("theirs", point=object())
        sent.assert_not_sent("theirs", point=[1, 2], missing=None)
        assert sent.tasks(app_task) == []


def test_a_program_with_an_event_loop_in_another_thread_opens_the_app_there() -> None:
    async def program() -> None:
        async with shop.app:
            await receipt.send("o-1")

    with dummy(shop.app) as sent:
        thread = threading.Thread(target=lambda: asyncio.run(program()))
        thread.start()
        thread.join()
        sent.assert_sent(receipt, order_id="o-1")
