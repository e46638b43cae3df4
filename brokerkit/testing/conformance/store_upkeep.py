"""Patches, sizes, retention, queries and deletion."""

from __future__ import annotations

import msgspec

from brokerkit.records import RecordPatch
from brokerkit.store import Put, RecordFilter, Retention
from brokerkit.testing.conformance.harness import StoreHarness, StoreScenario
from brokerkit.testing.conformance.store_bench import (
    FAILURE,
    PENDING,
    RUNNING,
    SUCCESS,
    get,
    known,
    put,
    report,
    stored,
)


async def a_patch_changes_only_what_it_names(harness: StoreHarness) -> None:
    async with harness.connect() as store:
        first = report(harness, status=RUNNING, progress=0.25, note="a", metadata={"a": 1})
        await stored(store, first)
        patch = RecordPatch(id=first.id, fence=first.fence, progress=0.5, metadata={"b": 2})
        assert list(await store.patch([patch])) == [Put.STORED], "the patch is fresh"
        found = await get(store, first.id)
        wanted = msgspec.structs.replace(first, progress=0.5, metadata={"a": 1, "b": 2})
        assert found == wanted, f"the record became {found}"


async def a_stale_patch_changes_nothing(harness: StoreHarness) -> None:
    async with harness.connect() as store:
        first = report(harness, status=RUNNING, deliveries=2)
        done = report(harness, status=SUCCESS)
        await stored(store, first, done)
        patches = [
            RecordPatch(id=first.id, fence=(1, 1, 1), progress=0.9),
            RecordPatch(id=done.id, fence=(1, 9, 9), progress=0.9),
            RecordPatch(id=harness.name("unknown"), progress=0.9),
        ]
        answers = list(await store.patch(patches))
        assert answers == [Put.STALE] * 3, f"older fence, finished task, unknown task: patching answered {answers}"
        assert (await get(store, first.id)) == first, "a stale patch changed the record"
        assert (await get(store, done.id)) == done, "a stale patch changed the record"


async def a_clients_labels_are_never_stale(harness: StoreHarness) -> None:
    async with harness.connect() as store:
        done = report(harness, status=SUCCESS, metadata={"a": 1})
        await stored(store, done)
        answers = list(await store.patch([RecordPatch(id=done.id, metadata={"seen": True})]))
        assert answers == [Put.STORED], f"patching answered {answers}"
        assert (await get(store, done.id)).metadata == {"a": 1, "seen": True}, "the label was not set"


async def a_record_over_the_limit_is_refused_alone(harness: StoreHarness) -> None:
    async with harness.connect(Retention(max_bytes=10_000)) as store:
        good, large, last = report(harness), report(harness, status=SUCCESS, result=bytes(10_001)), report(harness)
        answers = await put(store, good, large, last)
        assert answers == [Put.STORED, Put.TOO_LARGE, Put.STORED], f"storing answered {answers}"
        assert await known(store, good, large, last) == [True, False, True], "only what fits is there"
        fits = msgspec.structs.replace(large, result=bytes(8_000))
        await stored(store, fits)


async def an_unknown_task_has_no_record(harness: StoreHarness) -> None:
    async with harness.connect() as store:
        first = report(harness)
        await stored(store, first)
        names = [harness.name("unknown"), first.id, harness.name("unknown"), first.id]
        found = [each is not None for each in await store.get(names)]
        assert found == [False, True, False, True], f"an answer per id, in order: {found}"
        assert not list(await store.get([])), "nothing asked, nothing answered"


async def records_are_kept_as_long_as_their_status_says(harness: StoreHarness) -> None:
    retention = Retention(success=2 * harness.step, failure=6 * harness.step, pending=12 * harness.step)
    async with harness.connect(retention) as store:
        records = [report(harness, status=status) for status in (SUCCESS, FAILURE, PENDING)]
        await stored(store, *records)
        assert await known(store, *records) == [True, True, True], "all are fresh"
        for wait, left in ((4, [False, True, True]), (4, [False, False, True]), (6, [False, False, False])):
            await harness.advance(wait * harness.step)
            found = await known(store, *records)
            assert found == left, f"of success, failure and pending there are {found}, not {left}"
        assert not await store.find(RecordFilter(name="charge")), "what is past its retention is not found either"


async def a_new_report_starts_the_retention_again(harness: StoreHarness) -> None:
    retention = Retention(success=3 * harness.step, pending=3 * harness.step)
    async with harness.connect(retention) as store:
        first = report(harness)
        await stored(store, first)
        await harness.advance(2 * harness.step)
        await stored(store, msgspec.structs.replace(first, status=SUCCESS))
        await harness.advance(2 * harness.step)
        assert await known(store, first) == [True], "it was written again meanwhile"


async def what_is_past_its_retention_cannot_make_a_report_stale(harness: StoreHarness) -> None:
    async with harness.connect(Retention(success=harness.step)) as store:
        done = report(harness, status=SUCCESS)
        await stored(store, done)
        await harness.advance(3 * harness.step)
        await stored(store, msgspec.structs.replace(done, status=PENDING))


async def over_the_cap_the_oldest_finished_go_first(harness: StoreHarness) -> None:
    cap = 20
    async with harness.connect(Retention(cap=cap)) as store:
        waiting = report(harness)
        await stored(store, waiting)
        done = [report(harness, status=SUCCESS) for _ in range(4 * cap)]
        for each in done:
            await stored(store, each)
        left = await known(store, *done)
        assert sum(left) <= cap, f"at most {cap} are kept, there are {sum(left)}"
        assert left[-1], "the newest is kept"
        assert left == sorted(left), "the oldest go first"
        assert await known(store, waiting) == [True], "an unfinished task's record stays before finished ones"


async def records_are_found_by_what_they_say_newest_first(harness: StoreHarness) -> None:
    async with harness.connect() as store:
        now = harness.clock.now()
        name, queue = harness.name("task"), harness.name("queue")
        records = [
            report(harness, name=name, queue=queue, created=now + number, status=status, metadata={"n": number % 2})
            for number, status in enumerate((PENDING, SUCCESS, FAILURE, SUCCESS))
        ]
        await stored(store, *records, report(harness))
        cases = [
            (RecordFilter(name=name), [3, 2, 1, 0]),
            (RecordFilter(queue=queue, limit=2), [3, 2]),
            (RecordFilter(name=name, statuses=(SUCCESS, FAILURE)), [3, 2, 1]),
            (RecordFilter(name=name, created_after=now + 1, created_before=now + 3), [2, 1]),
            (RecordFilter(name=name, metadata={"n": 1}), [3, 1]),
            (RecordFilter(name=name, metadata={"n": 1, "other": 1}), []),
            (RecordFilter(name=name, queue=harness.name("other")), []),
        ]
        for wanted, numbers in cases:
            found = [each.id for each in await store.find(wanted)]
            assert found == [records[number].id for number in numbers], f"{wanted} found something else"


async def a_label_is_found_after_a_patch(harness: StoreHarness) -> None:
    async with harness.connect() as store:
        first = report(harness)
        await stored(store, first)
        label = harness.name("label")
        await store.patch([RecordPatch(id=first.id, metadata={label: "x"})])
        found = await store.find(RecordFilter(metadata={label: "x"}))
        assert [each.id for each in found] == [first.id], "the patched label was not found"


async def deleted_records_are_forgotten(harness: StoreHarness) -> None:
    async with harness.connect() as store:
        gone, kept = report(harness, status=SUCCESS), report(harness)
        await stored(store, gone, kept)
        count = await store.delete([gone.id, harness.name("unknown")])
        assert count == 1, f"one of the two was there, but {count} were deleted"
        assert await known(store, gone, kept) == [False, True], "the wrong one is gone"
        await stored(store, msgspec.structs.replace(gone, status=PENDING))


async def a_store_can_be_entered_again(harness: StoreHarness) -> None:
    store = harness.connect()
    async with store:
        pass
    async with store:
        first = report(harness)
        await stored(store, first)
        assert await get(store, first.id) == first, "it works as before"


async def quotes_and_unicode_are_only_text(harness: StoreHarness) -> None:
    async with harness.connect() as store:
        odd = "'; DROP TABLE records; -- \" \\ % _ ✓ \u202e"
        first = report(harness, id=harness.name("t") + odd, name=odd, queue=odd, note=odd, metadata={odd: odd})
        await stored(store, first)
        assert await get(store, first.id) == first, "the text came back changed"
        found = await store.find(RecordFilter(name=odd, queue=odd, metadata={odd: odd}))
        assert [each.id for each in found] == [first.id], "it was not found by its text"
        assert not await store.find(RecordFilter(name=odd, metadata={odd: "%"})), "a wildcard is only text, too"


SCENARIOS: tuple[StoreScenario, ...] = (
    a_patch_changes_only_what_it_names,
    a_stale_patch_changes_nothing,
    a_clients_labels_are_never_stale,
    a_record_over_the_limit_is_refused_alone,
    an_unknown_task_has_no_record,
    records_are_kept_as_long_as_their_status_says,
    a_new_report_starts_the_retention_again,
    what_is_past_its_retention_cannot_make_a_report_stale,
    over_the_cap_the_oldest_finished_go_first,
    records_are_found_by_what_they_say_newest_first,
    a_label_is_found_after_a_patch,
    deleted_records_are_forgotten,
    a_store_can_be_entered_again,
    quotes_and_unicode_are_only_text,
)
