"""The store: a ``brokerkit.store.OpenStore`` in a database."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Self

from sqlalchemy import ColumnElement, delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from brokerkit.checkup import Check
from brokerkit.clock import Clock, SystemClock
from brokerkit.records import RecordPatch, TaskRecord
from brokerkit.store import Put, RecordFilter, Retention
from brokerkit.stores.sql.backend import Backend
from brokerkit.stores.sql.checkup import checkup
from brokerkit.stores.sql.cleaning import Cleaner
from brokerkit.stores.sql.database import Database
from brokerkit.stores.sql.options import Target, target_of
from brokerkit.stores.sql.rows import decode, key, keys, label_tokens
from brokerkit.stores.sql.schema import prepare
from brokerkit.stores.sql.transaction import transaction
from brokerkit.stores.sql.writing import Writer
from brokerkit.topology import Topology

_AT_ONCE = 1000
"""Ids of a statement at most."""


class SqlStore:
    """An ``OpenStore`` in PostgreSQL, MariaDB or MySQL. Entering creates the tables, or brings them up to date.

    Args:
        url: ``postgresql://``, ``mysql://`` or ``mariadb://``, then ``user:password@host:port/database``, then perhaps
            ``?`` and options, see ``options.SqlOptions``.
        clock: Where the time comes from. Default the machine's.
        retention: How long records are kept. Default ``Retention()``. Processes that share the tables may differ: each
            record is kept as long as whoever wrote it last says. Several that write at once may exceed the cap for a
            while, each by a twentieth of it.

    Raises:
        ConfigurationError: The URL or one of its options is wrong.
    """

    def __init__(self, url: str, *, clock: Clock | None = None, retention: Retention | None = None) -> None:
        self._clock = clock or SystemClock()
        retention = retention or Retention()
        target = target_of(url)
        self._database = Database(target, _backend(target))
        self._writer = Writer(self._database, retention, self._clock)
        self._cleaner = Cleaner(self._database, retention, self._clock)
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._database)
            await prepare(self._database)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._stack.aclose()

    async def put(self, records: Sequence[TaskRecord]) -> Sequence[Put]:
        answers = await self._writer.write(records)
        await self._cleaner.written(answers.count(Put.STORED))
        return answers

    async def patch(self, patches: Sequence[RecordPatch]) -> Sequence[Put]:
        return await self._writer.write(patches)

    async def get(self, ids: Sequence[str]) -> Sequence[TaskRecord | None]:
        now, wanted = self._clock.now(), keys(ids)
        found: dict[str, TaskRecord] = {}
        columns = self._database.backend.tables.records.c
        for start in range(0, len(wanted), _AT_ONCE):
            some = self._database.backend.among(columns.id, wanted[start : start + _AT_ONCE])
            found |= {record.id: record for record in await self._read(some, columns.expires > now)}
        return [found.get(each) for each in ids]

    async def find(self, filter: RecordFilter) -> list[TaskRecord]:  # noqa: A002 - the contract's name
        if filter.limit <= 0:
            return []
        columns = self._database.backend.tables.records.c
        return await self._read(columns.expires > self._clock.now(), *self._conditions(filter), newest=filter.limit)

    async def delete(self, ids: Sequence[str]) -> int:
        now, wanted = self._clock.now(), keys(ids)
        return sum(
            [await self._delete(wanted[start : start + _AT_ONCE], now) for start in range(0, len(wanted), _AT_ONCE)]
        )

    async def checkup(self, topology: Topology) -> list[Check]:
        return await checkup(self._database)

    async def _read(self, *conditions: ColumnElement[bool], newest: int | None = None) -> list[TaskRecord]:
        columns = self._database.backend.tables.records.c
        query = select(columns.body).where(*conditions)
        if newest is not None:
            query = query.order_by(columns.created.desc(), columns.id.desc()).limit(newest)

        async def work(connection: AsyncConnection) -> Sequence[bytes]:
            return (await connection.execute(query)).scalars().all()

        return [decode(body) for body in await self._database.run(work)]

    def _conditions(self, wanted: RecordFilter) -> list[ColumnElement[bool]]:
        columns = self._database.backend.tables.records.c
        conditions: list[ColumnElement[bool]] = []
        if wanted.name is not None:
            conditions.append(columns.name == key(wanted.name))
        if wanted.queue is not None:
            conditions.append(columns.queue == key(wanted.queue))
        if wanted.statuses:
            conditions.append(columns.status.in_([status.value for status in wanted.statuses]))
        if wanted.created_after is not None:
            conditions.append(columns.created >= wanted.created_after)
        if wanted.created_before is not None:
            conditions.append(columns.created < wanted.created_before)
        if wanted.metadata:
            conditions.append(self._database.backend.labelled(label_tokens(wanted.metadata)))
        return conditions

    async def _delete(self, wanted: Sequence[str], now: float) -> int:
        backend = self._database.backend
        columns = backend.tables.records.c
        chosen = backend.among(columns.id, wanted)
        committing = False

        async def work(connection: AsyncConnection) -> int:
            nonlocal committing
            async with transaction(connection, backend.begin):
                query = select(columns.expires).where(chosen).order_by(columns.id).with_for_update()
                expires = (await connection.execute(query)).scalars().all()
                await connection.execute(delete(backend.tables.records).where(chosen))
                committing = True
            return sum(each > now for each in expires)

        # After a commit that nobody heard of, the second answer would be that there were none.
        return await self._database.run(work, repeatable=lambda: not committing)


def _backend(target: Target) -> Backend:
    """The database's kind, and its driver with it."""
    if target.scheme == "postgresql":
        from brokerkit.stores.sql.postgresql import Postgresql

        return Postgresql(target)
    from brokerkit.stores.sql.mysql import Mysql

    return Mysql(target)
