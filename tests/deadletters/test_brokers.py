"""Filters, groups, canaries and purges from end to end, on every broker."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from brokerkit import CanaryFailed, ConfigurationError, CountMismatch
from tests.api.probes import dead_letters
from tests.deadletters.places import BROKERS, Shop, shops, until_seen

pytestmark = [pytest.mark.broker, pytest.mark.parametrize("broker", BROKERS)]


async def left(shop: Shop) -> list[str]:
    """The ids of the dead letters, sorted: a look may change their order on RabbitMQ."""
    return sorted(letter.message.id for letter in await shop.app.dead_letters(shop.queue))


async def test_what_failed_alike_is_one_group_with_its_figures(broker: str, tmp_path: Path) -> None:
    async with shops(broker, tmp_path) as made:
        shop = made()
        async with shop.app, shop.app.worker():
            ids = await shop.fail("o-1", "o-22", "key", "o-333", refunds=1)
            found = await shop.app.dead_letter_groups(shop.queue)
            letters = {letter.message.id: letter for letter in await shop.app.dead_letters(shop.queue)}
            same = await shop.app.dead_letter_groups(shop.queue)
    assert (found.count, found.complete) == (5, True)
    assert [(group.kind, group.task, group.count) for group in found.groups] == [
        ("ConnectionError", "charge", 3),
        ("KeyError", "charge", 1),
        ("ConnectionError", "refund", 1),
    ]
    largest = found.groups[0]
    assert (largest.example, largest.error) == (ids[0], letters[ids[0]].error)
    assert (largest.first, largest.last) == (letters[ids[0]].died, letters[ids[3]].died)
    assert {letters[each].fingerprint for each in (ids[0], ids[1], ids[3])} == {largest.fingerprint}
    assert len({group.fingerprint for group in found.groups}) == 3
    assert [group.fingerprint for group in same.groups] == [group.fingerprint for group in found.groups]


async def test_every_filter_takes_what_it_says(broker: str, tmp_path: Path) -> None:
    async with shops(broker, tmp_path) as made:
        shop = made()
        async with shop.app, shop.app.worker():
            one, two = await shop.fail("o-1", "key", headers={"tenant": "7", "region": "eu"})
            three, four = await shop.fail("o-2", headers={"tenant": "8"}, refunds=1)
            (largest, *_) = (await shop.app.dead_letter_groups(shop.queue)).groups

            async def ids(**which: object) -> set[str]:
                found = await shop.app.dead_letters(shop.queue, **which)  # type: ignore[arg-type]
                return {letter.message.id for letter in found}

            assert await ids(error="KeyError") == {two}
            assert await ids(error=largest.fingerprint) == {one, three}
            assert await ids(error="failed") == {one, two, three, four}
            assert await ids(error="Key") == set()
            assert await ids(task="refund") == {four}
            assert await ids(headers={"tenant": 7}) == {one, two}
            assert await ids(headers={"tenant": "7", "region": "us"}) == set()
            assert await ids(older=timedelta(hours=1)) == set()
            assert await ids(newer=timedelta(hours=1)) == {one, two, three, four}
            assert await ids(ids=[two, "absent"]) == {two}
            assert await ids(ids=[one, two], error="KeyError") == {two}
            assert len(await ids(limit=3)) == 3
            assert await ids(limit=0) == set()
            with pytest.raises(ConfigurationError, match="older"):
                await ids(older="yesterday")
            with pytest.raises(ConfigurationError, match="limit"):
                await ids(limit=-1)


async def test_only_what_is_meant_is_sent_back(broker: str, tmp_path: Path) -> None:
    async with shops(broker, tmp_path) as made:
        shop = made()
        async with shop.app:
            async with shop.app.worker():
                one, two, three = await shop.fail("o-1", "key", "o-2")
            told: list[tuple[int, int]] = []
            sent = await shop.app.redrive(
                shop.queue, error="ConnectionError", rate=1000, progress=lambda *so_far: told.append(so_far)
            )
            assert sent == 2
            assert [done for done, _ in told][-1] == 2
            assert all(done <= total <= 3 for done, total in told)
            assert await left(shop) == [two]
            assert (await shop.app.queue_stats(shop.queue)).ready == 2
            assert sorted([one, three]) == sorted(
                record.id for record in await shop.app.find() if record.status == "PENDING" and record.run == 2
            )


async def test_a_canary_that_succeeds_is_followed_by_the_others(broker: str, tmp_path: Path) -> None:
    async with shops(broker, tmp_path) as made:
        shop = made()
        async with shop.app, shop.app.worker():
            await shop.fail("o-1", "o-2", "o-3")
            shop.open = True
            assert await shop.app.redrive(shop.queue, canary=20) == 3
            await until_seen(shop, 6)
            assert await left(shop) == []


async def test_a_canary_that_fails_stops_the_others(broker: str, tmp_path: Path) -> None:
    async with shops(broker, tmp_path) as made:
        shop = made()
        async with shop.app, shop.app.worker():
            ids = await shop.fail("o-1", "o-2", "o-3")
            with pytest.raises(CanaryFailed, match="the bank has closed") as caught:
                await shop.app.redrive(shop.queue, canary=20)
            await dead_letters(shop.app, shop.queue, 3)
            assert await left(shop) == sorted(ids)
            assert len(shop.seen) == 4, "one was tried, no other"
            runs = {letter.message.id: letter.message.run for letter in await shop.app.dead_letters(shop.queue)}
    assert caught.value.task_id in ids
    assert sorted(runs.values()) == [1, 1, 2]


async def test_a_canary_that_nobody_runs_stops_the_others(broker: str, tmp_path: Path) -> None:
    async with shops(broker, tmp_path) as made:
        shop = made()
        async with shop.app:
            async with shop.app.worker():
                await shop.fail("o-1", "o-2")
            with pytest.raises(CanaryFailed, match="PENDING"):
                await shop.app.redrive(shop.queue, canary=0.2)
            assert len(await left(shop)) == 1


async def test_without_records_a_canary_is_seen_to_fail(broker: str, tmp_path: Path) -> None:
    async with shops(broker, tmp_path, records=False) as made:
        shop = made()
        async with shop.app, shop.app.worker():
            ids = await shop.fail("o-1", "o-2")
            with pytest.raises(CanaryFailed, match="is a dead letter again"):
                await shop.app.redrive(shop.queue, canary=20)
            assert await left(shop) == sorted(ids)


async def test_without_records_a_canary_that_has_left_its_queue_for_good_has_succeeded(
    broker: str, tmp_path: Path
) -> None:
    async with shops(broker, tmp_path, records=False) as made:
        shop = made()
        async with shop.app, shop.app.worker():
            await shop.fail("o-1", "o-2")
            shop.open = True
            if broker == "rabbitmq":  # AMQP does not tell what is being run
                with pytest.raises(CanaryFailed, match="give the app a store of records"):
                    await shop.app.redrive(shop.queue, canary=1)
                assert len(await left(shop)) == 1
            else:
                assert await shop.app.redrive(shop.queue, canary=20) == 2
                await until_seen(shop, 4)


async def test_a_purge_of_another_number_deletes_nothing(broker: str, tmp_path: Path) -> None:
    async with shops(broker, tmp_path) as made:
        shop = made()
        async with shop.app, shop.app.worker():
            ids = await shop.fail("o-1", "key", "o-2")
            for wrong in (1, 3):
                with pytest.raises(CountMismatch, match=f"2 dead letters .* are meant, not {wrong}") as caught:
                    await shop.app.purge(shop.queue, error="ConnectionError", expect=wrong)
                assert caught.value.found == 2
            assert await left(shop) == sorted(ids)
            assert await shop.app.purge(shop.queue, error="ConnectionError", expect=2) == 2
            assert await left(shop) == [ids[1]]
            assert await shop.app.purge(shop.queue) == 1


async def test_a_cancelled_redrive_has_counted_what_it_sent(broker: str, tmp_path: Path) -> None:
    async with shops(broker, tmp_path) as made:
        shop = made()
        async with shop.app:
            async with shop.app.worker():
                ids = await shop.fail(*(f"o-{number}" for number in range(8)))
            told: list[int] = []
            first = asyncio.Event()

            def progress(done: int, total: int) -> None:
                told.append(done)
                first.set()

            async with asyncio.TaskGroup() as group:
                moving = group.create_task(shop.app.redrive(shop.queue, rate=10, progress=progress))
                await asyncio.wait_for(first.wait(), 20)
                moving.cancel()
            found = await left(shop)
            ready = (await shop.app.queue_stats(shop.queue)).ready
    assert ready == told[-1] < 8
    assert len(found) == len(ids) - told[-1], "none is lost, none is there twice"
