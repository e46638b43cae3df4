"""What is published arrives, whole, once and in order."""

from __future__ import annotations

import asyncio

from brokerkit.delivery import Flag, Lane
from brokerkit.message import JSON, Message, Outgoing
from brokerkit.outcome import ACK
from brokerkit.testing.conformance.bench import Bench, bench, ids, ids_of
from brokerkit.testing.conformance.harness import Harness, Injector, Scenario
from brokerkit.transport import Published


async def every_field_of_a_message_survives_the_round_trip(harness: Harness) -> None:
    async with bench(harness, priorities=3) as b, b.reader() as reader:
        sent = full_message(b)
        assert await b.publish_one(sent, "", b.queue.name) is Published.CONFIRMED
        delivery = await reader.one()
        for field in Message.__struct_fields__:
            got, wanted = getattr(delivery.message, field), getattr(sent, field)
            assert got == wanted, f"{field} was sent as {wanted!r} and came as {got!r}"
            assert type(got) is type(wanted), f"{field} was sent as {type(wanted)} and came as {type(got)}"
        for header, value in sent.headers.items():
            got = delivery.message.headers[header]
            assert type(got) is type(value), f"header {header} was sent as {value!r} and came as {got!r}"


def full_message(b: Bench) -> Message:
    """A message in which no field has its default, except ``due`` in the past: it would be delayed."""
    return b.message(
        name="orders.charge",
        body=bytes(range(256)),
        content_type=JSON,
        headers={"text": "Grüße ✓", "empty": "", "int": -(2**40), "float": 2.5, "yes": True, "no": False},
        priority=9,
        run=3,
        attempt=4,
        postponed=2,
        created=b.now - 12.5,
        due=b.now - 1.25,
        expires=b.now + 3600.5,
        correlation_id="order/17 ✓",
        reply_to="bk.inbox.nobody",
        exchange="",
        routing_key=b.queue.name,
        timeout=1.5,
        retry='{"kind":"none"}',
        metadata={"customer": "c-1", "vip": True, "rank": 7, "share": 0.25},
        parent="a-parent",
        root="a-root",
    )


async def a_message_with_nothing_but_defaults_survives_the_round_trip(harness: Harness) -> None:
    async with bench(harness) as b, b.reader() as reader:
        sent = Message(id=harness.name("m"), name="", body=b"")
        await b.send(sent)
        delivery = await reader.one()
        assert delivery.message == sent, f"sent {sent}, got {delivery.message}"
        assert (delivery.deliveries, delivery.starts, delivery.marked) == (1, 0, False), f"a first time: {delivery}"
        assert delivery.flags is Flag.NONE, f"nothing to notice, but flags are {delivery.flags}"
        assert delivery.lane == Lane(b.queue.name, 0), f"it came from lane {delivery.lane}"


async def a_body_of_a_mebibyte_survives_the_round_trip(harness: Harness) -> None:
    async with bench(harness) as b, b.reader() as reader:
        body = bytes(range(256)) * 4096
        await b.send(b.message(body=body))
        assert (await reader.one()).message.body == body, "the body came back changed"


async def messages_of_one_publish_keep_their_order(harness: Harness) -> None:
    async with bench(harness) as b, b.reader() as reader:
        sent = await b.send_some(50) + await b.send_some(50)
        assert ids(await reader.drain(100)) == ids_of(sent), "the order of publishing was not kept"


async def messages_published_before_anyone_consumes_are_kept(harness: Harness) -> None:
    async with bench(harness) as b:
        sent = await b.send_some(3)
        async with harness.connect() as other, b.reader(transport=other) as reader:
            assert ids(await reader.drain(3)) == ids_of(sent), "what was waiting did not come"


async def an_acknowledged_message_does_not_come_again(harness: Harness) -> None:
    async with bench(harness) as b:
        await b.send_some(3)
        async with b.reader() as reader:
            await reader.drain(3)
        async with b.reader() as reader:
            await reader.nothing("everything was acknowledged")


async def competing_consumers_get_each_message_once(harness: Harness) -> None:
    async with (
        bench(harness) as b,
        harness.connect() as other,
        b.reader() as first,
        b.reader(transport=other) as second,
    ):
        sent = await b.send_some(40)
        got = await first.get(5) + await second.whatever(5) + await first.whatever(100)
        assert sorted(ids(got)) == sorted(ids_of(sent)), "a message was lost or delivered twice"


async def two_waiting_consumers_both_get_work(harness: Harness) -> None:
    async with (
        bench(harness) as b,
        harness.connect() as other,
        b.reader() as first,
        b.reader(transport=other) as second,
        asyncio.TaskGroup() as group,
    ):
        waiting = [group.create_task(reader.get()) for reader in (first, second)]
        await harness.advance(harness.quiet)
        sent = await b.send_some(2)
        got = [delivery for task in waiting for delivery in await task]
        assert sorted(ids(got)) == sorted(ids_of(sent)), "each of two waiting consumers gets one of two messages"


async def thousands_of_messages_reach_four_consumers_exactly_once(harness: Harness) -> None:
    count = 10_000 if harness.short else 100_000
    async with bench(harness, priorities=3) as b:
        seen: list[str] = []
        async with asyncio.TaskGroup() as group:
            consumers = [group.create_task(consume_until(b, seen, count)) for _ in range(4)]
            sent = [b.message(priority=number % 10) for number in range(count)]
            for start in range(0, count, 100):
                await b.send(*sent[start : start + 100])
            async with asyncio.timeout(harness.patience + 60):
                await asyncio.gather(*consumers)
        assert len(seen) == count, f"{count} were sent, {len(seen)} delivered"
        assert set(seen) == set(ids_of(sent)), "some were lost, others came twice"


async def consume_until(b: Bench, seen: list[str], count: int) -> None:
    """One of several consumers, each a process of its own; ends when all together have seen ``count``."""
    async with b.harness.connect() as transport, b.reader(transport=transport) as reader:
        while len(seen) < count:
            try:
                async with asyncio.timeout(0.2):
                    deliveries = await reader.subscription.receive(reader.limit(16))
            except TimeoutError:
                continue
            seen.extend(ids(deliveries))
            await reader.settle(ACK, *deliveries)


async def what_is_not_a_message_is_delivered_flagged(harness: Harness) -> None:
    if not isinstance(harness, Injector):
        return  # nobody else can write to this broker
    async with bench(harness) as b, b.reader() as reader:
        await harness.inject(b.queue.name, b"\xc1 not ours")
        delivery = await reader.one()
        assert delivery.flags & Flag.UNDECODABLE, f"flags are {delivery.flags}"
        assert delivery.message.body == b"\xc1 not ours", f"the body is {delivery.message.body!r}"
        await reader.settle(ACK, delivery)


async def one_publish_may_go_to_several_queues(harness: Harness) -> None:
    async with bench(harness) as first, bench(harness) as second:
        one, two = first.message(), second.message()
        answers = await first.publish([Outgoing(one, "", first.queue.name), Outgoing(two, "", second.queue.name)])
        assert answers == [Published.CONFIRMED] * 2, f"publishing answered {answers}"
        async with first.reader() as here, second.reader() as there:
            assert ids(await here.drain(1)) == [one.id], "the first queue got something else"
            assert ids(await there.drain(1)) == [two.id], "the second queue got something else"


SCENARIOS: tuple[Scenario, ...] = (
    every_field_of_a_message_survives_the_round_trip,
    a_message_with_nothing_but_defaults_survives_the_round_trip,
    a_body_of_a_mebibyte_survives_the_round_trip,
    messages_of_one_publish_keep_their_order,
    messages_published_before_anyone_consumes_are_kept,
    an_acknowledged_message_does_not_come_again,
    competing_consumers_get_each_message_once,
    two_waiting_consumers_both_get_work,
    thousands_of_messages_reach_four_consumers_exactly_once,
    what_is_not_a_message_is_delivered_flagged,
    one_publish_may_go_to_several_queues,
)
