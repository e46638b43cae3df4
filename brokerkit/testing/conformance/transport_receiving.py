"""Limits, lanes, pausing and closing."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

from brokerkit.delivery import Delivery, Lane, QueueSource
from brokerkit.message import Message
from brokerkit.outcome import ACK, RELEASE
from brokerkit.testing.conformance.bench import Bench, Reader, bench, ids, ids_of
from brokerkit.testing.conformance.harness import Harness, Scenario
from brokerkit.transport import Settled


async def a_receive_never_returns_more_than_asked(harness: Harness) -> None:
    async with bench(harness) as b, b.reader() as reader:
        await b.send_some(10)
        first = await reader.subscription.receive(reader.limit(3))
        assert 1 <= len(first) <= 3, f"3 were asked for, {len(first)} came"
        rest = await reader.get(10 - len(first))
        await reader.settle(ACK, *first, *rest)


async def each_lane_keeps_its_own_limit(harness: Harness) -> None:
    async with bench(harness, priorities=3) as b, b.reader() as reader:
        await _two_per_lane(b, times=5)
        low, _, high = reader.lanes
        got = await reader.subscription.receive({low: 2, high: 1})
        per_lane = {lane: sum(delivery.lane == lane for delivery in got) for lane in reader.lanes}
        assert per_lane[low] <= 2, f"2 of the lowest lane were asked for, {per_lane[low]} came"
        assert per_lane[high] <= 1, f"1 of the highest lane was asked for, {per_lane[high]} came"
        assert got, "a receive waits for at least one"
        assert all(delivery.lane in {low, high} for delivery in got), f"a lane came that was not asked for: {got}"


async def a_lane_with_limit_zero_is_not_read(harness: Harness) -> None:
    async with bench(harness, priorities=2) as b, b.reader() as reader:
        low, high = reader.lanes
        await b.send(b.message(priority=9))
        reader.lanes = [low]
        await reader.nothing("only the other lane has a message")
        got = await reader.subscription.receive({low: 0, high: 1})
        assert [delivery.lane for delivery in got] == [high], f"the high lane was asked for, {got} came"


async def lanes_come_most_urgent_first_and_each_in_order(harness: Harness) -> None:
    async with bench(harness, priorities=3) as b:
        sent = await _two_per_lane(b, times=2)
        async with b.reader() as reader:
            got = await _all_at_once(reader, len(sent))
        wanted = [each.id for level in (9, 5, 0) for each in sent if each.priority == level]
        assert ids(got) == wanted, f"{[(d.message.priority, d.lane.level) for d in got]} came"
        levels = {delivery.message.priority: delivery.lane.level for delivery in got}
        assert levels == {9: 2, 5: 1, 0: 0}, f"priorities came from lanes {levels}"


async def _two_per_lane(b: Bench, times: int) -> list[Message]:
    sent = [b.message(priority=priority) for _ in range(times) for priority in (0, 5, 9, 0, 5, 9)]
    await b.send(*sent)
    return sent


async def _all_at_once(reader: Reader, count: int) -> list[Delivery]:
    """What one receive returns when everything is there; more receives where the broker needs them."""
    await reader.harness.advance(reader.harness.quiet)
    got = await reader.subscription.receive(reader.limit(count))
    if len(got) < count:
        got += await reader.get(count - len(got))
    return got


async def one_subscription_reads_several_sources(harness: Harness) -> None:
    async with bench(harness) as first, bench(harness) as second:
        sources = [QueueSource(first.queue.name), QueueSource(second.queue.name)]
        async with first.transport.consume(sources) as subscription:
            reader = Reader(harness, subscription, sources[0])
            reader.lanes = [Lane(source.key, 0) for source in sources]
            await first.send_some(1)
            assert (await reader.one()).lane.source == first.queue.name, "it came from the wrong source"
            await second.send_some(1)
            assert (await reader.one()).lane.source == second.queue.name, "it came from the wrong source"


async def a_cancelled_receive_loses_nothing(harness: Harness) -> None:
    rounds = 20 if harness.short else 100
    async with bench(harness) as b, b.reader() as reader:
        sent: list[Message] = []
        got: list[Delivery] = []
        for number in range(rounds):
            async with asyncio.TaskGroup() as group:
                receiving = group.create_task(reader.subscription.receive(reader.limit(1)))
                await asyncio.sleep(0)
                sent += await b.send_some(1)
                for _ in range(number % 4):
                    await asyncio.sleep(0)
                receiving.cancel()
            if not receiving.cancelled():
                got += receiving.result()
        got += await reader.get(rounds - len(got))
        assert ids(got) == ids_of(sent), "a cancelled receive lost or reordered messages"
        await reader.settle(ACK, *got)


async def a_message_for_a_cancelled_receive_goes_to_another_consumer(harness: Harness) -> None:
    async with (
        bench(harness) as b,
        harness.connect() as other,
        b.reader() as leaving,
        b.reader(transport=other) as staying,
    ):
        async with asyncio.TaskGroup() as group:
            given_up = group.create_task(leaving.subscription.receive(leaving.limit(1)))
            await harness.advance(harness.quiet)
            waiting = group.create_task(staying.get(1))
            await harness.advance(harness.quiet)
            [sent] = await b.send_some(1)
            given_up.cancel()
            await leaving.subscription.pause()
            if not given_up.done():
                await harness.advance(harness.quiet)
            got = [] if given_up.cancelled() else given_up.result()
            await leaving.settle(RELEASE, *got)
        assert ids(waiting.result()) == [sent.id], "the other consumer did not get it"


async def pausing_stops_intake_and_resuming_starts_it_again(harness: Harness) -> None:
    async with bench(harness) as b, b.reader() as reader:
        await b.send_some(1)
        held = await reader.one()
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(reader.subscription.receive(reader.limit(1)))
            await harness.advance(harness.quiet)
            await reader.subscription.pause()
            async with asyncio.timeout(harness.patience):
                assert await waiting == [], "a receive that waits returns nothing when intake is paused"
        [sent] = await b.send_some(1)
        assert await reader.subscription.receive(reader.limit(1)) == [], "nothing is received while paused"
        await reader.settle(ACK, held)
        await reader.subscription.resume()
        assert ids(await reader.drain(1)) == [sent.id], "after resuming it did not come"


async def closing_releases_what_was_not_settled(harness: Harness) -> None:
    async with bench(harness) as b:
        sent = await b.send_some(3)
        async with b.reader() as reader:
            held = await reader.get(3)
            await reader.settle(ACK, held[1])
        assert list(await reader.subscription.settle([(held[0], ACK)])) == [Settled.LOST], "it was released"
        async with b.reader() as reader:
            again = await reader.get(2)
            assert ids(again) == [sent[0].id, sent[2].id], "what was not settled comes again, in order"
            if not b.transport.capabilities.release_counted:
                counts = [delivery.deliveries for delivery in again]
                assert counts == [1, 1], f"releasing in order does not count as a delivery: {counts}"


async def closing_ends_a_waiting_receive(harness: Harness) -> None:
    async with bench(harness) as b:
        other = harness.connect()
        await other.__aenter__()
        async with b.reader(transport=other) as reader, asyncio.TaskGroup() as group:
            waiting = group.create_task(reader.subscription.receive(reader.limit(1)))
            await harness.advance(harness.quiet)
            await other.__aexit__(None, None, None)
            async with asyncio.timeout(harness.patience):
                assert await waiting == [], "a receive that waits returns nothing when the transport closes"
        [sent] = await b.send_some(1)
        async with b.reader() as reader:
            assert ids(await reader.drain(1)) == [sent.id], "a closed transport took a message"


async def closing_twice_and_while_idle_is_harmless(harness: Harness) -> None:
    transport = harness.connect()
    await transport.__aenter__()
    await transport.__aexit__(None, None, None)
    await transport.__aexit__(None, None, None)
    async with harness.connect() as other, other.replies():
        await other.__aexit__(None, None, None)


async def a_single_active_consumer_gets_everything_until_it_leaves(harness: Harness) -> None:
    async with bench(harness, single_active=True) as b, harness.connect() as other, AsyncExitStack() as active:
        first = await active.enter_async_context(b.reader())
        async with b.reader(transport=other) as second:
            sent = await b.send_some(10)
            held = await first.get(6)
            await second.nothing("another consumer is the active one")
            await first.settle(ACK, *held[:4])
            await active.aclose()
            assert ids(await second.drain(6)) == ids_of(sent)[4:], "the next one goes on in order where the first left"


async def a_waiting_consumer_is_woken_for_its_own_lane(harness: Harness) -> None:
    async with (
        bench(harness, priorities=2) as b,
        harness.connect() as other,
        b.reader() as first,
        b.reader(transport=other) as second,
        asyncio.TaskGroup() as group,
    ):
        low, high = first.lanes
        slow = group.create_task(first.subscription.receive({low: 1}))
        fast = group.create_task(second.subscription.receive({high: 1}))
        await harness.advance(harness.quiet)
        for priority, waiting in ((9, fast), (0, slow)):
            [sent] = await b.send_some(1, priority=priority)
            async with asyncio.timeout(harness.patience):
                assert ids(await waiting) == [sent.id], "each waits for another lane"


SCENARIOS: tuple[Scenario, ...] = (
    a_receive_never_returns_more_than_asked,
    each_lane_keeps_its_own_limit,
    a_lane_with_limit_zero_is_not_read,
    lanes_come_most_urgent_first_and_each_in_order,
    a_waiting_consumer_is_woken_for_its_own_lane,
    one_subscription_reads_several_sources,
    a_cancelled_receive_loses_nothing,
    a_message_for_a_cancelled_receive_goes_to_another_consumer,
    pausing_stops_intake_and_resuming_starts_it_again,
    closing_releases_what_was_not_settled,
    closing_ends_a_waiting_receive,
    closing_twice_and_while_idle_is_harmless,
    a_single_active_consumer_gets_everything_until_it_leaves,
)
