"""What is past its retention or over the cap goes, in batches, and nothing else does."""

from __future__ import annotations

import pytest

from brokerkit.records import RecordPatch, TaskStatus
from brokerkit.store import Put, RecordFilter, Retention
from brokerkit.stores.sql import SqlStore, cleaning
from brokerkit.testing import VirtualClock
from tests.sql.making import Place, record

pytestmark = pytest.mark.broker

DONE = TaskStatus.SUCCESS
RETENTION = Retention(success=100, failure=1000, pending=5000)


async def count(place: Place, prefix: str) -> int:
    """Rows that are there, whether they are past their retention or not."""
    [(found,)] = await place.run(f"SELECT count(*) FROM {place.table(prefix)}")
    return int(found)


async def test_expired_rows_are_deleted_a_few_batches_at_a_time(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cleaning, "_BATCH", 10)
    prefix, clock = place.prefix(), VirtualClock()
    async with SqlStore(place.url(prefix), clock=clock, retention=RETENTION) as kept:
        await kept.put([record(f"done-{number}", status=DONE) for number in range(95)])
        await kept.put([record(f"failed-{number}", status=TaskStatus.FAILURE) for number in range(5)])
        await clock.advance(101)
        assert await count(place, prefix) == 100
        assert await kept.find(RecordFilter(name="charge", statuses=(DONE,))) == []
        for left in (61, 22, 8, 9):
            await kept.put([record(f"new-{left}")])
            await clock.advance(61)
            assert await count(place, prefix) == left
        statuses = {each.status for each in await kept.find(RecordFilter(limit=1000))}
        assert statuses == {TaskStatus.FAILURE, TaskStatus.RUNNING}


async def test_a_patch_does_not_lengthen_the_retention(place: Place) -> None:
    prefix, clock = place.prefix(), VirtualClock()
    async with SqlStore(place.url(prefix), clock=clock, retention=RETENTION) as kept:
        await kept.put([record("t-1", status=DONE)])
        await clock.advance(60)
        assert list(await kept.patch([RecordPatch(id="t-1", note="seen")])) == [Put.STORED]
        await clock.advance(60)
        assert list(await kept.get(["t-1"])) == [None]
        assert list(await kept.patch([RecordPatch(id="t-1", note="seen")])) == [Put.STALE]
        assert await kept.delete(["t-1"]) == 0, "it was there, but past its retention"


async def test_over_the_cap_unfinished_records_go_last(place: Place) -> None:
    prefix = place.prefix()
    async with SqlStore(place.url(prefix), retention=Retention(cap=10)) as kept:
        await kept.put([record(f"running-{number}", created=number) for number in range(8)])
        await kept.put([record(f"done-{number}", status=DONE, created=100 + number) for number in range(6)])
        found = {each.id for each in await kept.find(RecordFilter())}
        assert found == {f"running-{number}" for number in range(8)} | {"done-4", "done-5"}
        await kept.put([record(f"more-{number}", created=200 + number) for number in range(6)])
        found = {each.id for each in await kept.find(RecordFilter())}
        assert found == {f"running-{n}" for n in range(4, 8)} | {f"more-{n}" for n in range(6)}
        assert await count(place, prefix) == 10


async def test_without_a_cap_nothing_finished_goes_before_its_time(place: Place) -> None:
    prefix = place.prefix()
    async with SqlStore(place.url(prefix), retention=Retention(cap=None)) as kept:
        await kept.put([record(f"t-{number}", status=DONE) for number in range(1200)])
        await kept.put([record("last", status=DONE)])
        assert await count(place, prefix) == 1201


async def test_cleaning_that_fails_is_logged_and_fails_no_report(
    place: Place, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    prefix, clock = place.prefix(), VirtualClock()
    async with SqlStore(place.url(prefix), clock=clock, retention=RETENTION) as kept:
        await kept.put([record("t-1", status=DONE)])
        await clock.advance(101)
        monkeypatch.setattr(cleaning, "_SECONDS", -1.0)
        assert list(await kept.put([record("t-2", status=DONE)])) == [Put.STORED]
        assert "old records are not removed for now" in caplog.text
        monkeypatch.undo()
        await clock.advance(61)
        await kept.put([record("t-3", status=DONE)])
        assert await count(place, prefix) == 2
