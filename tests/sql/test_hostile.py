"""Texts, sizes and numbers that a database takes badly."""

from __future__ import annotations

import pytest

from brokerkit.records import TaskStatus
from brokerkit.store import Put, RecordFilter, Retention
from brokerkit.stores.sql import SqlStore
from tests.sql.making import Place, record, store

pytestmark = pytest.mark.broker

IDS = [
    "'; DROP TABLE records; --",
    "\\'; DROP TABLE records; --",
    '"; DROP TABLE records; --',
    "%s $1 :id ? {0} %(id)s",
    "a",
    "A",
    "a ",
    " a",
    "á",
    "a\0b",
    "\0",
    "~a",
    "",
    "x" * 200,
    "x" * 5000,
    "x" * 5000 + "y",
    "✓" * 67,
    "\U0001d518\u202e",
]


async def test_any_text_is_an_id_a_name_a_queue_and_a_label_of_its_own(place: Place) -> None:
    async with store(place) as kept:
        records = [record(odd, name=odd, queue=odd, metadata={odd: odd}, worker=odd, note=odd) for odd in IDS]
        assert list(await kept.put(records)) == [Put.STORED] * len(records)
        assert list(await kept.get(IDS)) == records
        for odd, wanted in zip(IDS, records, strict=True):
            assert await kept.find(RecordFilter(name=odd)) == [wanted]
            assert await kept.find(RecordFilter(queue=odd, metadata={odd: odd})) == [wanted]
        assert await kept.delete([IDS[4], "nobody"]) == 1
        assert [each is not None for each in await kept.get(IDS)] == [number != 4 for number in range(len(IDS))]


async def test_bytes_that_could_end_a_statement_come_back_as_they_were(place: Place) -> None:
    async with store(place) as kept:
        odd = [bytes(range(256)) * 3, b"\\'; DROP TABLE records; --", b"'", b"\\", b"%s%%", b""]
        records = [record(f"t-{n}", status=TaskStatus.SUCCESS, result=result) for n, result in enumerate(odd)]
        assert set(await kept.put(records)) == {Put.STORED}
        assert [each and each.result for each in await kept.get([each.id for each in records])] == odd


async def test_numbers_that_no_column_holds_are_kept_all_the_same(place: Place) -> None:
    huge = 2**64 - 1
    async with store(place) as kept:
        records = [
            record("t-1", attempt=huge, deliveries=huge, run=huge),
            record("t-2", created=float("inf")),
            record("t-3", progress=float("-inf"), started=1e300),
        ]
        assert list(await kept.put(records)) == [Put.STORED] * 3
        assert list(await kept.get([each.id for each in records])) == records


async def test_what_cannot_be_encoded_fails_alone(place: Place) -> None:
    async with store(place) as kept:
        odd = [record("t-1"), record("\ud800"), record("t-2", note="\udfff"), record("t-3")]
        assert list(await kept.put(odd)) == [Put.STORED, Put.ERROR, Put.ERROR, Put.STORED]
        assert [each is not None for each in await kept.get(["t-1", "\ud800", "t-2", "t-3"])] == [
            True,
            False,
            False,
            True,
        ]
        assert await kept.find(RecordFilter(name="\ud800", metadata={"\ud800": "\ud800"})) == []


async def test_a_value_that_the_database_refuses_fails_alone(place: Place) -> None:
    prefix = place.prefix()
    async with store(place, prefix) as kept:
        table = place.table(prefix)
        await place.run(f"ALTER TABLE {table} ADD CONSTRAINT odd CHECK (deliveries <> 7)")
        records = [record(f"t-{number}", deliveries=number) for number in range(12)]
        assert list(await kept.put(records)) == [Put.ERROR if n == 7 else Put.STORED for n in range(12)]


async def test_labels_are_equal_where_their_values_are(place: Place) -> None:
    async with store(place) as kept:
        await kept.put([record("one", metadata={"n": 1}), record("text", metadata={"n": "1"})])
        await kept.put([record("true", metadata={"n": True, "m": 0.5})])
        for value in (1, 1.0, True):
            assert {each.id for each in await kept.find(RecordFilter(metadata={"n": value}))} == {"one", "true"}
        assert [each.id for each in await kept.find(RecordFilter(metadata={"n": "1"}))] == ["text"]
        assert [each.id for each in await kept.find(RecordFilter(metadata={"m": 0.5, "n": 1}))] == ["true"]


async def test_many_large_records_are_stored_in_statements_that_the_server_takes(place: Place) -> None:
    async with store(place) as kept:
        large = [record(f"t-{n}", status=TaskStatus.SUCCESS, result=bytes([n]) * 900_000) for n in range(24)]
        assert set(await kept.put(large)) == {Put.STORED}
        assert list(await kept.get([each.id for each in large])) == large


async def test_a_record_larger_than_the_server_takes_is_too_large_and_fails_alone(place: Place) -> None:
    if place.postgresql:
        pytest.skip("PostgreSQL takes statements larger than any record")
    [(packet,)] = await place.run("SELECT @@max_allowed_packet")
    async with SqlStore(place.url(place.prefix()), retention=Retention(max_bytes=1 << 30)) as kept:
        large = record("large", status=TaskStatus.SUCCESS, result=bytes(int(packet) // 2))
        assert list(await kept.put([record("a"), large, record("z")])) == [Put.STORED, Put.TOO_LARGE, Put.STORED]
        fits = record("fits", status=TaskStatus.SUCCESS, result=bytes(int(packet) // 2 - (70 << 10)))
        assert list(await kept.put([fits])) == [Put.STORED]


async def test_a_stale_report_over_the_limit_is_stale(place: Place) -> None:
    async with SqlStore(place.url(place.prefix()), retention=Retention(max_bytes=1000)) as kept:
        await kept.put([record("t-1", status=TaskStatus.SUCCESS)])
        large = record("t-1", status=TaskStatus.SUCCESS, result=bytes(2000))
        assert list(await kept.put([large, record("t-2", result=bytes(2000))])) == [Put.STALE, Put.TOO_LARGE]
        await kept.put([record("t-3", note="n" * 600)])
        merged = record("t-3", deliveries=2, metadata={"m": "m" * 600})
        assert list(await kept.put([merged])) == [Put.TOO_LARGE], "together they are over the limit"
