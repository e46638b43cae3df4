"""One file as one process uses it: a thread that writes, a thread that reads."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self, TypeVar

from brokerkit.clock import Clock
from brokerkit.errors import ConnectionLost
from brokerkit.store import Retention
from brokerkit.transports.sqlite import sql
from brokerkit.transports.sqlite.records import Records
from brokerkit.transports.sqlite.threads import Reader
from brokerkit.transports.sqlite.transaction import Transaction
from brokerkit.transports.sqlite.writer import Chore, Work, Writer

T = TypeVar("T")
R = TypeVar("R")

_CLEAN_EVERY = 2.0
"""Seconds between removals of old records."""
CLEAN_AT_ONCE = 500
_CLEAN_PARTS = 60


class Database:
    """Shared by a transport and its store: opened by the first that enters, closed by the last that leaves.

    Args:
        path: The file.
        clock: Where the time in messages and records comes from.
        retention: How long records are kept.
    """

    def __init__(self, path: Path, clock: Clock, retention: Retention) -> None:
        self.path, self.clock = path, clock
        self.records = Records(retention)
        self._users = 0
        self._opening = asyncio.Lock()
        self._threads: tuple[Writer, Reader] | None = None

    async def __aenter__(self) -> Self:
        async with self._opening:
            if self._threads is None:
                self._threads = await self._open()
            self._users += 1
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        async with self._opening:
            self._users -= 1
            if self._users == 0 and self._threads is not None:
                (writer, reader), self._threads = self._threads, None
                await reader.stop()
                await writer.stop()

    @property
    def writer(self) -> Writer:
        """The thread that writes; raises ``ConnectionLost`` while closed."""
        return self._open_threads()[0]

    @property
    def reader(self) -> Reader:
        """The thread that reads; raises ``ConnectionLost`` while closed."""
        return self._open_threads()[1]

    async def do(self, work: Work[T, R], items: Sequence[T]) -> list[R]:
        """Have the writer do something; nothing to do answers at once."""
        return await self.writer.do(work, items) if items else []

    async def ask(self, question: Callable[[sqlite3.Connection], R]) -> R:
        """Have the reader answer something."""
        return await self.reader.ask(question)

    def _open_threads(self) -> tuple[Writer, Reader]:
        if self._threads is None:
            raise ConnectionLost(f"{self.path} is not open; use it inside: async with")
        return self._threads

    def _clean(self, writer: Writer) -> None:
        """Part by part, so that others get their turn, but no slower than records come in."""
        work = Clean(self.records.retention)
        for _ in range(_CLEAN_PARTS):
            (removed,) = writer.do_now(work, [None])
            if removed < CLEAN_AT_ONCE:
                break

    async def _open(self) -> tuple[Writer, Reader]:
        loop = asyncio.get_running_loop()
        writer = Writer(self.path, loop, self.clock.now)
        writer.every(Chore(_CLEAN_EVERY, lambda: self._clean(writer)))
        await writer.start()
        reader = Reader("brokerkit-reader", self.path, loop)
        try:
            await reader.start()
        except BaseException:
            await writer.stop()
            raise
        return writer, reader


class Clean:
    """The work that removes old records, a bounded number at a time."""

    durable = False

    def __init__(self, retention: Retention) -> None:
        self._retention = retention

    def run(self, tx: Transaction, items: Sequence[None]) -> list[int]:
        removed = tx.run(sql.DROP_OLD_RECORDS, tx.now, CLEAN_AT_ONCE)
        cap = self._retention.cap
        # The span of row numbers is never less than the count, and costs no counting.
        if not removed and cap is not None and tx.row(sql.RECORDS_SPAN)[0] > cap:
            surplus = tx.row(sql.COUNT_RECORDS)[0] - cap
            removed = tx.run(sql.DROP_SURPLUS_RECORDS, min(surplus, CLEAN_AT_ONCE)) if surplus > 0 else 0
        return [removed for _ in items]


class Call:
    """Work that is one function, for what happens rarely."""

    def __init__(self, *, durable: bool) -> None:
        self.durable = durable

    def run(self, tx: Transaction, items: Sequence[Callable[[Transaction], T]]) -> list[T]:
        return [call(tx) for call in items]
