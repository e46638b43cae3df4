"""What a dead process held, and what a living one no longer holds."""

from __future__ import annotations

from brokerkit.delivery import Delivery
from brokerkit.outcome import ACK, DeadLetter, Reason, Redeliver
from brokerkit.testing.conformance.bench import Bench, bench, ids, ids_of
from brokerkit.testing.conformance.harness import Harness, Scenario
from brokerkit.transport import Settled


async def what_a_dead_process_held_comes_again_in_order_and_counted(harness: Harness) -> None:
    async with bench(harness) as b:
        sent = await b.send_some(6)
        async with harness.connect() as doomed, b.reader(transport=doomed) as reader:
            await reader.get(4)
            await harness.crash(doomed)
        async with b.reader() as reader:
            again = await reader.get(6)
            by_id = {delivery.message.id: delivery.deliveries for delivery in again}
            counts = [by_id[each.id] for each in sent]
            second = _counted(b, 2)
            assert counts == [second] * 4 + [1, 1], f"four were delivered before; deliveries are {counts}"
            redelivered = [delivery.message.id for delivery in again if delivery.deliveries == second]
            assert redelivered == ids_of(sent)[:4], "they come in their order"
            assert all(delivery.message.attempt == 1 for delivery in again), "a crash is not an attempt"


def _counted(b: Bench, count: int) -> int:
    """What ``deliveries`` says the so manieth time."""
    return count if b.transport.capabilities.deliveries_counted or count == 1 else 3


async def crash_after_crash_counts_every_delivery(harness: Harness) -> None:
    async with bench(harness) as b:
        await b.send_some(1)
        for count in (1, 2, 3):
            async with harness.connect() as doomed, b.reader(transport=doomed) as reader:
                delivery = await reader.one()
                assert delivery.deliveries == _counted(b, count), f"delivery {count} says {delivery.deliveries}"
                await harness.crash(doomed)


async def a_crash_does_not_touch_what_others_hold(harness: Harness) -> None:
    async with bench(harness) as b, b.reader() as alive:
        await b.send_some(2)
        mine = await alive.one()
        async with harness.connect() as doomed, b.reader(transport=doomed) as reader:
            theirs = await reader.one()
            await harness.crash(doomed)
        again = await alive.one()
        assert again.message.id == theirs.message.id, "what the dead process held comes to the living one"
        assert not mine.lost, "the living one still holds its own"
        await alive.settle(ACK, mine, again)
        await alive.nothing("both were acknowledged")


async def what_was_settled_before_the_crash_stays_settled(harness: Harness) -> None:
    async with bench(harness) as b:
        sent = await b.send_some(4)
        async with harness.connect() as doomed, b.reader(transport=doomed) as reader:
            held = await reader.get(3)
            await reader.settle(ACK, held[0])
            await reader.settle(DeadLetter(Reason.FAILED), held[1])
            await harness.crash(doomed)
        async with b.reader() as reader:
            assert set(ids(await reader.drain(2))) == {sent[2].id, sent[3].id}, "only what was open comes again"
            await reader.nothing("the rest was settled")


async def a_lost_delivery_says_so_and_comes_again(harness: Harness) -> None:
    async with bench(harness) as b, b.reader() as reader:
        told: list[Delivery] = []
        await b.send_some(1)
        delivery = await reader.one()
        delivery.on_lost = told.append
        await harness.lose(b.transport)
        again = await reader.one()
        assert delivery.lost, "the delivery is lost, but does not say so"
        assert told == [delivery], f"on_lost is called once, but was called {len(told)} times"
        assert again.message == delivery.message, "the message is the same"
        assert again.deliveries == _counted(b, 2), f"it was delivered twice, not {again.deliveries} times"
        assert again is not delivery, "a redelivery is another delivery"


async def a_lost_delivery_cannot_be_settled(harness: Harness) -> None:
    async with bench(harness) as b, b.reader() as reader:
        for outcome in (ACK, Redeliver(0, 2), DeadLetter(Reason.FAILED)):
            await b.send_some(1)
            old = await reader.one()
            await harness.lose(b.transport)
            new = await reader.one()
            await reader.settle(outcome, old, want=Settled.LOST)
            await reader.settle(ACK, new)
            await reader.nothing("the new delivery was acknowledged")


async def what_is_held_stays_held_however_long_it_takes(harness: Harness) -> None:
    async with bench(harness) as b, b.reader() as reader, harness.connect() as other:
        await b.send_some(1)
        delivery = await reader.one()
        await harness.advance(3 * b.transport.capabilities.lease or harness.step)
        async with b.reader(transport=other) as second:
            await second.nothing("the first consumer still works on it")
        assert not delivery.lost, "a living process keeps what it holds"
        await reader.settle(ACK, delivery)


SCENARIOS: tuple[Scenario, ...] = (
    what_a_dead_process_held_comes_again_in_order_and_counted,
    crash_after_crash_counts_every_delivery,
    a_crash_does_not_touch_what_others_hold,
    what_was_settled_before_the_crash_stays_settled,
    a_lost_delivery_says_so_and_comes_again,
    a_lost_delivery_cannot_be_settled,
    what_is_held_stays_held_however_long_it_takes,
)
