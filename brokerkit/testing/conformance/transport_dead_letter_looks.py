"""Looks into dead-letter queues: each entry once, nothing changed by looking, nothing moved twice or lost."""

from __future__ import annotations

import asyncio

from brokerkit.abilities import DeadEntry, Redriven
from brokerkit.delivery import Flag
from brokerkit.message import Outgoing
from brokerkit.outcome import DeadLetter, Reason
from brokerkit.testing.conformance.bench import Bench, bench, dead_letters, ids, ids_of, looking, purge, redrive, seen
from brokerkit.testing.conformance.harness import Harness, Injector, Scenario, needs
from brokerkit.testing.conformance.transport_dead_letters import FAILED, kill


def names(entries: list[DeadEntry]) -> list[str]:
    return [entry.dead.message.id for entry in entries]


@needs("redrive")
async def a_look_shows_each_entry_once(harness: Harness) -> None:
    async with bench(harness) as b, b.reader() as reader:
        sent = await kill(b, reader, 10)
        async with looking(b.transport, b.queue.name) as view:
            assert names(await seen(view)) == ids_of(sent), "ten are dead, and come in their order"
            assert not await view.next(3), "a look ends once"
            assert view.complete, "all were seen"


@needs("redrive")
async def looking_changes_nothing(harness: Harness) -> None:
    async with bench(harness) as b, b.reader() as reader:
        await kill(b, reader, 4)
        before = await dead_letters(b.transport, b.queue.name)
        async with looking(b.transport, b.queue.name) as view:
            await view.next(2)
        after = await dead_letters(b.transport, b.queue.name)
        assert len(after) == len(before), "none is lost and none is there twice"
        assert all(dead in before for dead in after), "they are as they were"
        await reader.nothing("nobody sent one back")


@needs("redrive")
async def what_dies_again_during_a_look_is_not_seen_again(harness: Harness) -> None:
    async with bench(harness) as b, b.reader() as reader:
        sent = await kill(b, reader, 3)
        async with looking(b.transport, b.queue.name) as view:
            first = list(await view.next(1))
            assert await view.redrive(first) == [Redriven.DONE], "it is there"
            await harness.advance(harness.step / 10)
            await reader.settle(FAILED, await reader.one())
            assert names(first + await seen(view)) == ids_of(sent), "each is seen once, or it would never end"
        found = await dead_letters(b.transport, b.queue.name)
        assert sorted(dead.message.id for dead in found) == sorted(ids_of(sent)), "none is lost"
        runs = {dead.message.id: dead.message.run for dead in found}
        assert runs[sent[0].id] == 2, "it has died in its second run"


@needs("redrive")
async def two_who_look_do_not_send_the_same_back_twice(harness: Harness) -> None:
    async with bench(harness) as b, b.reader() as reader, harness.connect() as other:
        await kill(b, reader, 2)
        async with looking(b.transport, b.queue.name) as mine, looking(other, b.queue.name) as theirs:
            there, also = await seen(mine), await seen(theirs)
            first = list(await theirs.redrive(also))
            second = list(await mine.redrive(there))
            assert (first + second).count(Redriven.DONE) == 2, f"each moves once, not {first} and {second}"
            assert Redriven.REFUSED not in first + second, "there is room"
        assert len(await reader.drain(2)) == 2, "two were sent back"
        await reader.nothing("each was sent back once")


@needs("redrive")
async def a_queue_without_room_refuses_and_nothing_is_lost(harness: Harness) -> None:
    async with bench(harness, max_length=1) as b:
        async with b.reader() as reader:
            sent = [(await kill(b, reader, 1))[0], (await kill(b, reader, 1))[0]]
        async with looking(b.transport, b.queue.name) as view:  # nobody reads: what a broker has pushed leaves room
            one, two = await view.next(2)
            assert await view.redrive([one]) == [Redriven.DONE], "there is room for one"
            assert await view.redrive([two]) == [Redriven.REFUSED], "there is none for two"
        left = [dead.message.id for dead in await dead_letters(b.transport, b.queue.name)]
        assert left == [sent[1].id], "what found no room is still dead"
        async with b.reader() as reader:
            assert ids(await reader.drain(1)) == [sent[0].id], "the first was sent back"
        assert await redrive(b.transport, b.queue.name) == [sent[1].id], "now there is room"


@needs("redrive")
async def a_look_ends_with_its_process_and_loses_nothing(harness: Harness) -> None:
    async with bench(harness) as b, b.reader() as reader:
        sent = await kill(b, reader, 4)
        transport = await harness.connect().__aenter__()
        async with looking(transport, b.queue.name) as view:
            await view.redrive(await view.next(1))
            assert await view.next(2), "it holds some of them where it has to"
            await harness.crash(transport)
        assert len(await reader.drain(1)) == 1, "one was sent back"
        await there_are(b, 3)
        left = [dead.message.id for dead in await dead_letters(b.transport, b.queue.name)]
        assert sorted(left) == sorted(ids_of(sent[1:])), "the others are dead letters as before"


async def there_are(b: Bench, count: int) -> None:
    """Wait until so many dead letters are seen: a broker may notice the end of a process a moment later."""
    async with asyncio.timeout(b.harness.patience):
        while len(await dead_letters(b.transport, b.queue.name)) != count:
            await b.harness.advance(b.harness.step / 10)


@needs("redrive")
async def what_others_put_there_is_seen_and_can_be_moved(harness: Harness) -> None:
    async with bench(harness) as b, b.reader() as reader:
        assert b.queue.dead_letter_name is not None
        strange, other = b.message(), b.message()
        for each in (strange, other):
            await b.publish([Outgoing(each, "", b.queue.dead_letter_name)])
        found = await dead_letters(b.transport, b.queue.name)
        assert [dead.message.id for dead in found] == [strange.id, other.id], "both are there"
        assert [dead.reason for dead in found] == [Reason.FOREIGN] * 2, "nobody knows why"
        assert [dead.source for dead in found] == [b.queue.name] * 2, "this queue's owner is who can do something"
        stats = await b.transport.stats(b.queue.name)
        assert stats.dead in {2, None}, f"two are dead, not {stats.dead}"
        assert await redrive(b.transport, b.queue.name, strange.id) == [strange.id], "it can be sent on"
        assert [each.message.run for each in await reader.drain(1)] == [2], "it arrives"
        assert await purge(b.transport, b.queue.name) == 1, "the other can be deleted"
        assert not await dead_letters(b.transport, b.queue.name), "none is left"


@needs("redrive")
async def what_cannot_be_read_is_seen_and_can_be_moved(harness: Harness) -> None:
    if not isinstance(harness, Injector):
        return
    async with bench(harness) as b, b.reader() as reader:
        for body in (b"\xc1\x00garbage\x1b[31m", b"\xff" * 40):
            await harness.inject(b.queue.name, body)
        broken = await reader.get(2)
        assert all(Flag.UNDECODABLE in each.flags for each in broken), "they cannot be read"
        await reader.settle(DeadLetter(Reason.DECODE_ERROR, "cannot be read"), *broken)
        found = await dead_letters(b.transport, b.queue.name)
        assert [dead.reason for dead in found] == [Reason.DECODE_ERROR] * 2, "both are there, with their reason"
        assert all(dead.message.id for dead in found), "each has an id to name it by"
        again = await dead_letters(b.transport, b.queue.name)
        assert [dead.message.id for dead in again] == [dead.message.id for dead in found], "the same in each look"
        async with looking(b.transport, b.queue.name) as view:
            assert await view.redrive(await view.next(1)) == [Redriven.DONE], "it can be sent back"
        assert len(await reader.drain(1)) == 1, "it arrives"
        assert await purge(b.transport, b.queue.name) == 1, "the other can be deleted"


SCENARIOS: tuple[Scenario, ...] = (
    a_look_shows_each_entry_once,
    looking_changes_nothing,
    what_dies_again_during_a_look_is_not_seen_again,
    two_who_look_do_not_send_the_same_back_twice,
    a_queue_without_room_refuses_and_nothing_is_lost,
    a_look_ends_with_its_process_and_loses_nothing,
    what_others_put_there_is_seen_and_can_be_moved,
    what_cannot_be_read_is_seen_and_can_be_moved,
)
