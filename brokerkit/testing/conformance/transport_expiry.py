"""Expired messages are delivered, flagged: what becomes of them is the worker's decision."""

from __future__ import annotations

from brokerkit.delivery import Flag
from brokerkit.outcome import RELEASE, Redeliver
from brokerkit.testing.conformance.bench import bench
from brokerkit.testing.conformance.harness import Harness, Scenario, needs


async def an_expired_message_is_delivered_flagged(harness: Harness) -> None:
    async with bench(harness) as b, b.reader() as reader:
        sent = b.message(expires=b.now + harness.step)
        await b.send(sent)
        await harness.advance(2 * harness.step)
        delivery = await reader.one()
        assert delivery.message.id == sent.id, "an expired message is not dropped"
        assert delivery.flags & Flag.EXPIRED, f"it is past {sent.expires}, but the flags are {delivery.flags}"


async def a_message_that_has_not_expired_is_not_flagged(harness: Harness) -> None:
    async with bench(harness) as b, b.reader() as reader:
        await b.send_some(1, expires=b.now + 100 * harness.step)
        delivery = await reader.one()
        assert delivery.flags is Flag.NONE, f"it has time left, but the flags are {delivery.flags}"


async def a_message_may_expire_while_it_is_retried(harness: Harness) -> None:
    async with bench(harness) as b, b.reader() as reader:
        await b.send_some(1, expires=b.now + harness.step)
        first = await reader.one()
        assert first.flags is Flag.NONE, "it was in time"
        await harness.advance(2 * harness.step)
        await reader.settle(Redeliver(0, attempt=2), first)
        again = await reader.one()
        assert again.flags & Flag.EXPIRED, "its time has run out"
        await reader.settle(RELEASE, again)


async def a_message_expires_when_it_waits_longer_than_the_queue_allows(harness: Harness) -> None:
    async with bench(harness, message_ttl=harness.step) as b, b.reader() as reader:
        sent = b.message()
        await b.send(sent)
        in_time = await reader.one()
        assert in_time.flags is Flag.NONE, "it did not wait"
        await reader.settle(RELEASE, in_time)
        await harness.advance(2 * harness.step)
        late = await reader.one()
        assert late.message.id == sent.id, "an expired message is not dropped"
        assert late.flags & Flag.EXPIRED, "it waited longer than the queue's message_ttl"


@needs("delayed")
async def a_delay_is_not_waiting(harness: Harness) -> None:
    async with bench(harness, message_ttl=harness.step * 2) as b, b.reader() as reader:
        await b.send_some(1, due=b.now + 4 * harness.step)
        await harness.advance(4 * harness.step)
        delivery = await reader.one()
        assert delivery.flags is Flag.NONE, "the time a message may wait begins when it is due"


async def the_sooner_of_two_expiries_counts(harness: Harness) -> None:
    async with bench(harness, message_ttl=50 * harness.step) as b, b.reader() as reader:
        await b.send_some(1, expires=b.now + harness.step)
        await harness.advance(2 * harness.step)
        assert (await reader.one()).flags & Flag.EXPIRED, "its own time has run out before the queue's"


SCENARIOS: tuple[Scenario, ...] = (
    an_expired_message_is_delivered_flagged,
    a_message_that_has_not_expired_is_not_flagged,
    a_message_may_expire_while_it_is_retried,
    a_message_expires_when_it_waits_longer_than_the_queue_allows,
    a_delay_is_not_waiting,
    the_sooner_of_two_expiries_counts,
)
