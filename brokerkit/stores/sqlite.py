"""Records in an SQLite file: a broker's own, or one for brokers that keep none."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from pathlib import Path
from typing import Self

from brokerkit.checkup import Check
from brokerkit.clock import Clock, SystemClock
from brokerkit.errors import StoreError, TransportError
from brokerkit.records import RecordPatch, TaskRecord
from brokerkit.store import Put, RecordFilter, Retention
from brokerkit.topology import Topology
from brokerkit.transports.sqlite import sql
from brokerkit.transports.sqlite.checkup import checkup
from brokerkit.transports.sqlite.database import Call, Database
from brokerkit.transports.sqlite.records import find, load
from brokerkit.transports.sqlite.transaction import Transaction, array


class SqliteStore(AbstractAsyncContextManager["SqliteStore"]):
    """An ``OpenStore`` with ``Leases``, ``AddOnce`` and ``Counters``.

    Args:
        place: A file, which may be a broker's; or the database that a transport has open (``SqliteTransport.store``),
            which then needs not be entered.
        clock: Where the time comes from, for a file. Default the machine's.
        retention: How long records are kept, for a file. Default ``Retention()``.
    """

    def __init__(
        self,
        place: str | os.PathLike[str] | Database,
        *,
        clock: Clock | None = None,
        retention: Retention | None = None,
    ) -> None:
        if not isinstance(place, Database):
            place = Database(Path(place), clock or SystemClock(), retention or Retention())
        self._database: Database = place
        self._entered = False

    async def __aenter__(self) -> Self:
        if not self._entered:
            with _store_errors():
                await self._database.__aenter__()
            self._entered = True
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        if self._entered:
            self._entered = False
            await self._database.__aexit__()

    async def put(self, records: Sequence[TaskRecord]) -> Sequence[Put]:
        with _store_errors():
            return await self._database.do(self._database.records, records)

    async def patch(self, patches: Sequence[RecordPatch]) -> Sequence[Put]:
        with _store_errors():
            return await self._database.do(self._database.records, patches)

    async def get(self, ids: Sequence[str]) -> Sequence[TaskRecord | None]:
        now = self._database.clock.now()
        with _store_errors():
            found = await self._database.ask(lambda connection: load(connection, ids, now))
        by_id = {record.id: record for record in found}
        return [by_id.get(each) for each in ids]

    async def find(self, filter: RecordFilter) -> list[TaskRecord]:  # noqa: A002 - the contract's name
        now = self._database.clock.now()
        with _store_errors():
            return await self._database.ask(lambda connection: find(connection, filter, now))

    async def delete(self, ids: Sequence[str]) -> int:
        with _store_errors():
            counts: list[int] = await self._database.do(_CHANGE, [lambda tx: tx.run(sql.DELETE_RECORDS, array(ids))])
        return counts[0]

    async def lease(self, name: str, owner: str, seconds: float) -> bool:
        return bool(await self._mark(lambda tx: tx.run(sql.LEASE, name, owner, tx.now + seconds, tx.now)))

    async def checkup(self, topology: Topology) -> list[Check]:
        with _store_errors():
            return await self._database.ask(lambda connection: checkup(connection, self._database.path))

    async def add_once(self, key: str, seconds: float) -> bool:
        return bool(await self._mark(lambda tx: tx.run(sql.ADD_ONCE, key, tx.now + seconds, tx.now)))

    async def count(self, name: str, by: int, seconds: float) -> int:
        return await self._mark(lambda tx: int(tx.row(sql.COUNT, name, by, tx.now + seconds, tx.now)[0]))

    async def _mark(self, change: Callable[[Transaction], int]) -> int:
        def work(tx: Transaction) -> int:
            tx.run(sql.MARKS_OVER, tx.now)
            return change(tx)

        with _store_errors():
            found: list[int] = await self._database.do(_CHANGE, [work])
        return found[0]


_CHANGE = Call(durable=True)


@contextmanager
def _store_errors() -> Iterator[None]:
    """The file's errors as those of a store."""
    try:
        yield
    except TransportError as error:
        raise StoreError(str(error)) from error
