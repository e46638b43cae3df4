"""Waiters and those who wait: what arrives is kept, whoever waits hears of it, once."""

from __future__ import annotations

import asyncio

import pytest

from brokerkit.client.waiting import Waiter, WaitSet, Watch
from brokerkit.message import MSGPACK
from brokerkit.records import TaskRecord, TaskStatus
from brokerkit.replies import Reply


def reply(run: int = 1, task_id: str = "t-1") -> Reply:
    return Reply(task_id, run, TaskStatus.SUCCESS, b"\x01", MSGPACK, None, 1)


def record(status: TaskStatus, run: int = 1, **fields: object) -> TaskRecord:
    return TaskRecord(id="t-1", name="n", queue="q", status=status, run=run, **fields)  # type: ignore[arg-type]


def waiters(count: int) -> list[Waiter]:
    return [Waiter(f"t-{number}", expected=True) for number in range(count)]


def test_a_reply_that_nobody_waits_for_is_kept() -> None:
    waiter = Waiter("t-1", expected=True)
    waiter.resolve(reply())
    assert waiter.reply == reply()


def test_an_earlier_run_does_not_replace_a_later_one() -> None:
    waiter = Waiter("t-1")
    waiter.resolve(reply(run=2))
    waiter.resolve(reply(run=1))
    assert waiter.reply == reply(run=2)


def test_what_was_sent_back_is_waited_for_anew_whatever_comes_late_of_the_earlier_run() -> None:
    waiter = Waiter("t-1")
    waiter.resolve(reply())
    waiter.rerun(2)
    assert waiter.reply is None
    waiter.resolve(reply())
    assert waiter.reply is None
    waiter.see(record(TaskStatus.FAILURE))
    assert waiter.reply is None
    waiter.resolve(reply(run=2))
    assert waiter.reply == reply(run=2)


def test_a_record_of_a_later_run_says_that_it_was_sent_back() -> None:
    waiter = Waiter("t-1")
    waiter.resolve(reply())
    waiter.see(record(TaskStatus.PENDING, run=2))
    assert waiter.reply is None


async def test_those_who_have_ended_come_in_that_order_each_once() -> None:
    first, second, third = waiters(3)
    third.resolve(reply(task_id=third.id))
    waits = WaitSet([first, second, third])
    assert await waits.next() == [third]
    second.resolve(reply(task_id=second.id))
    first.resolve(reply(task_id=first.id))
    second.resolve(reply(task_id=second.id))
    assert await waits.next() == [second, first]
    assert await waits.next() == [], "all have ended"


async def test_several_may_wait_for_one_task() -> None:
    [waiter] = waiters(1)
    sets = [WaitSet([waiter]) for _ in range(3)]
    async with asyncio.TaskGroup() as group:
        waiting = [group.create_task(waits.next()) for waits in sets]
        await asyncio.sleep(0)
        sets[0].close()
        sets[0].finish()
        waiter.resolve(reply(task_id=waiter.id))
    assert [task.result() for task in waiting] == [[], [waiter], [waiter]]


async def test_the_store_that_knows_nothing_ends_a_wait_only_where_no_reply_can_come() -> None:
    stranger, [ours] = Waiter("t-x"), waiters(1)
    waits = WaitSet([stranger, ours])
    stranger.see(None)
    ours.see(None)
    assert await waits.next() == [stranger]
    assert stranger.reply is None
    assert list(waits.pending) == [ours.id]


async def test_a_wait_that_cannot_go_on_raises_also_when_it_is_taken_up_later() -> None:
    waits = WaitSet(waiters(1))
    waits.fail(RuntimeError("closed"))
    for _ in range(2):
        with pytest.raises(RuntimeError, match="closed"):
            await waits.next()


async def test_a_cancelled_wait_can_be_taken_up_again() -> None:
    [waiter] = waiters(1)
    waits = WaitSet([waiter])
    async with asyncio.TaskGroup() as group:
        given_up = group.create_task(waits.next())
        await asyncio.sleep(0)
        given_up.cancel()
    waiter.resolve(reply(task_id=waiter.id))
    assert await waits.next() == [waiter]


def test_a_wait_that_is_over_is_told_of_nothing_more() -> None:
    [waiter] = waiters(1)
    waits = WaitSet([waiter])
    waits.close()
    waiter.resolve(reply(task_id=waiter.id))
    assert waiter._sets == ()


async def test_a_watch_shows_each_record_once_and_looks_again_soon_when_it_has_changed() -> None:
    waiter = Waiter("t-1")
    watch = Watch(waiter)
    pending, running = record(TaskStatus.PENDING), record(TaskStatus.RUNNING, progress=0.5)
    waiter.see(pending)
    watch.pause = 2.0
    waiter.see(pending)
    assert watch.pause == 2.0
    assert await watch.change() == pending
    waiter.see(running)
    assert watch.pause == 0.0
    assert await watch.change() == running
    waiter.see(record(TaskStatus.SUCCESS))
    assert await watch.change() == record(TaskStatus.SUCCESS)
    assert await watch.change() is None, "it has ended"
