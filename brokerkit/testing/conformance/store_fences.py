"""Whose report counts: newer runs and fences, and a terminal status for good."""

from __future__ import annotations

import asyncio
import itertools

import msgspec

from brokerkit.records import Attempt, ErrorInfo, RecordPatch, TaskRecord, TaskStatus, accepts, merged
from brokerkit.store import Put
from brokerkit.testing.conformance.harness import StoreHarness, StoreScenario
from brokerkit.testing.conformance.store_bench import (
    CANCELLED,
    FAILURE,
    PENDING,
    RETRY,
    RUNNING,
    SUCCESS,
    get,
    put,
    report,
    stored,
)

ERROR = ErrorInfo("builtins.ValueError", "no", "Traceback …", exhausted=True)


async def every_field_of_a_record_survives(harness: StoreHarness) -> None:
    async with harness.connect() as store:
        full = report(
            harness,
            status=SUCCESS,
            run=3,
            attempt=2,
            postponed=1,
            deliveries=4,
            started=harness.clock.now() - 1.5,
            finished=harness.clock.now() - 0.25,
            worker="host:17:abc",
            result=bytes(range(256)),
            content_type="application/json",
            error=ERROR,
            attempts=(Attempt(1, "host:16:xyz", None, 17.25, ERROR),),
            progress=0.5,
            note="Grüße ✓",
            metadata={"customer": "c-1", "vip": True, "rank": 7, "share": 0.25},
            parent="a-parent",
            root="a-root",
            followups=(b"\x00\x01", b""),
        )
        await stored(store, full)
        found = await get(store, full.id)
        for field in TaskRecord.__struct_fields__:
            got, wanted = getattr(found, field), getattr(full, field)
            assert got == wanted, f"{field} was stored as {wanted!r} and came as {got!r}"
        assert {key: type(value) for key, value in found.metadata.items()} == {
            key: type(value) for key, value in full.metadata.items()
        }, f"labels changed their types: {found.metadata}"


async def a_record_is_seen_by_every_process(harness: StoreHarness) -> None:
    async with harness.connect() as one, harness.connect() as two:
        first = report(harness)
        await stored(one, first)
        assert await get(two, first.id) == first, "the other process sees something else"


async def every_pair_of_reports_is_judged_by_the_rules(harness: StoreHarness) -> None:
    states = [
        {"status": status, "run": run, "attempt": attempt, "deliveries": deliveries, "asked": status is CANCELLED}
        for status in (PENDING, RUNNING, RETRY, SUCCESS, CANCELLED)
        for run, attempt, deliveries in ((1, 1, 1), (1, 1, 2), (1, 2, 1), (2, 1, 1))
    ]
    async with harness.connect() as store:
        for one, two in itertools.product(states, states):
            old = report(harness, **one)
            new = msgspec.structs.replace(old, **two)
            wanted = accepts(old.fence, old.stage, new.fence, new.stage)
            [_, answer] = [*await put(store, old), *await put(store, new)]
            assert (answer is Put.STORED) == wanted, f"{one} is there, {two} comes and is {answer}"
            found = await get(store, old.id)
            assert found == (new if wanted else old), f"{one} is there, {two} comes, and {found} is kept"


async def a_terminal_status_is_never_overwritten_within_its_run(harness: StoreHarness) -> None:
    async with harness.connect() as store:
        done = report(harness, status=SUCCESS, result=b"1")
        await stored(store, done)
        for later in (FAILURE, RUNNING, RETRY, TaskStatus.CANCELLED, TaskStatus.EXPIRED, SUCCESS):
            again = msgspec.structs.replace(done, status=later, attempt=9, deliveries=9, result=b"2")
            assert await put(store, again) == [Put.STALE], f"{later} came after SUCCESS"
        assert await get(store, done.id) == done, "the first outcome counts"


async def a_newer_run_always_wins(harness: StoreHarness) -> None:
    async with harness.connect() as store:
        dead = report(harness, status=FAILURE, attempt=4, deliveries=3, error=ERROR)
        again = msgspec.structs.replace(dead, status=PENDING, run=2, attempt=1, deliveries=0, error=None)
        await stored(store, dead, again)
        assert (await get(store, dead.id)).run == 2, "the redrive's record counts"
        assert await put(store, dead) == [Put.STALE], "the earlier run cannot come back"


async def two_reports_of_one_task_in_one_call_take_effect_in_order(harness: StoreHarness) -> None:
    async with harness.connect() as store:
        running = report(harness, status=RUNNING, deliveries=1)
        done = msgspec.structs.replace(running, status=SUCCESS)
        late = msgspec.structs.replace(running, note="too late")
        answers = await put(store, running, done, late)
        assert answers == [Put.STORED, Put.STORED, Put.STALE], f"storing answered {answers}"
        assert (await get(store, done.id)).status is SUCCESS, "the second one counts"


async def what_was_known_before_is_merged(harness: StoreHarness) -> None:
    async with harness.connect() as store:
        failed = Attempt(1, "w", 1.0, 2.0, ERROR)
        first = report(
            harness,
            status=RETRY,
            metadata={"a": 1, "b": 1},
            attempts=(failed,),
            progress=0.5,
            note="half",
            started=17.0,
        )
        second = msgspec.structs.replace(
            first,
            status=RUNNING,
            attempt=2,
            metadata={"b": 1, "c": 2},
            attempts=(),
            progress=None,
            note="",
            started=None,
        )
        await stored(store, first, second)
        found = await get(store, first.id)
        assert found.metadata == {"a": 1, "b": 1, "c": 2}, f"labels are united: {found.metadata}"
        assert found.attempts == (failed,), f"failed attempts of the run are kept: {found.attempts}"
        assert (found.progress, found.note) == (0.5, "half"), f"the last progress stays: {found}"
        assert found.started == 17.0, "the last start stays until a new one is reported"
        third = msgspec.structs.replace(second, run=2, attempt=1, metadata={})
        await stored(store, third)
        fresh = await get(store, first.id)
        assert (fresh.attempts, fresh.progress, fresh.note) == ((), None, ""), f"a new run starts afresh: {fresh}"
        assert fresh.metadata == {"a": 1, "b": 1, "c": 2}, f"labels stay over runs: {fresh.metadata}"


async def a_report_changes_only_the_labels_that_it_names(harness: StoreHarness) -> None:
    async with harness.connect() as store:
        sent = {"state": "new", "shop": "eu"}
        first = report(harness, metadata=sent)
        await stored(store, first)
        await store.patch([RecordPatch(id=first.id, metadata={"state": "approved"})])
        running = msgspec.structs.replace(first, status=RUNNING, deliveries=1)
        await stored(store, running)
        found = (await get(store, first.id)).metadata
        assert found == {"state": "approved", "shop": "eu"}, f"what was sent came back over a patch: {found}"
        done = msgspec.structs.replace(running, status=SUCCESS, metadata={**sent, "shop": "us"}, labelled=("shop",))
        await stored(store, done)
        found = (await get(store, first.id)).metadata
        assert found == {"state": "approved", "shop": "us"}, f"the handler set the shop, and only that: {found}"


async def of_racing_outcomes_exactly_one_is_stored(harness: StoreHarness) -> None:
    rounds = 5 if harness.short else 25
    async with harness.connect() as one, harness.connect() as two:
        for _ in range(rounds):
            base = report(harness, status=RUNNING, deliveries=1)
            await stored(one, base)
            outcomes = [msgspec.structs.replace(base, status=SUCCESS, worker=str(number)) for number in range(8)]
            answers = await asyncio.gather(*(put((one, two)[n % 2], outcome) for n, outcome in enumerate(outcomes)))
            winners = [outcome for outcome, [answer] in zip(outcomes, answers, strict=True) if answer is Put.STORED]
            assert len(winners) == 1, f"{len(winners)} of 8 racing outcomes were stored"
            assert (await get(two, base.id)).worker == winners[0].worker, "another one than the stored one is kept"


async def of_racing_fences_the_highest_is_kept(harness: StoreHarness) -> None:
    rounds = 5 if harness.short else 25
    async with harness.connect() as one, harness.connect() as two:
        for _ in range(rounds):
            base = report(harness, status=RUNNING)
            racers = [msgspec.structs.replace(base, deliveries=number) for number in range(1, 9)]
            order = racers[::2] + racers[1::2]
            await asyncio.gather(*(put((one, two)[n % 2], racer) for n, racer in enumerate(order)))
            kept = (await get(one, base.id)).deliveries
            assert kept == 8, f"the highest fence is 8, but {kept} is kept"


async def racing_labels_are_all_kept(harness: StoreHarness) -> None:
    async with harness.connect() as one, harness.connect() as two:
        base = report(harness)
        await stored(one, base)
        patches = [RecordPatch(id=base.id, metadata={f"label-{number}": number}) for number in range(8)]
        await asyncio.gather(*((one, two)[n % 2].patch([patch]) for n, patch in enumerate(patches)))
        found = (await get(one, base.id)).metadata
        assert found == {f"label-{number}": number for number in range(8)}, f"labels were lost: {found}"


async def each_field_is_merged_by_itself(harness: StoreHarness) -> None:
    known: tuple[dict[str, object], ...] = (
        {"metadata": {"a": 1}},
        {"progress": 0.5},
        {"note": "half"},
        {"started": 17.0},
        {"created": 5.0},
        {"attempts": (Attempt(1, "w", 1.0, 2.0, ERROR),)},
    )
    async with harness.connect() as store:
        for fields in known:
            first = report(harness, status=RUNNING, **fields)
            second = report(harness, id=first.id, status=SUCCESS)
            await stored(store, first, second)
            assert await get(store, first.id) == merged(first, second), f"{fields} was known before"


async def a_late_running_report_does_not_forget_what_has_to_leave(harness: StoreHarness) -> None:
    async with harness.connect() as store:
        leaving = report(harness, status=RUNNING, deliveries=1, result=b"\x01", followups=(b"one", b"two"))
        late = report(harness, id=leaving.id, status=RUNNING, deliveries=1)
        await stored(store, leaving, late)
        found = await get(store, leaving.id)
        assert (found.followups, found.result) == (leaving.followups, leaving.result), f"{found} has forgotten them"


SCENARIOS: tuple[StoreScenario, ...] = (
    every_field_of_a_record_survives,
    a_record_is_seen_by_every_process,
    every_pair_of_reports_is_judged_by_the_rules,
    a_terminal_status_is_never_overwritten_within_its_run,
    a_newer_run_always_wins,
    two_reports_of_one_task_in_one_call_take_effect_in_order,
    what_was_known_before_is_merged,
    a_report_changes_only_the_labels_that_it_names,
    each_field_is_merged_by_itself,
    a_late_running_report_does_not_forget_what_has_to_leave,
    of_racing_outcomes_exactly_one_is_stored,
    of_racing_fences_the_highest_is_kept,
    racing_labels_are_all_kept,
)
