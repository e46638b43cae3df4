"""Publishing events to exchanges, and who gets them."""

import asyncio
from typing import Any

import msgspec
import pytest

from brokerkit import App, ConfigurationError, Context, DuplicateTask, Event, Exchange, Group, Log, Queue, Unroutable
from tests.api.probes import soon, until


class Placed(msgspec.Struct):
    order_id: str


class Refunded(msgspec.Struct):
    order_id: str


orders = Exchange("orders", type="topic")
Seen = asyncio.Queue[str]


async def gathered(seen: Seen, count: int) -> list[str]:
    """So many of what handlers saw, sorted; fails when there was more."""
    found = sorted([await soon(seen.get()) for _ in range(count)])
    assert seen.empty()
    return found


async def test_a_topic_exchange_routes_by_words_of_the_key(url: str) -> None:
    app, seen = App(url), Seen()

    @app.subscribe(Queue("eu", bindings=[orders.bind("order.eu.*")]))
    async def one_word(event: Placed) -> None:
        seen.put_nowait(f"eu {event.order_id}")

    @app.subscribe(Queue("all", bindings=[orders.bind("order.#"), orders.bind("#")]))
    async def any_words(ctx: Context, event: Placed) -> None:
        seen.put_nowait(f"all {event.order_id} {ctx.name} {ctx.message.routing_key}")

    async with app, app.worker():
        for order_id, key in [("1", "order.eu.placed"), ("2", "order.eu.placed.late"), ("3", "order.us.placed")]:
            await app.publish(Placed(order_id), exchange=orders, routing_key=key)
        assert await gathered(seen, 4) == [
            "all 1 Placed order.eu.placed",
            "all 2 Placed order.eu.placed.late",
            "all 3 Placed order.us.placed",
            "eu 1",
        ]


@pytest.mark.parametrize(
    ("kind", "expected"), [("direct", ["a", "b"]), ("fanout", ["a", "b", "c"]), ("headers", ["b", "c"])]
)
async def test_each_type_of_exchange_routes_its_way(url: str, kind: str, expected: list[str]) -> None:
    app, seen = App(url), Seen()
    exchange = Exchange("things", type=kind)  # type: ignore[arg-type]
    wanted = [
        Queue("a", bindings=[exchange.bind("x", headers={"colour": "blue"} if kind == "headers" else None)]),
        Queue("b", bindings=[exchange.bind("x", headers={"colour": "red"} if kind == "headers" else None)]),
        Queue("c", bindings=[exchange.bind("y", headers={"colour": None} if kind == "headers" else None)]),
    ]
    for queue in wanted:

        @app.subscribe(queue)
        async def take(ctx: Context, event: Placed) -> None:
            seen.put_nowait(ctx.source)

    async with app, app.worker():
        await app.publish(Placed("1"), exchange=exchange, routing_key="x", headers={"colour": "red"})
        assert await gathered(seen, len(expected)) == expected


async def test_each_group_sees_every_message_once_shared_among_its_members(url: str) -> None:
    app, seen = App(url), Seen()
    history = Log("history", bindings=[orders.bind("order.#")])

    @app.subscribe(history, group="fraud")
    async def fraud(event: Placed) -> None:
        seen.put_nowait(f"fraud {event.order_id}")

    @app.subscribe(history, group="mail")
    async def mail(event: Placed) -> None:
        seen.put_nowait(f"mail {event.order_id}")

    async with app, app.worker(), app.worker():
        for number in range(10):
            await app.publish(Placed(str(number)), exchange=orders, routing_key="order.eu")
        expected = [f"{group} {number}" for group in ("fraud", "mail") for number in range(10)]
        assert await gathered(seen, 20) == expected

        async def empty() -> bool:
            return [(await app.queue_stats(f"history@{g}")).in_flight for g in ("fraud", "mail")] == [0, 0]

        await until(empty)
    assert seen.empty()


async def test_a_new_group_begins_with_the_latest_unless_it_asks_for_the_earliest(url: str) -> None:
    app, seen = App(url), Seen()
    history = Log("history", bindings=[orders.bind("#")], history=True)
    app.declare(history, Group(history, "first"))

    @app.subscribe(history, group="first")
    async def first(event: Placed) -> None:
        seen.put_nowait(f"first {event.order_id}")

    async with app:
        await app.publish(Placed("1"), exchange=orders, routing_key="order")
        late, early = Group(history, "late"), Group(history, "early", start="earliest")
        await app.transport.apply(msgspec.structs.replace(app.topology(), groups=(late, early)))
        ready = [(await app.queue_stats(group.key)).ready for group in (late, early)]
    assert ready == [0, 1]


async def test_a_publish_that_nothing_matches_is_unroutable(url: str) -> None:
    app = App(url)
    app.declare(Queue("eu", bindings=[orders.bind("order.eu")]))
    async with app:
        with pytest.raises(Unroutable, match=r"exchange 'orders', key 'order\.us'.*alternate") as caught:
            await app.publish(Placed("1"), exchange="orders", routing_key="order.us")
        assert len(caught.value.failed) == 1
        with pytest.raises(Unroutable):
            await app.publish(Placed("1"), exchange="no such exchange")


async def test_an_alternate_exchange_takes_what_nothing_matches(url: str) -> None:
    app, seen = App(url), Seen()
    rest = Exchange("rest", type="fanout")
    shop = Exchange("shop", type="topic", alternate=rest)

    @app.subscribe(Queue("rest", bindings=[rest.bind()]))
    async def take(ctx: Context, event: Placed) -> None:
        seen.put_nowait(f"{event.order_id} {ctx.message.exchange}")

    async with app, app.worker():
        await app.publish(Placed("1"), exchange=shop, routing_key="nobody.listens")
        assert await gathered(seen, 1) == ["1 shop"]


async def test_publish_returns_the_id_that_the_subscriber_sees(url: str) -> None:
    app, seen = App(url), Seen()

    @app.subscribe(Queue("all", bindings=[orders.bind("#")]))
    async def take(ctx: Context) -> None:
        seen.put_nowait(f"{ctx.id} {ctx.headers.get('shop')} {ctx.message.correlation_id} {ctx.message.priority}")

    async with app, app.worker():
        given = await app.publish(
            Placed("1"), exchange=orders, headers={"shop": 7}, priority="high", correlation_id="c"
        )
        assert await gathered(seen, 1) == [f"{given} 7 c 7"]
        assert await app.publish(Placed("2"), exchange=orders, id="mine") == "mine"
        assert await gathered(seen, 1) == ["mine None None 5"]


async def test_several_events_are_published_in_one_batch_in_order(url: str) -> None:
    app, seen = App(url), Seen()

    @app.subscribe(Queue("all", bindings=[orders.bind("#")]))
    async def take(ctx: Context, event: Placed) -> None:
        seen.put_nowait(f"{event.order_id} {ctx.id}")

    async with app, app.worker(concurrency=1):
        ids = await app.publish_many([Event(Placed(str(n)), exchange=orders, routing_key="order") for n in range(5)])
        assert [await soon(seen.get()) for _ in range(5)] == [f"{n} {given}" for n, given in enumerate(ids)]
        assert await app.publish_many([]) == []


async def test_the_events_of_a_batch_that_were_refused_are_named(url: str) -> None:
    app = App(url)
    app.declare(Queue("eu", bindings=[orders.bind("eu")]))
    async with app:
        with pytest.raises(Unroutable, match="1 of 2 messages") as caught:
            await app.publish_many(
                [Event(Placed(key), exchange=orders, routing_key=key, id=f"id-{key}") for key in ("eu", "us")]
            )
        assert list(caught.value.failed) == ["id-us"]
        assert (await app.queue_stats("eu")).ready == 1


def test_a_second_subscriber_of_a_queue_or_group_is_an_error() -> None:
    app = App("memory://")
    history = Log("history")

    async def take(event: Placed) -> None: ...

    app.subscribe(history, group="fraud")(take)
    app.subscribe(history, group="mail")(take)
    app.subscribe("eu")(take)
    with pytest.raises(DuplicateTask, match=r"all events of 'eu'; tell them apart by type="):
        app.subscribe(Queue("eu"))(take)
    with pytest.raises(DuplicateTask, match=r"all events of 'history@fraud'"):
        app.subscribe(history, group="fraud")(take)


async def test_types_tell_two_subscribers_of_one_queue_apart(url: str) -> None:
    app, seen = App(url), Seen()
    everything = Queue("all", bindings=[orders.bind("#")])

    @app.subscribe(everything, type=Placed)
    async def placed(event: Placed) -> None:
        seen.put_nowait(f"placed {event.order_id}")

    @app.subscribe(everything, type="Refunded")
    async def refunded(event: Refunded) -> None:
        seen.put_nowait(f"refunded {event.order_id}")

    @app.subscribe(everything)
    async def rest(ctx: Context, event: Any) -> None:
        seen.put_nowait(f"rest {event}")

    async with app, app.worker():
        for event in (Placed("1"), Refunded("2"), {"order_id": "3"}):
            await app.publish(event, exchange=orders)
        assert await gathered(seen, 3) == ["placed 1", "refunded 2", "rest {'order_id': '3'}"]


def test_a_log_needs_a_group_and_a_queue_has_none() -> None:
    app = App("memory://")

    async def take(event: Placed) -> None: ...

    with pytest.raises(ConfigurationError, match=r'subscribe\(log, group="\.\.\."\)'):
        app.subscribe(Log("history"))(take)
    with pytest.raises(ConfigurationError, match="belong to a log"):
        app.subscribe(Queue("eu"), group="fraud")(take)
