"""The four outcomes, and start marks."""

from __future__ import annotations

from brokerkit.outcome import ACK, RELEASE, DeadLetter, Outcome, Reason, Redeliver
from brokerkit.testing.conformance.bench import bench, ids
from brokerkit.testing.conformance.harness import Harness, Scenario, needs
from brokerkit.transport import Settled, StartMark

OUTCOMES: tuple[Outcome, ...] = (ACK, RELEASE, Redeliver(0, 2), DeadLetter(Reason.FAILED))


async def a_redelivered_message_carries_its_new_attempt(harness: Harness) -> None:
    async with bench(harness) as b, b.reader() as reader:
        [sent] = await b.send_some(1, headers={"kept": "yes"}, priority=7)
        await reader.settle(Redeliver(0, attempt=2, postponed=1), await reader.one())
        again = await reader.one()
        assert again.message.id == sent.id, "the id is the same over all attempts"
        assert (again.message.attempt, again.message.postponed) == (2, 1), f"it carries {again.message}"
        assert again.deliveries == 1, f"deliveries are counted per attempt, this is the first, not {again.deliveries}"
        same = (again.message.headers, again.message.priority, again.message.run, again.message.created)
        assert same == (sent.headers, sent.priority, sent.run, sent.created), "the rest of the message changed"
        await reader.settle(ACK, again)
        await reader.nothing("it was acknowledged")


async def a_redelivered_message_stays_in_its_lane(harness: Harness) -> None:
    async with bench(harness, priorities=3) as b, b.reader() as reader:
        await b.send_some(1, priority=9)
        first = await reader.one()
        await reader.settle(Redeliver(0, attempt=2), first)
        again = await reader.one()
        assert again.lane == first.lane, f"it came from {first.lane}, then from {again.lane}"


@needs("delayed")
async def a_redelivered_message_waits_as_long_as_asked(harness: Harness) -> None:
    async with bench(harness) as b, b.reader() as reader:
        await b.send_some(1)
        due = b.now + harness.step
        await reader.settle(Redeliver(harness.step, attempt=2), await reader.one())
        await reader.nothing("the retry is not due yet")
        await harness.advance(harness.step)
        assert (await reader.one()).message.attempt == 2, "it carries its new attempt"
        assert b.now >= due, f"it came {due - b.now:g} s early"


async def a_released_message_comes_again_as_it_was(harness: Harness) -> None:
    async with bench(harness) as b, b.reader() as reader:
        sent = await b.send_some(3)
        first, *_ = held = await reader.get(3)
        await reader.settle(RELEASE, first)
        again = await reader.one()
        assert again.message == sent[0], "a released message is unchanged"
        if not b.transport.capabilities.release_counted:
            assert again.deliveries == 1, f"a release is not counted, but deliveries is {again.deliveries}"
        await reader.settle(ACK, again, *held[1:])


@needs("release_in_order")
async def released_messages_keep_their_order(harness: Harness) -> None:
    async with bench(harness) as b, b.reader() as reader:
        await b.send_some(6)
        held = await reader.get(4)
        await reader.settle(RELEASE, *held)
        again = await reader.get(6)
        assert ids(again)[:4] == ids(held), "released messages come before younger ones, in their order"


async def every_outcome_can_be_settled_in_one_call(harness: Harness) -> None:
    async with bench(harness) as b, b.reader() as reader:
        await b.send_some(4)
        held = await reader.get(4)
        answers = await reader.subscription.settle(list(zip(held, OUTCOMES, strict=True)))
        assert list(answers) == [Settled.DONE] * 4, f"settling answered {answers}"
        again = await reader.get(2)
        assert set(ids(again)) == {held[1].message.id, held[2].message.id}, "the released and the redelivered come"
        await reader.settle(ACK, *again)
        await reader.nothing("the others were acknowledged and dead-lettered")


async def settling_twice_answers_lost_and_changes_nothing(harness: Harness) -> None:
    async with bench(harness) as b, b.reader() as reader:
        for outcome in OUTCOMES:
            await b.send_some(1)
            delivery = await reader.one()
            await reader.settle(ACK, delivery)
            await reader.settle(outcome, delivery, want=Settled.LOST)
            await reader.nothing(f"{outcome} after an acknowledgement does nothing")


async def one_delivery_twice_in_one_call_is_settled_once(harness: Harness) -> None:
    async with bench(harness) as b, b.reader() as reader:
        await b.send_some(1)
        delivery = await reader.one()
        answers = await reader.subscription.settle([(delivery, ACK), (delivery, Redeliver(0, 2))])
        assert list(answers) == [Settled.DONE, Settled.LOST], f"settling answered {answers}"
        await reader.nothing("it was acknowledged")


async def an_old_delivery_cannot_settle_the_next_one(harness: Harness) -> None:
    async with bench(harness) as b, b.reader() as reader:
        await b.send_some(1)
        old = await reader.one()
        await reader.settle(Redeliver(0, attempt=2), old)
        new = await reader.one()
        await reader.settle(ACK, old, want=Settled.LOST)
        await reader.settle(ACK, new)


async def settling_nothing_answers_nothing(harness: Harness) -> None:
    async with bench(harness) as b, b.reader() as reader:
        assert not list(await reader.subscription.settle([])), "an answer per item"
        assert not list(await reader.subscription.mark_start([])), "an answer per item"


async def a_start_mark_survives_a_crash(harness: Harness) -> None:
    async with bench(harness) as b:
        await b.send_some(1)
        for starts in (1, 2):
            async with harness.connect() as doomed, b.reader(transport=doomed) as reader:
                delivery = await reader.one()
                [answer] = await reader.subscription.mark_start([delivery])
                if answer is StartMark.MOVED:
                    delivery = await reader.one()
                else:
                    assert answer is StartMark.MARKED, f"marking answered {answer}"
                    assert delivery.marked, "the delivery knows that it was marked"
                assert delivery.starts == starts, f"start {starts}, but the delivery says {delivery.starts}"
                await harness.crash(doomed)
        async with b.reader() as reader:
            assert (await reader.one()).starts == 2, "two starts were marked before the crashes"


async def a_release_takes_its_start_mark_back(harness: Harness) -> None:
    async with bench(harness) as b, b.reader() as reader:
        await b.send_some(1)
        delivery = await reader.one()
        [answer] = await reader.subscription.mark_start([delivery])
        if answer is StartMark.MARKED:
            await reader.settle(RELEASE, delivery)
            starts = (await reader.one()).starts
            assert starts == 0, f"released as if it had not been started, but starts is {starts}"


async def a_settled_delivery_cannot_be_marked(harness: Harness) -> None:
    async with bench(harness) as b, b.reader() as reader:
        await b.send_some(1)
        [delivery] = await reader.drain(1)
        answer = list(await reader.subscription.mark_start([delivery]))
        assert answer == [StartMark.LOST], f"it is not ours any more, but marking answered {answer}"


async def a_retry_begins_without_start_marks(harness: Harness) -> None:
    async with bench(harness) as b, b.reader() as reader:
        await b.send_some(1)
        delivery = await reader.one()
        [answer] = await reader.subscription.mark_start([delivery])
        if answer is StartMark.MOVED:
            delivery = await reader.one()
        await reader.settle(Redeliver(0, attempt=2), delivery)
        starts = (await reader.one()).starts
        assert starts == 0, f"the start that was marked has ended in order, but starts is {starts}"


async def closing_takes_start_marks_back(harness: Harness) -> None:
    async with bench(harness) as b:
        await b.send_some(1)
        async with b.reader() as reader:
            [answer] = await reader.subscription.mark_start([await reader.one()])
        async with b.reader() as reader:
            starts = (await reader.one()).starts
            if answer is StartMark.MARKED:
                assert starts == 0, f"released as if it had not been started, but starts is {starts}"


SCENARIOS: tuple[Scenario, ...] = (
    a_redelivered_message_carries_its_new_attempt,
    a_redelivered_message_stays_in_its_lane,
    a_redelivered_message_waits_as_long_as_asked,
    a_released_message_comes_again_as_it_was,
    released_messages_keep_their_order,
    every_outcome_can_be_settled_in_one_call,
    settling_twice_answers_lost_and_changes_nothing,
    one_delivery_twice_in_one_call_is_settled_once,
    an_old_delivery_cannot_settle_the_next_one,
    settling_nothing_answers_nothing,
    a_start_mark_survives_a_crash,
    a_release_takes_its_start_mark_back,
    a_retry_begins_without_start_marks,
    closing_takes_start_marks_back,
    a_settled_delivery_cannot_be_marked,
)
