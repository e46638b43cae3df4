"""Delayed messages: never early, and not late because of each other."""

from __future__ import annotations

from brokerkit.outcome import ACK
from brokerkit.testing.conformance.bench import bench, ids
from brokerkit.testing.conformance.harness import Harness, Scenario, needs


@needs("delayed")
async def a_delayed_message_is_never_early(harness: Harness) -> None:
    async with bench(harness) as b, b.reader() as reader:
        due = b.now + harness.step
        sent = b.message(due=due)
        await b.send(sent)
        await reader.nothing("it is not due yet")
        await harness.advance(harness.step / 2)
        if b.now + harness.quiet < due:
            await reader.nothing("it is not due yet")
        await harness.advance(harness.step / 2)
        delivery = await reader.one()
        assert b.now >= due, f"it came {due - b.now:g} s early"
        assert delivery.message.id == sent.id, "something else came"
        assert delivery.deliveries == 1, "waiting does not count as a delivery"


@needs("delayed")
async def a_short_delay_behind_a_long_one_is_on_time(harness: Harness) -> None:
    async with bench(harness) as b, b.reader() as reader:
        long, short = b.message(due=b.now + 50 * harness.step), b.message(due=b.now + harness.step)
        await b.send(long)
        await b.send(short)
        await harness.advance(harness.step)
        assert ids(await reader.drain(1)) == [short.id], "the short delay is over"
        await reader.nothing("the long delay is not over")


@needs("delayed")
async def delayed_messages_come_in_the_order_of_their_times(harness: Harness) -> None:
    async with bench(harness) as b, b.reader() as reader:
        sent = [b.message(due=b.now + number * harness.step) for number in (3, 1, 2)]
        await b.send(*sent)
        await harness.advance(harness.step)
        early = await reader.drain(1)
        if b.now + harness.quiet < (sent[2].due or 0.0):
            await reader.nothing("the others are not due yet")
        await harness.advance(2 * harness.step)
        got = ids(early + await reader.drain(2))
        assert got == [sent[1].id, sent[2].id, sent[0].id], "they come as they are due"


@needs("delayed")
async def a_delayed_message_does_not_hold_up_others(harness: Harness) -> None:
    async with bench(harness) as b, b.reader() as reader:
        await b.send(b.message(due=b.now + 50 * harness.step))
        [sent] = await b.send_some(1)
        assert ids(await reader.drain(1)) == [sent.id], "what is not delayed comes at once"


@needs("delayed")
async def a_delayed_message_enters_its_own_lane(harness: Harness) -> None:
    async with bench(harness, priorities=3) as b, b.reader() as reader:
        await b.send(b.message(due=b.now + harness.step, priority=9))
        await harness.advance(harness.step)
        assert (await reader.one()).lane == reader.lanes[2], "its priority belongs to the highest lane"


@needs("delayed")
async def delays_outlive_the_process_that_sent_them(harness: Harness) -> None:
    async with bench(harness) as b:
        async with harness.connect() as doomed:
            b.transport, survivor = doomed, b.transport
            sent = b.message(due=b.now + harness.step)
            await b.send(sent)
            await harness.crash(doomed)
        b.transport = survivor
        async with b.reader() as reader:
            await harness.advance(harness.step)
            assert ids(await reader.drain(1)) == [sent.id], "the delay was in the sender's hands"


async def a_due_time_in_the_past_is_no_delay(harness: Harness) -> None:
    async with bench(harness) as b, b.reader() as reader:
        sent = b.message(due=b.now - 10.0)
        await b.send(sent)
        delivery = await reader.one()
        assert delivery.message.id == sent.id, "something else came"
        await reader.settle(ACK, delivery)


SCENARIOS: tuple[Scenario, ...] = (
    a_delayed_message_is_never_early,
    a_short_delay_behind_a_long_one_is_on_time,
    delayed_messages_come_in_the_order_of_their_times,
    a_delayed_message_does_not_hold_up_others,
    a_delayed_message_enters_its_own_lane,
    delays_outlive_the_process_that_sent_them,
    a_due_time_in_the_past_is_no_delay,
)
