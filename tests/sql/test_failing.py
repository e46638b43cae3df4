"""The way to the database fails, or the database does: what was promised holds, and the store comes back by itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from brokerkit.errors import StoreError
from brokerkit.records import RecordPatch, TaskRecord, TaskStatus
from brokerkit.store import Put
from brokerkit.stores.sql import SqlStore
from tests.sql.making import Place, locked, record, store
from tests.sql.proxy import Proxy

pytestmark = pytest.mark.broker

DONE = TaskStatus.SUCCESS


@asynccontextmanager
async def beating() -> AsyncIterator[list[int]]:
    """How often the event loop has come round meanwhile, a hundred times a second at most."""
    beats = [0]

    async def beat() -> None:
        while True:
            await asyncio.sleep(0.01)
            beats[0] += 1

    task = asyncio.create_task(beat())
    try:
        yield beats
    finally:
        task.cancel()


async def eventually_stored(kept: SqlStore, report: TaskRecord) -> None:
    """It is stored sooner or later, and nobody has to do anything for that."""
    while True:
        try:
            [answer] = await kept.put([report])
        except StoreError:
            continue
        assert answer in {Put.STORED, Put.STALE}, answer  # an attempt that failed may have been stored all the same
        return


async def test_connections_that_the_server_ended_are_replaced_unnoticed(place: Place) -> None:
    prefix = place.prefix()
    async with store(place, prefix) as kept:
        await asyncio.gather(*(kept.put([record(f"t-{number}")]) for number in range(10)))
        assert await place.disconnect(prefix) > 1
        answers = await asyncio.gather(*(kept.put([record(f"t-{number}", status=DONE)]) for number in range(10)))
        assert answers == [[Put.STORED]] * 10
        await place.disconnect(prefix)
        assert [found is not None for found in await kept.get(["t-1", "t-99"])] == [True, False]
        await place.disconnect(prefix)
        assert await kept.delete(["t-1", "t-99"]) == 1


async def test_a_report_whose_answer_was_lost_is_known_to_be_stored(place: Place) -> None:
    async with Proxy.before(place) as proxy, SqlStore(proxy.url(place, place.prefix(), pool_size=1)) as kept:
        await kept.put([record("t-1"), record("t-2", metadata={"a": 1}), record("t-3")])
        outcomes = [record("t-1", status=DONE), record("t-2", status=DONE, metadata={"b": 1})]
        proxy.deaf = 1
        answers = await kept.put([*outcomes, record("t-3", deliveries=0)])
        assert not proxy.deaf, "nothing was lost"
        assert answers == [Put.STORED, Put.STORED, Put.STALE]
        found = await kept.get(["t-1", "t-2"])
        assert [each and (each.status, each.metadata) for each in found] == [(DONE, {}), (DONE, {"a": 1, "b": 1})]


async def test_a_stalled_server_fails_calls_in_time_and_blocks_nobody(place: Place) -> None:
    async with (
        Proxy.before(place) as proxy,
        SqlStore(proxy.url(place, place.prefix(), timeout=1.5, connect_timeout=1.5, pool_size=3)) as kept,
    ):
        await kept.put([record("t-1")])
        proxy.stalled = True
        big = [record(f"big-{number}", status=DONE, result=bytes(500_000)) for number in range(40)]
        async with beating() as beats:
            calls = [kept.put(big), kept.get(["t-1"]), kept.patch([RecordPatch(id="t-1")]), kept.delete(["t-1"])]
            answers = await asyncio.gather(*calls, *(kept.get(["t-1"]) for _ in range(10)), return_exceptions=True)
        assert all(isinstance(answer, StoreError) for answer in answers), answers
        assert beats[0] > 20, "the event loop stood still"
        proxy.stalled = False
        await eventually_stored(kept, record("t-2", status=DONE))


async def test_a_store_with_a_stalled_server_can_be_left(place: Place) -> None:
    async with Proxy.before(place) as proxy, SqlStore(proxy.url(place, place.prefix(), timeout=3600)) as kept:
        await asyncio.gather(*(kept.put([record(f"t-{number}")]) for number in range(5)))
        proxy.stalled = True
        waiting = asyncio.create_task(kept.get(["t-1"]))
        await asyncio.sleep(0.05)
    with pytest.raises(StoreError, match=r"closed"):
        await waiting


async def test_a_cancelled_call_gives_its_connection_back(place: Place) -> None:
    prefix = place.prefix()
    async with store(place, prefix, pool_size=1, timeout=3600) as kept:
        await kept.put([record("t-1")])
        async with locked(place, f"UPDATE {place.table(prefix)} SET stamp = 1 WHERE id = 't-1'"):
            call = asyncio.create_task(kept.put([record("t-1", status=DONE)]))
            while not await place.waiting(prefix):
                await asyncio.sleep(0.02)
            call.cancel()
            assert list(await kept.put([record("t-2")])) == [Put.STORED]
        with pytest.raises(asyncio.CancelledError):
            await call


async def test_a_delete_whose_answer_was_lost_counts_nothing(place: Place) -> None:
    async with (
        Proxy.before(place) as proxy,
        SqlStore(proxy.url(place, place.prefix(), pool_size=1)) as kept,
    ):
        await kept.put([record("t-1"), record("t-2")])
        await kept.delete(["nobody"])  # from now on each statement is one question
        proxy.deaf = 4  # to BEGIN, SELECT, DELETE, COMMIT
        with pytest.raises(StoreError, match=r"closed the connection"):
            await kept.delete(["t-1"])
        assert not proxy.deaf, "nothing was lost"
        assert [each is not None for each in await kept.get(["t-1", "t-2"])] == [False, True]
        assert await kept.delete(["t-2"]) == 1


async def test_a_statement_that_waits_for_a_lock_too_long_fails_and_writes_nothing(place: Place) -> None:
    prefix = place.prefix()
    async with store(place, prefix, timeout=1) as kept:
        await kept.put([record("t-1")])
        async with locked(place, f"UPDATE {place.table(prefix)} SET stamp = 1 WHERE id = 't-1'") as give_back:
            with pytest.raises(StoreError, match=r"timeout=|did not answer within 1 s|locked the records"):
                await kept.put([record("t-1", status=DONE)])
            assert list(await kept.put([record("t-2")])) == [Put.STORED], "others are not held up"
            while await place.waiting(prefix):
                await asyncio.sleep(0.05)
            await give_back()
        [found] = await kept.get(["t-1"])
        assert found is not None
        assert found.status is TaskStatus.RUNNING, "the report was written after it had failed"


@pytest.mark.parametrize("stalled", [False, True], ids=["answering", "stalled"])
async def test_a_cancelled_call_costs_no_connection(place: Place, stalled: bool) -> None:
    async with (
        Proxy.before(place) as proxy,
        SqlStore(proxy.url(place, place.prefix(), pool_size=2, connect_timeout=1)) as kept,
    ):
        await kept.put([record("t-0")])
        proxy.stalled = stalled
        for number in range(8):
            call = asyncio.create_task(kept.put([record(f"t-{number}", metadata={"n": number})]))
            await asyncio.sleep(number * 0.0015)
            call.cancel()
            answer = (await asyncio.gather(call, return_exceptions=True))[0]
            assert answer == [Put.STORED] or isinstance(answer, asyncio.CancelledError | StoreError), answer
        proxy.stalled = False
        await eventually_stored(kept, record("t-9"))
        answers = await asyncio.gather(*(kept.get(["t-9"]) for _ in range(6)))
        assert [each is not None for [each] in answers] == [True] * 6


async def test_a_server_that_is_away_for_a_while_is_found_again(place: Place) -> None:
    async with (
        Proxy.before(place) as proxy,
        SqlStore(proxy.url(place, place.prefix(), timeout=1, connect_timeout=0.5)) as kept,
    ):
        await kept.put([record("t-1")])
        proxy.refusing = True
        proxy.cut()
        for _ in range(3):
            with pytest.raises(StoreError, match=r"closed the connection|cannot be reached|did not answer"):
                await kept.put([record("t-1", status=DONE)])
        proxy.refusing = False
        await eventually_stored(kept, record("t-1", status=DONE))
