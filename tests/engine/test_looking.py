"""Looking into the store for what is waited for: in batches, with one timer, and a last time when the time is up."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence

import pytest

from brokerkit import App, Handle, StoreError, TaskNotFound
from brokerkit.client.looking import AT_ONCE, LONGEST_LOOK
from brokerkit.records import TaskRecord, TaskStatus
from brokerkit.stores.memory import MemoryStore
from brokerkit.testing import VirtualClock
from brokerkit.transports.memory import MemoryBroker, MemoryTransport

MANY = 100_000


class Watched(MemoryStore):
    """Remembers how many records were asked for at once, and may be out of order."""

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__(clock)
        self.looks: list[int] = []
        self.broken = False
        self.hangs = False

    async def get(self, ids: Sequence[str]) -> Sequence[TaskRecord | None]:
        self.looks.append(len(ids))
        if self.hangs:
            await asyncio.Event().wait()
        if self.broken:
            raise StoreError("the database is down")
        return await super().get(ids)


def make() -> tuple[VirtualClock, Watched, App]:
    clock = VirtualClock()
    store = Watched(clock)
    return clock, store, App(MemoryTransport(MemoryBroker(clock)), store=store, clock=clock)


def report(number: int, status: TaskStatus) -> TaskRecord:
    return TaskRecord(id=f"t-{number}", name="work", queue="default", status=status, result=b"\x01")


async def put(store: Watched, numbers: Iterable[int], status: TaskStatus) -> None:
    await store.put([report(number, status) for number in numbers])


async def test_however_many_are_waited_for_there_is_one_timer_and_no_task_of_theirs() -> None:
    clock, store, app = make()
    await put(store, range(MANY), TaskStatus.PENDING)
    async with app:
        handles = [app.handle(f"t-{number}") for number in range(MANY)]
        before = clock.pending
        waiting = asyncio.create_task(app.wait(handles, timeout=3600))
        await clock.settle()
        tasks = len(asyncio.all_tasks())
        assert clock.pending - before <= 2, "one for the end, one for the next look"
        await clock.advance(60)
        assert len(asyncio.all_tasks()) == tasks
        assert max(store.looks) == AT_ONCE
        assert sum(store.looks) <= 60 * 10_100, "nobody asks a store in vain for more"
        assert sum(store.looks) >= 5 * MANY, "everybody has a turn"
        await put(store, range(MANY), TaskStatus.SUCCESS)
        await clock.advance(2 * LONGEST_LOOK)
        done, pending = await waiting
    assert (len(done), pending) == (MANY, [])


async def test_who_waits_for_few_is_not_kept_waiting_by_who_waits_for_many() -> None:
    clock, store, app = make()
    await put(store, range(MANY), TaskStatus.PENDING)
    async with app:
        handles = [app.handle(f"t-{number}") for number in range(MANY)]
        many = asyncio.create_task(app.wait(handles, timeout=3600))
        await clock.advance(1)
        await put(store, [MANY], TaskStatus.SUCCESS)
        few = asyncio.create_task(app.handle(f"t-{MANY}").result(timeout=60))
        await clock.advance(0.1)
        assert few.done()
        many.cancel()


async def test_many_who_wait_for_one_each_share_their_looks() -> None:
    clock, store, app = make()
    await put(store, range(100), TaskStatus.PENDING)
    async with app:
        waiting = [asyncio.create_task(app.handle(f"t-{number}").result(timeout=60)) for number in range(100)]
        await clock.advance(1)
        assert len(store.looks) <= 6
        await put(store, range(100), TaskStatus.SUCCESS)
        await clock.advance(LONGEST_LOOK)
        assert await asyncio.gather(*waiting) == [1] * 100


async def test_looks_are_first_close_together_and_then_further_apart() -> None:
    clock, store, app = make()
    await put(store, [1], TaskStatus.PENDING)
    async with app:
        waiting = asyncio.create_task(app.handle("t-1").result(timeout=3600))
        counts = []
        for _ in range(4):
            before = len(store.looks)
            await clock.advance(1)
            counts.append(len(store.looks) - before)
        assert counts == [3, 1, 0, 1]
        waiting.cancel()


async def test_a_wait_without_time_still_looks_once() -> None:
    clock, store, app = make()
    await put(store, [1], TaskStatus.SUCCESS)
    await put(store, [2], TaskStatus.PENDING)
    async with app:
        handles = [app.handle("t-1"), app.handle("t-2")]
        waiting = asyncio.create_task(app.wait(handles, timeout=0))
        await clock.advance()
        assert await waiting == (handles[:1], handles[1:])


async def test_what_ends_right_before_the_time_is_up_is_seen() -> None:
    clock, store, app = make()
    await put(store, range(2 * AT_ONCE), TaskStatus.PENDING)
    async with app:
        handles = [app.handle(f"t-{number}") for number in range(2 * AT_ONCE)]
        waiting = asyncio.create_task(app.wait(handles, timeout=10))
        await clock.advance(9.99)
        await put(store, range(2 * AT_ONCE), TaskStatus.SUCCESS)
        await clock.advance(0.02)
        done, pending = await waiting
    assert (len(done), pending) == (2 * AT_ONCE, [])


async def test_a_store_that_is_down_is_asked_again_and_named_when_the_time_is_up(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock, store, app = make()
    await put(store, [1], TaskStatus.SUCCESS)
    store.broken = True
    async with app:
        with caplog.at_level(logging.WARNING, "brokerkit"):
            waiting = asyncio.create_task(app.handle("t-1").result(timeout=20))
            await clock.advance(21)
            with pytest.raises(TimeoutError, match="the task goes on; the store did not answer: the database is down"):
                await waiting
            waiting = asyncio.create_task(app.handle("t-1").result(timeout=20))
            await clock.advance(10)
            store.broken = False
            await clock.advance(LONGEST_LOOK)
            assert await waiting == 1
    assert caplog.text.count("the database is down") == 1, "it is said once, not at every look"


async def test_a_store_that_hangs_does_not_keep_who_waits_for_ever() -> None:
    clock, store, app = make()
    store.hangs = True
    async with app:
        waiting = asyncio.create_task(app.handle("t-1").result(timeout=10))
        await clock.advance(14)
        assert not waiting.done()
        await clock.advance(1)
        with pytest.raises(TimeoutError):
            await waiting


async def test_a_wait_that_is_given_up_leaves_no_timer_and_no_look_behind() -> None:
    clock, store, app = make()
    await put(store, [1], TaskStatus.PENDING)
    async with app:
        before = clock.pending
        waiting = asyncio.create_task(app.wait([app.handle("t-1")], timeout=60))
        await clock.advance(1)
        waiting.cancel()
        await clock.advance(10)
        assert clock.pending == before
        looks = len(store.looks)
        await clock.advance(100)
        assert len(store.looks) == looks


async def test_the_outcomes_of_more_than_one_look_are_all_found() -> None:
    clock, store, app = make()
    count = 3 * AT_ONCE + 1
    await put(store, range(count), TaskStatus.SUCCESS)
    async with app:
        handles: list[Handle[int]] = [app.handle(f"t-{number}") for number in range(count + 1)]
        waiting = asyncio.create_task(app.wait(handles))
        await clock.advance(1)
        done, pending = await waiting
        assert (done, pending) == (handles, []), "nobody knows the last one, which ends its wait, too"
        asking = asyncio.create_task(handles[-1].result())
        await clock.advance(1)
        with pytest.raises(TaskNotFound, match=f"nobody knows task t-{count}"):
            await asking
