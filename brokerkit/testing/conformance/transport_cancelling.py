"""Removing a message that has not started: truthfully."""

from __future__ import annotations

from brokerkit.abilities import Cancelled, CancelWaiting
from brokerkit.outcome import ACK, RELEASE, Redeliver
from brokerkit.records import TaskStatus
from brokerkit.testing.conformance.bench import Bench, bench, ids, record
from brokerkit.testing.conformance.harness import Harness, Scenario, needs


async def _cancel(b: Bench, message_id: str) -> Cancelled:
    assert isinstance(b.transport, CancelWaiting), "cancel is declared, but the transport is no CancelWaiting"
    return await b.transport.cancel(message_id, None)


@needs("cancel")
async def a_waiting_message_can_be_removed(harness: Harness) -> None:
    async with bench(harness) as b:
        sent = await b.send_some(3)
        answer = await _cancel(b, sent[1].id)
        assert answer is Cancelled.REMOVED, f"it waits, but cancelling answered {answer}"
        stats = await b.transport.stats(b.queue.name)
        assert stats.ready in {2, None}, f"two are left, not {stats.ready}"
        async with b.reader() as reader:
            assert ids(await reader.drain(2)) == [sent[0].id, sent[2].id], "the others are untouched"
            await reader.nothing("one was cancelled")


@needs("cancel", "delayed")
async def a_delayed_message_can_be_removed(harness: Harness) -> None:
    async with bench(harness) as b, b.reader() as reader:
        gone, kept = b.message(due=b.now + harness.step), b.message(due=b.now + harness.step)
        await b.send(gone, kept)
        answer = await _cancel(b, gone.id)
        assert answer is Cancelled.REMOVED, f"it is delayed, but cancelling answered {answer}"
        await harness.advance(harness.step)
        assert ids(await reader.drain(1)) == [kept.id], "the other one comes"
        await reader.nothing("one was cancelled")


@needs("cancel", "delayed")
async def a_retry_that_waits_can_be_removed(harness: Harness) -> None:
    async with bench(harness) as b, b.reader() as reader:
        [sent] = await b.send_some(1)
        await reader.settle(Redeliver(harness.step, attempt=2), await reader.one())
        answer = await _cancel(b, sent.id)
        assert answer is Cancelled.REMOVED, f"its retry waits, but cancelling answered {answer}"
        await harness.advance(2 * harness.step)
        await reader.nothing("the retry was cancelled")


@needs("cancel")
async def a_message_in_hand_cannot_be_removed(harness: Harness) -> None:
    async with bench(harness) as b, b.reader() as reader:
        [sent] = await b.send_some(1)
        delivery = await reader.one()
        answer = await _cancel(b, sent.id)
        assert answer is Cancelled.NOT_FOUND, f"it is in a worker's hands, but cancelling answered {answer}"
        await reader.settle(RELEASE, delivery)
        answer = await _cancel(b, sent.id)
        assert answer is Cancelled.REMOVED, f"it waits again, but cancelling answered {answer}"
        await reader.nothing("it was cancelled")


@needs("cancel")
async def what_is_done_or_unknown_is_not_found(harness: Harness) -> None:
    async with bench(harness) as b, b.reader() as reader:
        [sent] = await b.send_some(1)
        await reader.settle(ACK, await reader.one())
        for message_id in (sent.id, harness.name("unknown")):
            answer = await _cancel(b, message_id)
            assert answer is Cancelled.NOT_FOUND, f"nothing is there, but cancelling answered {answer}"


@needs("cancel", "atomic_records")
async def a_removal_stores_its_record(harness: Harness) -> None:
    async with bench(harness) as b:
        assert isinstance(b.transport, CancelWaiting), "cancel is declared"
        store = harness.store(b.transport)
        [waiting] = await b.send_some(1)
        cancelled = record(waiting, b.queue.name, TaskStatus.CANCELLED)
        assert await b.transport.cancel(waiting.id, cancelled) is Cancelled.REMOVED, "it waits"
        [stored] = await store.get([waiting.id])
        assert stored is not None, "its record was not stored"
        assert stored.status is TaskStatus.CANCELLED, f"it was cancelled, but its record says {stored.status}"
        unknown = b.message()
        answer = await b.transport.cancel(unknown.id, record(unknown, b.queue.name, TaskStatus.CANCELLED))
        assert answer is Cancelled.NOT_FOUND, f"it was never sent, but cancelling answered {answer}"
        assert list(await store.get([unknown.id])) == [None], "no removal, no record"


@needs("cancel")
async def cancelling_many_leaves_the_rest_in_order(harness: Harness) -> None:
    async with bench(harness) as b, b.reader() as reader:
        sent = await b.send_some(300)
        for each in sent[::3] + sent[1::3]:
            answer = await _cancel(b, each.id)
            assert answer is Cancelled.REMOVED, f"it waits, but cancelling answered {answer}"
        assert ids(await reader.drain(100)) == [each.id for each in sent[2::3]], "every third one is left, in order"
        await reader.nothing("the others were cancelled")


SCENARIOS: tuple[Scenario, ...] = (
    a_waiting_message_can_be_removed,
    a_delayed_message_can_be_removed,
    a_retry_that_waits_can_be_removed,
    a_message_in_hand_cannot_be_removed,
    what_is_done_or_unknown_is_not_found,
    a_removal_stores_its_record,
    cancelling_many_leaves_the_rest_in_order,
)
