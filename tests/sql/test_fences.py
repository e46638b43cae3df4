"""Many write at once: one outcome counts, nothing terminal is overwritten, and the rules are those of ``records``."""

from __future__ import annotations

import asyncio
import random
import sys
from asyncio.subprocess import PIPE
from collections import Counter
from typing import Any

import pytest

from brokerkit.message import Scalar
from brokerkit.records import (
    Attempt,
    ErrorInfo,
    RecordPatch,
    TaskRecord,
    TaskStatus,
    accepts,
    merged,
    patchable,
    patched,
)
from brokerkit.store import Put
from tests.sql.child import IDS, labels
from tests.sql.making import Place, record, store

pytestmark = pytest.mark.broker

DONE = TaskStatus.SUCCESS
WRITERS = 8
TASKS = "abcdefghijkl"


async def test_of_eight_processes_one_wins_each_task_and_their_start_makes_one_schema(place: Place) -> None:
    prefix = place.prefix()
    children = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.sql.child", place.url(prefix, pool_size=1), f"w{n}", stdin=PIPE, stdout=PIPE
        )
        for n in range(WRITERS)
    ]
    try:
        assert await lines(children) == ["ready"] * WRITERS
        tell(children)
        assert await lines(children) == ["open"] * WRITERS, "all found or made the tables"
        async with store(place, prefix) as kept:
            await kept.put([record(each, metadata=labels(each, "sent")) for each in IDS])
            tell(children)
            won = [line.split() for line in await lines(children)]
            found = await kept.get(IDS)
        assert await place.run(f"SELECT version FROM {place.table(prefix, 'schema_version')}") == [(1,)]
    finally:
        for child in children:
            if child.returncode is None and not child.stdin.is_closing():  # type: ignore[union-attr]
                child.stdin.close()  # type: ignore[union-attr]
            await child.wait()
    assert Counter(each for mine in won for each in mine) == Counter(IDS), "each task has exactly one winner"
    winners = {each: f"w{number}" for number, mine in enumerate(won) for each in mine}
    kept_by = {each.id: (each.worker, each.metadata) for each in found if each is not None}
    assert kept_by == {each: (name, labels(each, "sent") | labels(each, name)) for each, name in winners.items()}


async def lines(children: list[asyncio.subprocess.Process]) -> list[str]:
    """The next line of each."""
    return [line.decode().rstrip("\n") for line in await asyncio.gather(*(each.stdout.readline() for each in children))]  # type: ignore[union-attr]


def tell(children: list[asyncio.subprocess.Process]) -> None:
    """Let all go on."""
    for child in children:
        child.stdin.write(b"\n")  # type: ignore[union-attr]


async def test_batches_in_opposite_orders_do_not_lock_each_other_out(place: Place) -> None:
    ids = [f"t-{number:02}" for number in range(40)]
    async with store(place, pool_size=8) as kept:

        async def report(writer: int) -> list[Put]:
            answers: list[Put] = []
            for delivery in range(1, 5):
                some = random.sample(ids, 30)
                reports = [record(each, deliveries=delivery, worker=str(writer)) for each in some]
                answers += await kept.put(reports)
                patches = [RecordPatch(id=each, metadata={f"w{writer}": delivery}) for each in reversed(some)]
                answers += await kept.patch(patches)
            answers += await kept.put([record(each, deliveries=9, worker=str(writer), status=DONE) for each in ids])
            return answers

        answers = await asyncio.gather(*(report(writer) for writer in range(WRITERS)))
        found = await kept.get(ids)
    assert Put.ERROR not in [answer for mine in answers for answer in mine]
    outcomes = [mine[-len(ids) :] for mine in answers]
    assert [sum(mine[n] is Put.STORED for mine in outcomes) for n in range(len(ids))] == [1] * len(ids)
    assert [each and each.status for each in found] == [DONE] * len(ids)


@pytest.mark.parametrize("seed", range(3))
async def test_any_reports_and_patches_leave_what_the_rules_say(place: Place, seed: int) -> None:
    chance = random.Random(seed)
    model: dict[str, TaskRecord] = {}
    async with store(place) as kept:
        for _ in range(25):
            if chance.random() < 0.3:
                patches = [any_patch(chance) for _ in range(chance.randint(1, 5))]
                assert list(await kept.patch(patches)) == [patched_in(model, patch) for patch in patches]
            else:
                reports = [any_report(chance) for _ in range(chance.randint(1, 8))]
                assert list(await kept.put(reports)) == [reported_in(model, report) for report in reports], reports
            assert list(await kept.get(TASKS)) == [model.get(each) for each in TASKS]


def any_report(chance: random.Random) -> TaskRecord:
    """A report on one of few tasks, with any of its fields given or not."""
    error = ErrorInfo("E", "no")
    fields: dict[str, Any] = {
        "metadata": {chance.choice("xy"): chance.choice([1, True, 1.0, "1", 2])},
        "attempts": (Attempt(chance.randint(1, 3), "w", None, 2.0, error),),
        "progress": chance.random(),
        "note": chance.choice(["half", "done"]),
        "started": chance.choice([1.0, 2.0]),
        "created": chance.choice([0.0, 1.5, 2.5]),
        "followups": (b"f",),
        "result": b"r",
    }
    given = {name: value for name, value in fields.items() if chance.random() < 0.15}
    status = chance.choice([TaskStatus.PENDING, *[TaskStatus.RUNNING] * 3, TaskStatus.RETRY, DONE])
    fence = {"run": chance.choice([1, 1, 1, 2]), "attempt": chance.randint(1, 2), "deliveries": chance.randint(0, 2)}
    return record(chance.choice(TASKS), **{"status": status, **fence, **given})


def any_patch(chance: random.Random) -> RecordPatch:
    fence = (chance.choice([1, 2]), chance.randint(1, 2), chance.randint(0, 2)) if chance.random() < 0.6 else None
    given: dict[str, Scalar] = {chance.choice("xyz"): chance.randint(1, 9)} if chance.random() < 0.2 else {}
    return RecordPatch(id=chance.choice([*TASKS, "nobody"]), fence=fence, note="patched", metadata=given)


def reported_in(model: dict[str, TaskRecord], new: TaskRecord) -> Put:
    old = model.get(new.id)
    if old is not None and not accepts(old.fence, old.stage, new.fence, new.stage):
        return Put.STALE
    model[new.id] = new if old is None else merged(old, new)
    return Put.STORED


def patched_in(model: dict[str, TaskRecord], patch: RecordPatch) -> Put:
    old = model.get(patch.id)
    if old is None or not patchable(old, patch):
        return Put.STALE
    model[patch.id] = patched(old, patch)
    return Put.STORED


async def test_a_server_without_insert_returning_gives_the_same_answers(place: Place) -> None:
    """MySQL has no INSERT ... RETURNING; MariaDB asked in MySQL's way stands in for it."""
    if place.postgresql:
        pytest.skip("always has it")
    prefix = place.prefix()
    async with store(place, prefix, pool_size=1) as one, store(place, prefix, pool_size=1) as two:
        for kept in (one, two):
            await kept.get(["nobody"])  # connected: now it is known what the server can do
            kept._database.backend.returning = False  # type: ignore[attr-defined]
        ids = [f"t-{number}" for number in range(30)]
        await one.put([record(each) for each in ids])
        reports = [[record(each, status=DONE, worker=name) for each in ids] for name in "12"]
        answers = await asyncio.gather(one.put(reports[0]), two.put(reports[1]))
        assert [Counter(pair) for pair in zip(*answers, strict=True)] == [Counter([Put.STORED, Put.STALE])] * 30
        workers = [each and each.worker for each in await one.get(ids)]
        assert not any(kept._database.backend.returning for kept in (one, two))  # type: ignore[attr-defined]
        assert workers == ["1" if answer is Put.STORED else "2" for answer in answers[0]]
