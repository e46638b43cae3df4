"""Dead letters that RabbitMQ itself has written, and those of others, as an operator sees them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from pamqp.commands import Basic

from brokerkit import App, Queue, Topology
from brokerkit.outcome import Reason
from brokerkit.transports.rabbitmq.plan import Named
from tests.conformance.rabbitmq_harness import rabbit
from tests.rabbitmq.plain import EDITIONS, Plain, eventually, plain, publish

pytestmark = [pytest.mark.broker, pytest.mark.parametrize("edition", EDITIONS)]


@asynccontextmanager
async def place(edition: str) -> AsyncIterator[tuple[App, Plain, str]]:
    """An app with a queue, and a plain client beside it."""
    async with rabbit(edition) as harness, plain(harness.url) as beside:
        queue = harness.name("orders")
        app = App(harness.connect(), store=None, topology=Topology("orders", queues=[Queue(queue)]))
        async with app:
            yield app, beside, queue


async def test_what_the_broker_gave_up_has_its_reason_as_error(edition: str) -> None:
    async with place(edition) as (app, beside, queue):
        channel = await beside.connection.channel()
        quick = Basic.Properties(message_id="late", expiration="1", message_type="charge")
        await channel.basic_publish(b"{}", routing_key=queue, properties=quick)
        await eventually(lambda: _are(app, queue, 1))
        for name in ("r-1", "r-2"):
            await channel.basic_publish(b"{}", routing_key=queue, properties=Basic.Properties(message_id=name))
            taken = await channel.basic_get(queue)
            assert taken.delivery_tag is not None
            await channel.basic_reject(taken.delivery_tag, requeue=False)
        await eventually(lambda: _are(app, queue, 3))
        found = await app.dead_letters(queue)
        groups = (await app.dead_letter_groups(queue)).groups
        assert [letter.message.id for letter in await app.dead_letters(queue, error="rejected")] == ["r-1", "r-2"]
    assert [(letter.message.id, letter.reason) for letter in found] == [
        ("late", Reason.EXPIRED), ("r-1", Reason.FAILED), ("r-2", Reason.FAILED)
    ]  # fmt: skip
    assert [(group.kind, group.count) for group in groups] == [("rejected", 2), ("expired", 1)]
    assert all(letter.died > 0 for letter in found)


async def test_what_another_queue_was_pointed_to_drop_here_is_seen(edition: str) -> None:
    async with place(edition) as (app, beside, queue):
        name = f"{queue}.theirs"
        beside.sweep_later([Named("queue", name)])
        channel = await beside.connection.channel()
        target = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": f"{queue}.dead"}
        await channel.queue_declare(name, durable=True, arguments={"x-max-length": 1, **target})
        for body in (b"first", b"second"):
            await publish(channel, "", name, body)
        await eventually(lambda: _are(app, queue, 1))
        (letter,) = await app.dead_letters(queue, error="maxlen")
        again = await app.dead_letters(queue, ids=[letter.message.id])
        assert letter.message.body == b"first"
        assert [each.message.id for each in again] == [letter.message.id], "what has no id keeps the one it is given"
        assert await app.purge(queue, [letter.message.id], expect=1) == 1


async def test_what_is_sent_back_is_not_counted_as_delivered_and_has_no_story(edition: str) -> None:
    async with place(edition) as (app, beside, queue):
        channel = await beside.connection.channel()
        await publish(channel, "", f"{queue}.dead", b'{"a": 1}', {"tenant": "7"})
        for _ in range(3):  # each look takes it and gives it back
            assert len(await app.dead_letters(queue)) == 1
        assert await app.redrive(queue, headers={"tenant": "7"}) == 1
        taken = await channel.basic_get(queue, no_ack=True)
    assert taken.body == b'{"a": 1}'
    assert taken.header is not None
    headers = taken.header.properties.headers or {}
    assert headers["tenant"] == "7"
    assert not {name for name in headers if name.startswith("x-") and name != "x-delivery-count"}
    assert headers.get("x-delivery-count", 0) == 0


async def test_a_look_holds_no_more_than_it_may_and_says_so(edition: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("brokerkit.transports.rabbitmq.deadletters.MOST_HELD", 3)
    async with place(edition) as (app, beside, queue):
        channel = await beside.connection.channel()
        for number in range(5):
            await publish(channel, "", f"{queue}.dead", b"%d" % number)
        found = await app.dead_letter_groups(queue)
        assert (found.count, found.complete) == (3, False)
        assert await app.purge(queue) == 5, "what is deleted is held no more"


async def _are(app: App, queue: str, count: int) -> bool:
    return (await app.queue_stats(queue)).dead == count
