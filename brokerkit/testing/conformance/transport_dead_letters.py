"""Dead letters: kept with their reason, sent back as a new run, never discarded in silence."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from brokerkit.delivery import QueueSource
from brokerkit.message import Message
from brokerkit.outcome import ACK, RELEASE, DeadLetter, Reason
from brokerkit.testing.conformance.bench import Bench, Reader, bench, dead_letters, ids, ids_of, looking, purge, redrive
from brokerkit.testing.conformance.harness import Harness, Scenario, needs
from brokerkit.topology import DeadLetter as DeadLetterQueue
from brokerkit.transport import Settled

FAILED = DeadLetter(Reason.FAILED, "ValueError: no")


async def kill(b: Bench, reader: Reader, count: int, outcome: DeadLetter = FAILED) -> list[Message]:
    """Send so many messages and dead-letter them all."""
    sent = await b.send_some(count)
    await reader.settle(outcome, *await reader.get(count))
    return sent


@needs("redrive")
async def a_dead_letter_says_what_happened(harness: Harness) -> None:
    async with bench(harness) as b, b.reader() as reader:
        sent = b.message(attempt=4, headers={"a": 1}, body=b"\x01")
        await b.send(sent)
        before = b.now
        await reader.settle(DeadLetter(Reason.GAVE_UP, "GiveUp: card stolen"), await reader.one())
        [dead] = await dead_letters(b.transport, b.queue.name)
        assert dead.message.id == sent.id, "another message died"
        same = (dead.message.body, dead.message.headers, dead.message.attempt, dead.message.run)
        assert same == (sent.body, sent.headers, 4, 1), f"the message is kept as it was: {dead.message}"
        told = (dead.source, dead.reason, dead.error)
        assert told == (b.queue.name, Reason.GAVE_UP, "GiveUp: card stolen"), f"it says {told}"
        assert dead.deliveries == 1, f"it was delivered once, not {dead.deliveries} times"
        assert before - 1 <= dead.died <= b.now + 1, f"it died at {dead.died}, not now ({b.now})"


@needs("redrive")
async def dead_letters_are_listed_oldest_first(harness: Harness) -> None:
    async with bench(harness) as b, b.reader() as reader:
        sent = await kill(b, reader, 3)
        async with looking(b.transport, b.queue.name) as view:
            found = [entry.dead.message.id for entry in await view.next(2)]
        assert found == ids_of(sent)[:2], "the two oldest were asked for"
        stats = await b.transport.stats(b.queue.name)
        assert stats.dead in {3, None}, f"three are dead, not {stats.dead}"


@needs("redrive")
async def a_redrive_starts_a_new_run_at_attempt_one(harness: Harness) -> None:
    async with bench(harness) as b, b.reader() as reader:
        sent = b.message(attempt=4, postponed=2, run=2, expires=b.now + harness.step)
        await b.send(sent)
        await reader.settle(FAILED, await reader.one())
        await harness.advance(2 * harness.step)
        moved = await redrive(b.transport, b.queue.name)
        assert moved == [sent.id], f"one was there to send back, not {moved}"
        again = await reader.one()
        counters = (again.message.run, again.message.attempt, again.message.postponed, again.deliveries)
        assert counters == (3, 1, 0, 1), f"(run, attempt, postponed, deliveries) is {counters}"
        assert (again.message.id, again.message.body) == (sent.id, sent.body), "it is the same message"
        assert again.message.expires is None, "an expiry that is past would kill it at once"
        assert not await dead_letters(b.transport, b.queue.name), "it left the dead-letter queue"


@needs("redrive")
async def a_redrive_takes_only_what_it_names(harness: Harness) -> None:
    async with bench(harness) as b, b.reader() as reader:
        sent = await kill(b, reader, 3)
        moved = await redrive(b.transport, b.queue.name, sent[1].id, harness.name("unknown"))
        assert moved == [sent[1].id], f"one of the two is there, but {moved} moved"
        assert ids(await reader.drain(1)) == [sent[1].id], "another one was sent back"
        left = [dead.message.id for dead in await dead_letters(b.transport, b.queue.name)]
        assert left == [sent[0].id, sent[2].id], "the others stay"


@needs("redrive")
async def a_purge_deletes_only_what_it_names(harness: Harness) -> None:
    async with bench(harness) as b, b.reader() as reader:
        sent = await kill(b, reader, 3)
        assert await purge(b.transport, b.queue.name, sent[0].id) == 1, "one was named"
        assert await purge(b.transport, b.queue.name) == 2, "two were left"
        assert await purge(b.transport, b.queue.name) == 0, "nothing was left"
        assert not await redrive(b.transport, b.queue.name), "nothing was left"
        await reader.nothing("all were purged")


@needs("redrive")
async def queues_that_share_a_dead_letter_queue_see_their_own(harness: Harness) -> None:
    shared = DeadLetterQueue(harness.name("morgue"))
    async with bench(harness, dead_letter=shared) as one, bench(harness, dead_letter=shared) as two:
        async with one.reader() as first, two.reader() as second:
            [mine] = await kill(one, first, 1)
            [theirs] = await kill(two, second, 1)
        for b, each in ((one, mine), (two, theirs)):
            found = [dead.message.id for dead in await dead_letters(b.transport, b.queue.name)]
            assert found == [each.id], f"{b.queue.name} has the dead letters {found}"


async def a_dead_letter_queue_is_a_queue(harness: Harness) -> None:
    async with bench(harness) as b, b.reader() as reader, graveyard(b) as grave:
        sent = await kill(b, reader, 2)
        held = await grave.get(2)
        assert ids(held) == ids_of(sent), "the dead letters come in their order"
        await grave.settle(ACK, held[0])
        await grave.settle(RELEASE, held[1])
        assert ids(await grave.drain(1)) == [sent[1].id], "what was released comes again"
        stats = await b.transport.stats(grave.lanes[0].source)
        assert stats.ready in {0, None}, f"both are gone, but {stats.ready} wait"


@asynccontextmanager
async def graveyard(b: Bench) -> AsyncIterator[Reader]:
    """A reader of the queue's dead letters."""
    assert b.queue.dead_letter_name is not None
    async with b.reader(QueueSource(b.queue.dead_letter_name)) as reader:
        yield reader


async def a_dead_letter_that_had_expired_can_be_read_there(harness: Harness) -> None:
    async with bench(harness) as b, b.reader() as reader, graveyard(b) as grave:
        sent = b.message(expires=b.now - 1.0)
        await b.send(sent)
        await reader.settle(DeadLetter(Reason.EXPIRED), await reader.one())
        [dead] = await grave.drain(1)
        assert dead.message.id == sent.id, "the expired message is kept"
        assert not dead.flags, f"it has been given up already: flagged {dead.flags} it would be given up again"


async def a_full_dead_letter_queue_blocks_and_loses_nothing(harness: Harness) -> None:
    async with bench(harness, dead_letter=DeadLetterQueue(max_length=1)) as b, b.reader() as reader:
        sent = await b.send_some(2)
        first, second = await reader.get(2)
        await reader.settle(FAILED, first)
        await reader.settle(FAILED, second, want=Settled.FAILED)
        assert not second.lost, "what could not be dead-lettered is still ours"
        async with graveyard(b) as grave:
            assert ids(await grave.drain(1)) == [sent[0].id], "the first one is there"
            await reader.settle(FAILED, second)
            assert ids(await grave.drain(1)) == [sent[1].id], "now there is room for the second"


async def without_a_dead_letter_queue_a_message_blocks(harness: Harness) -> None:
    async with bench(harness, dead_letter=False) as b, b.reader() as reader:
        [sent] = await b.send_some(1)
        delivery = await reader.one()
        await reader.settle(FAILED, delivery, want=Settled.FAILED)
        await reader.settle(RELEASE, delivery)
        assert ids(await reader.drain(1)) == [sent.id], "it is still there"


@needs("redrive")
async def a_dead_letter_is_kept_as_long_as_its_owner_asked(harness: Harness) -> None:
    async with bench(harness, dead_letter=DeadLetterQueue(ttl=2 * harness.step)) as b, b.reader() as reader:
        await kill(b, reader, 1)
        assert len(await dead_letters(b.transport, b.queue.name)) == 1, "it is kept for a while"
        await harness.advance(3 * harness.step)
        assert not await dead_letters(b.transport, b.queue.name), "it is not kept longer than asked"


SCENARIOS: tuple[Scenario, ...] = (
    a_dead_letter_says_what_happened,
    dead_letters_are_listed_oldest_first,
    a_redrive_starts_a_new_run_at_attempt_one,
    a_redrive_takes_only_what_it_names,
    a_purge_deletes_only_what_it_names,
    queues_that_share_a_dead_letter_queue_see_their_own,
    a_dead_letter_queue_is_a_queue,
    a_dead_letter_that_had_expired_can_be_read_there,
    a_full_dead_letter_queue_blocks_and_loses_nothing,
    without_a_dead_letter_queue_a_message_blocks,
    a_dead_letter_is_kept_as_long_as_its_owner_asked,
)
