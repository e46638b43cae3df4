"""Exchanges, bindings, full queues: each target once, or nowhere."""

from __future__ import annotations

from typing import Any

from brokerkit.delivery import QueueSource
from brokerkit.message import Outgoing
from brokerkit.outcome import ACK
from brokerkit.testing.conformance.bench import Bench, bench, ids, ids_of
from brokerkit.testing.conformance.harness import Harness, Scenario
from brokerkit.topology import Exchange, HeaderValue, Queue, Topology
from brokerkit.transport import Published


class Routes:
    """One exchange under test and what is bound to it, beside a bench."""

    def __init__(self, b: Bench) -> None:
        self.b = b

    def exchange(self, **options: Any) -> Exchange:
        return Exchange(self.b.harness.name("exchange"), **options)

    def queue(self, *bindings: Any) -> Queue:
        return Queue(self.b.harness.name("bound"), bindings=list(bindings))

    async def apply(self, exchanges: list[Exchange], queues: list[Queue]) -> None:
        await self.b.transport.apply(Topology(self.b.harness.name("app"), exchanges=exchanges, queues=queues))

    async def reaches(self, exchange: Exchange, key: str, *queues: Queue, **fields: Any) -> None:
        """Publish, and expect exactly one copy in each of these queues."""
        each = self.b.message(exchange=exchange.name, routing_key=key, **fields)
        answer = await self.b.publish_one(each, exchange.name, key)
        assert answer is Published.CONFIRMED, f"{key!r} answered {answer}"
        for queue in queues:
            async with self.b.reader(QueueSource(queue.name)) as reader:
                got = await reader.drain(1)
                assert ids(got) == [each.id], f"{key!r} did not reach {queue.name} first"
                assert got[0].message == each, "the message changed on its way"
                await reader.nothing(f"one copy of {key!r} for each queue")

    async def misses(self, exchange: Exchange, key: str, **fields: Any) -> None:
        """Publish, and expect that it is refused as unroutable."""
        each = self.b.message(exchange=exchange.name, routing_key=key, **fields)
        answer = await self.b.publish_one(each, exchange.name, key)
        assert answer is Published.UNROUTABLE, f"no binding matches {key!r}, but it answered {answer}"


async def a_message_for_nobody_is_unroutable(harness: Harness) -> None:
    async with bench(harness) as b:
        routes = Routes(b)
        orders = routes.exchange(type="topic")
        bound = routes.queue(orders.bind("order.eu.*"))
        await routes.apply([orders], [bound])
        await routes.misses(orders, "order.us.placed")
        await routes.reaches(orders, "order.eu.placed", bound)
        answer = await b.publish_one(b.message(), "", harness.name("no-such-queue"))
        assert answer is Published.UNROUTABLE, f"no such queue, but it answered {answer}"


async def answers_of_one_publish_are_independent(harness: Harness) -> None:
    async with bench(harness) as b, b.reader() as reader:
        good, bad, last = b.message(), b.message(), b.message()
        nowhere = harness.name("no-such-queue")
        answers = await b.publish([Outgoing(bad, "", nowhere), Outgoing(good, "", b.queue.name)])
        assert answers == [Published.UNROUTABLE, Published.CONFIRMED], f"publishing answered {answers}"
        await b.send(last)
        assert ids(await reader.drain(2)) == ids_of([good, last]), "the good ones arrive"


async def a_direct_exchange_routes_by_equal_keys(harness: Harness) -> None:
    async with bench(harness) as b:
        routes = Routes(b)
        jobs = routes.exchange(type="direct")
        red, both = routes.queue(jobs.bind("red")), routes.queue(jobs.bind("red"), jobs.bind("blue"))
        await routes.apply([jobs], [red, both])
        await routes.reaches(jobs, "red", red, both)
        await routes.reaches(jobs, "blue", both)
        await routes.misses(jobs, "re")


async def a_topic_exchange_routes_by_patterns(harness: Harness) -> None:
    async with bench(harness) as b:
        routes = Routes(b)
        orders = routes.exchange(type="topic")
        star, rest = routes.queue(orders.bind("order.*.placed")), routes.queue(orders.bind("order.#"))
        await routes.apply([orders], [star, rest])
        await routes.reaches(orders, "order.eu.placed", star, rest)
        await routes.reaches(orders, "order.eu.west.placed", rest)
        await routes.reaches(orders, "order", rest)
        await routes.misses(orders, "invoice.eu.placed")


async def a_fanout_gives_every_queue_one_copy(harness: Harness) -> None:
    async with bench(harness) as b:
        routes = Routes(b)
        news = routes.exchange(type="fanout")
        readers = [routes.queue(news.bind()) for _ in range(3)]
        await routes.apply([news], readers)
        await routes.reaches(news, "whatever", *readers)


async def several_matching_bindings_are_still_one_copy(harness: Harness) -> None:
    async with bench(harness) as b:
        routes = Routes(b)
        orders = routes.exchange(type="topic")
        bound = routes.queue(orders.bind("#"), orders.bind("order.*"), orders.bind("*.placed"))
        await routes.apply([orders], [bound])
        await routes.reaches(orders, "order.placed", bound)


async def an_exchange_bound_to_an_exchange_passes_on(harness: Harness) -> None:
    async with bench(harness) as b:
        routes = Routes(b)
        source = routes.exchange(type="topic")
        target = routes.exchange(type="fanout", bindings=[source.bind("order.#")])
        near, far = routes.queue(source.bind("order.new")), routes.queue(target.bind())
        await routes.apply([source, target], [near, far])
        await routes.reaches(source, "order.new", near, far)
        await routes.reaches(source, "order.old", far)
        await routes.misses(source, "other")


async def a_headers_exchange_compares_headers(harness: Harness) -> None:
    async with bench(harness) as b:
        routes = Routes(b)
        prints = routes.exchange(type="headers")
        wanted: dict[str, HeaderValue] = {"format": "pdf", "pages": 2}
        every = routes.queue(prints.bind(headers=wanted, match="all"))
        some = routes.queue(prints.bind(headers=wanted, match="any"))
        await routes.apply([prints], [every, some])
        await routes.reaches(prints, "", every, some, headers={"format": "pdf", "pages": 2, "more": True})
        await routes.reaches(prints, "", some, headers={"format": "pdf", "pages": 3})
        await routes.misses(prints, "", headers={"format": "txt"})


async def an_alternate_exchange_gets_what_nothing_matches(harness: Harness) -> None:
    async with bench(harness) as b:
        routes = Routes(b)
        rest = routes.exchange(type="fanout")
        jobs = routes.exchange(type="direct", alternate=rest)
        known, unknown = routes.queue(jobs.bind("known")), routes.queue(rest.bind())
        await routes.apply([rest, jobs], [known, unknown])
        await routes.reaches(jobs, "unknown", unknown)
        await routes.reaches(jobs, "known", known)
        async with b.reader(QueueSource(unknown.name)) as reader:
            await reader.nothing("what matches does not go to the alternate")


async def a_full_queue_refuses_and_recovers(harness: Harness) -> None:
    async with bench(harness, max_length=2) as b:
        sent = await b.send_some(2)
        answer = await b.publish_one(b.message(), "", b.queue.name)
        assert answer is Published.FULL, f"the queue is full, but publishing answered {answer}"
        async with b.reader() as reader:
            held = await reader.get(2)
            assert ids(held) == ids_of(sent), "only what was confirmed is there"
            await reader.settle(ACK, held[0])
            [late] = await b.send_some(1)
            assert ids(await reader.drain(1)) == [late.id], "there is room again"


SCENARIOS: tuple[Scenario, ...] = (
    a_message_for_nobody_is_unroutable,
    answers_of_one_publish_are_independent,
    a_direct_exchange_routes_by_equal_keys,
    a_topic_exchange_routes_by_patterns,
    a_fanout_gives_every_queue_one_copy,
    several_matching_bindings_are_still_one_copy,
    an_exchange_bound_to_an_exchange_passes_on,
    a_headers_exchange_compares_headers,
    an_alternate_exchange_gets_what_nothing_matches,
    a_full_queue_refuses_and_recovers,
)
