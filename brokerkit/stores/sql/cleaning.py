"""Forgetting what is past its retention or over the cap, in batches, beside the writes that make it necessary."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence

from sqlalchemy import ColumnElement, delete, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from brokerkit.clock import Clock
from brokerkit.errors import StoreError
from brokerkit.records import TaskStatus
from brokerkit.store import Retention
from brokerkit.stores.sql.database import Database

_log = logging.getLogger("brokerkit.stores")

_WRITES = 1000
"""Records written between two cleanings."""
_INTERVAL = 60.0
"""Seconds after which the next write cleans, however few there were."""
_BATCH = 1000
"""Records a statement deletes at most."""
_BATCHES = 4
"""Batches of a cleaning at most: more than were written since the last, so that it keeps up and delays nobody long."""
_SECONDS = 3.0
"""What a step may take: those who write wait for it."""
_SHARE = 20
"""Own writes between two counts are at most this part of the cap, because other processes write, too."""
_SLACK = 50
"""So much of the cap is freed beyond it, so that a full store is not counted all the time."""


class Cleaner:
    """Cleans.

    Args:
        database: What to clean.
        retention: How long records are kept, and how many.
        clock: Supplies the time.
    """

    def __init__(self, database: Database, retention: Retention, clock: Clock) -> None:
        self._database = database
        self._cap = retention.cap
        self._clock = clock
        self._busy = False
        self._room = 0
        self._writes = 0
        self._next = 0.0

    async def written(self, count: int) -> None:
        """So many records have been written; clean when it is time. What goes wrong is logged, and tried again."""
        self._room -= count
        self._writes += count
        over = self._cap is not None and self._room < 0
        due = self._writes >= _WRITES or self._clock.monotonic() >= self._next
        if self._busy or not (over or due):
            return
        self._busy = True
        try:
            if due:
                await self._expire()
            if over and self._cap is not None:
                await self._keep_to(self._cap)
        except StoreError as error:
            self._room = max(self._room, _WRITES)  # not with every write, while the database is unwell
            _log.warning("old records are not removed for now: %s", error)
        finally:
            self._busy = False

    async def _expire(self) -> None:
        self._writes = 0
        self._next = self._clock.monotonic() + _INTERVAL
        for _ in range(_BATCHES):
            if await self._drop_expired(_BATCH) < _BATCH:
                return

    async def _keep_to(self, cap: int) -> None:
        """Drop the oldest finished records over the cap, then, if that is not enough, the oldest of the others."""
        count = await self._database.run(self._count, seconds=_SECONDS)
        if count > cap:
            surplus = count - cap + cap // _SLACK
            for statuses in (_FINISHED, _UNFINISHED):
                while (dropped := await self._drop_oldest(statuses, min(surplus, _BATCH))) > 0:
                    count, surplus = count - dropped, surplus - dropped
        self._room = min(cap - count, max(1, cap // _SHARE))

    async def _drop_oldest(self, statuses: Sequence[str], limit: int) -> int:
        columns = self._database.backend.tables.records.c
        if limit <= 0:
            return 0

        async def oldest(connection: AsyncConnection) -> list[str]:
            # Each status by itself, because that is what an index has in order.
            found: list[tuple[float, str]] = []
            for status in statuses:
                query = select(columns.created, columns.id).where(columns.status == status)
                rows = await connection.execute(query.order_by(columns.created).limit(limit))
                found += ((row.created, row.id) for row in rows)
            return [each for _, each in sorted(found)[:limit]]

        return await self._drop(oldest, columns.status.in_(statuses))

    async def _drop_expired(self, limit: int) -> int:
        columns = self._database.backend.tables.records.c
        past = columns.expires <= self._clock.now()

        async def expired(connection: AsyncConnection) -> list[str]:
            query = select(columns.id).where(past).order_by(columns.expires).limit(limit)
            return list((await connection.execute(query)).scalars())

        return await self._drop(expired, past)

    async def _drop(self, choose: Callable[[AsyncConnection], Awaitable[list[str]]], still: ColumnElement[bool]) -> int:
        """Delete what is chosen and meanwhile unchanged; returns how many were chosen. Chosen first, without locks, and
        deleted in the order in which everybody locks."""

        async def work(connection: AsyncConnection) -> int:
            chosen = sorted(await choose(connection))
            if chosen:
                backend = self._database.backend
                records = backend.tables.records
                await connection.execute(delete(records).where(backend.among(records.c.id, chosen), still))
            return len(chosen)

        return await self._database.run(work, seconds=_SECONDS)

    async def _count(self, connection: AsyncConnection) -> int:
        query = select(func.count()).select_from(self._database.backend.tables.records)
        return (await connection.execute(query)).scalar_one()


_FINISHED = [status.value for status in TaskStatus if status.terminal]
_UNFINISHED = [status.value for status in TaskStatus if not status.terminal]
