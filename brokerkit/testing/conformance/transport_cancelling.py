"""Removing a message that has not started: truthfully."""

from __future__ import annotations

import msgspec

from brokerkit.abilities import NOTHING_REMOVED, CancelWaiting, Removed
from brokerkit.message import Outgoing
from brokerkit.outcome import ACK, RELEASE, Redeliver
from brokerkit.records import TaskStatus
from brokerkit.testing.conformance.bench import Bench, bench, ids, record
from brokerkit.testing.conformance.harness import Harness, Scenario, needs


async def _cancel(b: Bench, message_id: str, *, after_run: int = 0) -> Removed:
    assert isinstance(b.transport, CancelWaiting), "cancel is declared, but the transport is no CancelWaiting"
    return await b.transport.cancel(message_id, after_run=after_run)


def _is_removed(answer: Removed, message_id: str) -> bool:
    return answer.message is not None and answer.message.id == message_id and not answer.held


@needs("cancel")
async def a_waiting_message_can_be_removed(harness: Harness) -> None:
    async with bench(harness) as b:
        sent = await b.send_some(3)
        answer = await _cancel(b, sent[1].id)
        assert answer == Removed(sent[1]), f"it waits, but cancelling answered {answer}"
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
        assert answer == Removed(gone), f"it is delayed, but cancelling answered {answer}"
        await harness.advance(harness.step)
        assert ids(await reader.drain(1)) == [kept.id], "the other one comes"
        await reader.nothing("one was cancelled")


@needs("cancel", "delayed")
async def a_retry_that_waits_can_be_removed(harness: Harness) -> None:
    async with bench(harness) as b, b.reader() as reader:
        [sent] = await b.send_some(1)
        await reader.settle(Redeliver(harness.step, attempt=2), await reader.one())
        answer = await _cancel(b, sent.id)
        assert _is_removed(answer, sent.id), f"its retry waits, but cancelling answered {answer}"
        assert answer.message is not None
        assert answer.message.attempt == 2, f"what was removed is attempt {answer.message.attempt}"
        await harness.advance(2 * harness.step)
        await reader.nothing("the retry was cancelled")


@needs("cancel")
async def a_message_in_hand_cannot_be_removed(harness: Harness) -> None:
    async with bench(harness) as b, b.reader() as reader:
        [sent] = await b.send_some(1)
        delivery = await reader.one()
        answer = await _cancel(b, sent.id)
        assert answer == Removed(sent, held=True), f"it is in a worker's hands, but cancelling answered {answer}"
        await reader.settle(RELEASE, delivery)
        answer = await _cancel(b, sent.id)
        assert answer == Removed(sent), f"it waits again, but cancelling answered {answer}"
        await reader.nothing("it was cancelled")


@needs("cancel")
async def what_is_done_or_unknown_is_not_found(harness: Harness) -> None:
    async with bench(harness) as b, b.reader() as reader:
        [sent] = await b.send_some(1)
        await reader.settle(ACK, await reader.one())
        for message_id in (sent.id, harness.name("unknown")):
            answer = await _cancel(b, message_id)
            assert answer == NOTHING_REMOVED, f"nothing is there, but cancelling answered {answer}"


@needs("cancel", "atomic_records")
async def a_removal_is_in_its_record(harness: Harness) -> None:
    async with bench(harness) as b, b.reader() as reader:
        store = harness.store(b.transport)
        waiting = b.message()
        pending = record(waiting, b.queue.name)
        await b.transport.publish([Outgoing(waiting, "", b.queue.name, pending)], deadline=10)
        running = msgspec.structs.replace(pending, status=TaskStatus.RUNNING, deliveries=1, metadata={"a": 1})
        await store.put([running])
        await reader.settle(RELEASE, await reader.one())
        assert _is_removed(await _cancel(b, waiting.id), waiting.id), "it waits"
        [stored] = await store.get([waiting.id])
        assert stored is not None, "its record is gone"
        assert stored.status is TaskStatus.CANCELLED, f"it was cancelled, but its record says {stored.status}"
        assert stored.finished is not None, "it says when"
        assert (stored.fence, stored.metadata) == (running.fence, {"a": 1}), f"all else stays as it was: {stored}"


@needs("cancel", "atomic_records")
async def a_removal_leaves_no_record_where_there_was_none(harness: Harness) -> None:
    async with bench(harness) as b:
        [waiting] = await b.send_some(1)
        for message_id in (waiting.id, harness.name("unknown")):
            await _cancel(b, message_id)
            assert list(await harness.store(b.transport).get([message_id])) == [None], "no record was kept"


@needs("cancel", "atomic_records")
async def a_run_that_is_over_is_not_cancelled(harness: Harness) -> None:
    async with bench(harness) as b:
        store = harness.store(b.transport)
        first, second = b.message(), b.message(run=2)
        done = [record(each, b.queue.name, TaskStatus.FAILURE) for each in (first, second)]
        await store.put([msgspec.structs.replace(each, run=1) for each in done])
        await b.send(first, second)
        assert await _cancel(b, first.id, after_run=1) == NOTHING_REMOVED, "its run had ended"
        assert await _cancel(b, second.id, after_run=1) == Removed(second), "a later run waits"
        records = await store.get([first.id, second.id])
        found = [(each.run, each.status) for each in records if each is not None]
        assert found == [(1, TaskStatus.FAILURE), (2, TaskStatus.CANCELLED)], f"the records say {found}"


@needs("cancel")
async def cancelling_many_leaves_the_rest_in_order(harness: Harness) -> None:
    async with bench(harness) as b, b.reader() as reader:
        sent = await b.send_some(300)
        for each in sent[::3] + sent[1::3]:
            answer = await _cancel(b, each.id)
            assert answer == Removed(each), f"it waits, but cancelling answered {answer}"
        assert ids(await reader.drain(100)) == [each.id for each in sent[2::3]], "every third one is left, in order"
        await reader.nothing("the others were cancelled")


SCENARIOS: tuple[Scenario, ...] = (
    a_waiting_message_can_be_removed,
    a_delayed_message_can_be_removed,
    a_retry_that_waits_can_be_removed,
    a_message_in_hand_cannot_be_removed,
    what_is_done_or_unknown_is_not_found,
    a_removal_is_in_its_record,
    a_removal_leaves_no_record_where_there_was_none,
    a_run_that_is_over_is_not_cancelled,
    cancelling_many_leaves_the_rest_in_order,
)
