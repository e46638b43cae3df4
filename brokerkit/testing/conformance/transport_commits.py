"""Records, follow-ups and outcomes in one step."""

from __future__ import annotations

import asyncio

import msgspec

from brokerkit.abilities import AtomicCommit, Committed, Unit
from brokerkit.delivery import Delivery, QueueSource
from brokerkit.message import Message, Outgoing
from brokerkit.outcome import ACK, DeadLetter, Outcome, Reason, Redeliver
from brokerkit.records import Attempt, ErrorInfo, TaskStatus
from brokerkit.store import Put
from brokerkit.testing.conformance.bench import Bench, Reader, bench, ids, record
from brokerkit.testing.conformance.harness import Harness, Scenario, needs
from brokerkit.topology import Queue, Topology
from brokerkit.transport import Published

OVERSIZE = 2 << 20
"""Bytes of a result that no store of default settings takes."""


def unit(b: Bench, delivery: Delivery, *followups: Outgoing, result: bytes = b"ok") -> Unit:
    """A successful delivery with its report."""
    report = record(delivery.message, b.queue.name, TaskStatus.SUCCESS, deliveries=delivery.deliveries, result=result)
    return Unit(delivery, ACK, report, followups)


def second(first: Unit) -> Unit:
    """Its report as that of a second attempt."""
    assert first.record is not None
    return msgspec.structs.replace(first, record=msgspec.structs.replace(first.record, attempt=2))


async def commit(b: Bench, *units: Unit) -> list[Committed]:
    assert isinstance(b.transport, AtomicCommit), "atomic_commit is declared, but the transport is no AtomicCommit"
    return list(await b.transport.commit(units))


async def status(b: Bench, each: Message) -> TaskStatus | None:
    [found] = await b.harness.store(b.transport).get([each.id])
    return found.status if found is not None else None


@needs("atomic_records")
async def a_record_is_stored_with_its_message_or_not_at_all(harness: Harness) -> None:
    async with bench(harness, max_length=1) as b:
        sent, lost, refused = b.message(), b.message(), b.message()
        nowhere = harness.name("no-such-queue")
        answers = await b.publish(
            [
                Outgoing(sent, "", b.queue.name, record(sent, b.queue.name)),
                Outgoing(lost, "", nowhere, record(lost, nowhere)),
                Outgoing(refused, "", b.queue.name, record(refused, b.queue.name)),
            ]
        )
        wanted = [Published.CONFIRMED, Published.UNROUTABLE, Published.FULL]
        assert answers == wanted, f"publishing answered {answers}"
        found = [await status(b, each) for each in (sent, lost, refused)]
        assert found == [TaskStatus.PENDING, None, None], f"their records say {found}"


@needs("atomic_commit")
async def a_commit_stores_publishes_and_settles(harness: Harness) -> None:
    async with bench(harness) as b, bench(harness) as next_step, b.reader() as reader:
        [sent] = await b.send_some(1)
        follow = b.message(parent=sent.id)
        outgoing = Outgoing(follow, "", next_step.queue.name, record(follow, next_step.queue.name))
        answers = await commit(b, unit(b, await reader.one(), outgoing))
        assert answers == [Committed.DONE], f"committing answered {answers}"
        await reader.nothing("it was acknowledged")
        assert await status(b, sent) is TaskStatus.SUCCESS, "its report was not stored"
        assert await status(b, follow) is TaskStatus.PENDING, "the follow-up's record was not stored"
        async with next_step.reader() as there:
            assert ids(await there.drain(1)) == [follow.id], "the follow-up was not published"


@needs("atomic_commit")
async def every_outcome_can_be_committed(harness: Harness) -> None:
    async with bench(harness) as b, b.reader() as reader:
        await b.send_some(3)
        held = await reader.get(3)
        outcomes: tuple[Outcome, ...] = (ACK, Redeliver(0, attempt=2), DeadLetter(Reason.FAILED, "no"))
        answers = await commit(b, *(Unit(each, outcome) for each, outcome in zip(held, outcomes, strict=True)))
        assert answers == [Committed.DONE] * 3, f"committing answered {answers}"
        again = await reader.one()
        assert (again.message.id, again.message.attempt) == (held[1].message.id, 2), "the retry comes"
        stats = await b.transport.stats(b.queue.name)
        assert stats.dead in {1, None}, f"one is dead, not {stats.dead}"


@needs("atomic_commit")
async def units_of_one_commit_are_independent(harness: Harness) -> None:
    async with bench(harness) as b, bench(harness, max_length=1) as full, b.reader() as reader:
        await full.send_some(1)
        await b.send_some(7)
        held = await reader.get(7)
        await reader.settle(ACK, held[1])
        units = await _one_of_each(b, held, full.queue.name)
        wanted = [
            Committed.DONE,
            Committed.LOST,
            Committed.STALE,
            Committed.TOO_LARGE,
            Committed.UNROUTABLE,
            Committed.FULL,
            Committed.DONE,
        ]
        answers = await commit(b, *units)
        assert answers == wanted, f"committing answered {answers}"
        await _nothing_written(b, reader, units, wanted)
        async with full.reader() as there:
            await there.drain(1)
            await there.nothing("no follow-up of a unit that failed leaves")


async def _one_of_each(b: Bench, held: list[Delivery], full: str) -> list[Unit]:
    """Units with one kind of trouble each, and a follow-up that would leave if they were committed."""
    store = b.harness.store(b.transport)
    newer = record(held[2].message, b.queue.name, TaskStatus.RUNNING, deliveries=9)
    assert list(await store.put([newer])) == [Put.STORED], "the newer report was not stored"
    spare = Queue(b.harness.name("spare"))
    await b.transport.apply(Topology(b.harness.name("app"), queues=[spare]))
    extra = [Outgoing(b.message(), "", spare.name) for _ in held]
    bad = Outgoing(b.message(), "", b.harness.name("no-such-queue"))
    return [
        unit(b, held[0]),
        unit(b, held[1], extra[1]),
        unit(b, held[2], extra[2]),
        unit(b, held[3], extra[3], result=bytes(OVERSIZE)),
        unit(b, held[4], extra[4], bad),
        unit(b, held[5], extra[5], Outgoing(b.message(), "", full)),
        unit(b, held[6]),
    ]


async def _nothing_written(b: Bench, reader: Reader, units: list[Unit], answers: list[Committed]) -> None:
    """Of a unit that was not committed neither record nor follow-up is there, and its delivery is still ours."""
    for each, answer in zip(units, answers, strict=True):
        found = await status(b, each.delivery.message)
        done = answer is Committed.DONE
        assert (found is TaskStatus.SUCCESS) == done, f"committing answered {answer}, but its record says {found}"
        if not done:
            spare = each.followups[0].routing_key
            async with b.reader(QueueSource(spare)) as there:
                await there.nothing(f"committing answered {answer}: its follow-ups stay")
        if answer not in {Committed.DONE, Committed.LOST}:
            await reader.settle(ACK, each.delivery)
    await reader.nothing("everything was settled")


@needs("atomic_commit")
async def a_follow_up_to_nobodys_inbox_is_unroutable(harness: Harness) -> None:
    async with bench(harness) as b, b.reader() as reader:
        await b.send_some(1)
        delivery = await reader.one()
        async with b.transport.replies() as inbox:
            address = inbox.address
        gone = Outgoing(b.message(), "", address)
        answers = await commit(b, unit(b, delivery, gone))
        assert answers == [Committed.UNROUTABLE], f"the caller has gone, but committing answered {answers}"
        async with b.transport.replies() as inbox:
            reply = b.message()
            answers = await commit(b, unit(b, delivery, Outgoing(reply, "", inbox.address)))
            assert answers == [Committed.DONE], f"the caller waits, but committing answered {answers}"
            assert [each.id for each in await inbox.receive()] == [reply.id], "the reply did not arrive"


@needs("atomic_commit")
async def a_dead_letter_that_finds_no_room_is_not_committed(harness: Harness) -> None:
    async with bench(harness, dead_letter=False) as b, b.reader() as reader:
        [sent] = await b.send_some(1)
        delivery = await reader.one()
        report = record(sent, b.queue.name, TaskStatus.FAILURE, deliveries=1)
        answers = await commit(b, Unit(delivery, DeadLetter(Reason.FAILED), report))
        assert answers == [Committed.FAILED], f"there is no dead-letter queue, but committing answered {answers}"
        assert await status(b, sent) is None, "nothing of it is written"
        assert not delivery.lost, "it is still ours"
        await reader.settle(ACK, delivery)


@needs("atomic_commit")
async def what_is_stale_is_stale_whatever_else_is_wrong(harness: Harness) -> None:
    async with bench(harness) as b, b.reader() as reader:
        [sent] = await b.send_some(1)
        delivery = await reader.one()
        store = harness.store(b.transport)
        await store.put([record(sent, b.queue.name, TaskStatus.SUCCESS, deliveries=9)])
        nowhere = Outgoing(b.message(), "", harness.name("no-such-queue"))
        answers = await commit(b, unit(b, delivery, nowhere, result=bytes(OVERSIZE)))
        assert answers == [Committed.STALE], f"somebody else has finished the task, but committing answered {answers}"
        await reader.settle(ACK, delivery)


@needs("atomic_commit")
async def what_a_record_knows_already_stays_when_the_outcome_is_committed(harness: Harness) -> None:
    async with bench(harness) as b, b.reader() as reader:
        for alone in (True, False):
            sent = await b.send_some(1 if alone else 3)
            error = ErrorInfo("ValueError", "no")
            failed = Attempt(number=1, worker="w", started=b.now, finished=b.now, error=error)
            known = record(sent[0], b.queue.name, TaskStatus.RETRY, attempts=(failed,), metadata={"state": "charged"})
            store = b.harness.store(b.transport)
            assert list(await store.put([known])) == [Put.STORED]
            async with asyncio.timeout(harness.patience):
                done = await commit(b, *[second(unit(b, delivery)) for delivery in await reader.get(len(sent))])
            assert done == [Committed.DONE] * len(sent)
            [found] = await store.get([sent[0].id])
            assert found is not None
            assert found.status is TaskStatus.SUCCESS
            assert [attempt.number for attempt in found.attempts] == [1], "the failed attempt is forgotten"
            assert found.metadata == {"state": "charged"}, "its labels are forgotten"


SCENARIOS: tuple[Scenario, ...] = (
    a_record_is_stored_with_its_message_or_not_at_all,
    a_commit_stores_publishes_and_settles,
    every_outcome_can_be_committed,
    units_of_one_commit_are_independent,
    what_is_stale_is_stale_whatever_else_is_wrong,
    a_follow_up_to_nobodys_inbox_is_unroutable,
    a_dead_letter_that_finds_no_room_is_not_committed,
    what_a_record_knows_already_stays_when_the_outcome_is_committed,
)
