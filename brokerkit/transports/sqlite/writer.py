"""The one thread of a process that writes: everything that waits becomes one transaction."""

from __future__ import annotations

import asyncio
import logging
import queue
import sqlite3
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

from brokerkit.errors import TransportError
from brokerkit.transports.sqlite.errors import BUSY, code_of
from brokerkit.transports.sqlite.opening import open_writer
from brokerkit.transports.sqlite.threads import DatabaseThread, failing, finish, mapped
from brokerkit.transports.sqlite.transaction import Transaction

_log = logging.getLogger("brokerkit.sqlite")

T = TypeVar("T")
R = TypeVar("R")
Item_contra = TypeVar("Item_contra", contravariant=True)
Answer_co = TypeVar("Answer_co", covariant=True)

PATIENCE = 10.0
"""Seconds to wait for other processes' transactions."""
_LULL = 0.003
"""Seconds without a call after which the next one is likely to be of the kind that came after the last lull."""
_MOST_ITEMS = 2048
"""Items of one transaction: more would make everybody wait for little gain."""


class Work(Protocol[Item_contra, Answer_co]):
    """Something the writer does for many callers at once.

    ``durable`` asks for a commit that survives a power cut. ``run`` answers the items of all calls that wait, in order.
    It may be run again after a rollback, so it leaves nothing but what the transaction undoes.
    """

    durable: bool

    def run(self, tx: Transaction, items: Sequence[Item_contra]) -> Sequence[Answer_co]: ...


class Job(NamedTuple):
    """One call that waits."""

    work: Work[Any, Any]
    items: Sequence[Any]
    future: asyncio.Future[Any]
    single: bool = False


class Chore(NamedTuple):
    """Something the writer does by itself from time to time, outside a transaction."""

    period: float
    run: Callable[[], object]


class Writer(DatabaseThread[Job]):
    """Takes everything that waits and does it in one transaction."""

    def __init__(
        self, path: Path, loop: asyncio.AbstractEventLoop, now: Callable[[], float], *, name: str = "brokerkit-writer"
    ) -> None:
        super().__init__(name, path, loop)
        self._now = now
        self._chores: list[tuple[float, Chore]] = []
        self._durable: bool | None = None
        self._lull = False
        self._first_durable = False
        self.connection: sqlite3.Connection
        self.committed: list[Callable[[Transaction], None]] = []
        """Called in the writer's thread after each commit."""

    async def do(self, work: Work[T, R], items: Sequence[T]) -> list[R]:
        """Have a work done; other callers' items may be done with it."""
        return await self.start_doing(work, items)

    def start_doing(self, work: Work[T, R], items: Sequence[T]) -> asyncio.Future[list[R]]:
        """As ``do``; the answer comes even if nobody waits for it."""
        future: asyncio.Future[list[R]] = self.loop.create_future()
        self.put(Job(work, items, future))
        return future

    def send(self, work: Work[T, R], items: Sequence[T]) -> None:
        """As ``do``, for whom the answer does not matter."""
        future = self.start_doing(work, items)
        future.add_done_callback(lambda done: done.cancelled() or done.exception())

    def start_doing_one(self, work: Work[T, R], item: T) -> asyncio.Future[R]:
        """As ``start_doing``, for a single item."""
        future: asyncio.Future[R] = self.loop.create_future()
        self.put(Job(work, [item], future, single=True))
        return future

    def every(self, chore: Chore) -> None:
        """Add a chore; before ``start`` or in the writer's thread."""
        self._chores.append((time.monotonic() + chore.period, chore))

    def never(self, chore: Chore) -> None:
        """Drop a chore; in the writer's thread."""
        self._chores = [(due, each) for due, each in self._chores if each is not chore]

    def do_now(self, work: Work[T, R], items: Sequence[T]) -> list[R]:
        """In the writer's thread: a transaction of its own."""
        results, tx = self._transact([(work, items)])
        self._announce(tx, [])
        return list(results[0])

    def _future_of(self, job: Job) -> asyncio.Future[Any]:
        return job.future

    def _open(self) -> sqlite3.Connection:
        self.connection = open_writer(self.path)
        return self.connection

    def _work(self, connection: sqlite3.Connection) -> None:
        ended = False
        # A loop that was closed without closing this must not keep leases alive.
        while not ended and not self.loop.is_closed():
            jobs, ended = self._take()
            if jobs:
                self._serve(jobs)
            if not ended:
                self._do_chores()

    def _take(self) -> tuple[list[Job], bool]:
        """Everything that waits, and whether the end was among it; waits until the next chore at most."""
        jobs: list[Job] = []
        items = 0
        try:
            job = self._queue.get(timeout=self._idle_time())
            while job is not None:
                jobs.append(job)
                items += len(job.items)
                if items >= _MOST_ITEMS:
                    return jobs, False
                job = self._queue.get_nowait()
        except queue.Empty:
            if not jobs:
                self._rest()
            return jobs, False
        return jobs, True

    def _idle_time(self) -> float:
        """Seconds until the next chore; less before a lull."""
        longest = PATIENCE if self._lull else _LULL
        return max(0.0, min([longest, *(due - time.monotonic() for due, _ in self._chores)]))

    def _rest(self) -> None:
        """Switching takes longer than beginning: while nothing waits, switch to what came first after the last lull."""
        if not self._lull:
            self._lull = True
            self._guarded(lambda: self._synchronise(self._first_durable))

    def _do_chores(self) -> None:
        now = time.monotonic()
        for index, (due, chore) in enumerate(self._chores):
            if due <= now:
                self._chores[index] = (now + chore.period, chore)
                self._guarded(chore.run)

    def _serve(self, jobs: list[Job]) -> None:
        """One transaction for all; if it fails, one for each, so that nobody fails for another."""
        grouped: dict[Work[Any, Any], list[Job]] = {}
        for job in jobs:
            grouped.setdefault(job.work, []).append(job)
        try:
            batch = [(work, [item for job in mine for item in job.items]) for work, mine in grouped.items()]
            results, tx = self._transact(batch)
            if self._lull:
                self._lull, self._first_durable = False, any(work.durable for work in grouped)
        except Exception as error:  # noqa: BLE001 - whoever waits for the job gets it
            if len(jobs) == 1 or (isinstance(error, sqlite3.Error) and code_of(error) in BUSY):
                self._fail(jobs, mapped(str(self.path), error))
                return
            for job in jobs:
                self._serve([job])
            return
        answers: list[tuple[asyncio.Future[Any], Any]] = []
        for mine, result in zip(grouped.values(), results, strict=True):
            start = 0
            for job in mine:
                mine_only = list(result[start : start + len(job.items)])
                answers.append((job.future, mine_only[0] if job.single else mine_only))
                start += len(job.items)
        self._announce(tx, answers)

    def _announce(self, tx: Transaction, answers: list[tuple[asyncio.Future[Any], Any]]) -> None:
        for told in self.committed:
            self._guarded(lambda told=told: told(tx))  # type: ignore[misc]
        if answers or tx.after:
            self.on_loop(lambda: _deliver(answers, tx.after))

    def _guarded(self, call: Callable[[], object]) -> None:
        """What nobody waits for is tried again next time; here it may stop nothing."""
        try:
            call()
        except (sqlite3.Error, TransportError) as error:
            _log.warning("%s: %s", self.path, error)
        except Exception:  # noqa: BLE001 - nobody is above
            _log.exception("upkeep of %s has failed", self.path)

    def _fail(self, jobs: list[Job], error: Exception) -> None:
        for job in jobs:
            self.on_loop(failing(job.future, error))

    def _transact(
        self, batch: Sequence[tuple[Work[Any, Any], Sequence[Any]]]
    ) -> tuple[list[Sequence[Any]], Transaction]:
        self._synchronise(any(work.durable for work, _ in batch))
        self._begin()
        tx = Transaction(self.connection, self._now())
        try:
            results = [work.run(tx, items) for work, items in batch]
            self.connection.execute("COMMIT")
        except BaseException:
            # A full disk has rolled back already.
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK")
            raise
        return results, tx

    def _synchronise(self, durable: bool) -> None:
        """Choose before BEGIN whether this commit waits for the disk."""
        if durable is not self._durable:
            self.connection.execute("PRAGMA synchronous = FULL" if durable else "PRAGMA synchronous = NORMAL")
            self._durable = durable

    def _begin(self) -> None:
        deadline, pause = time.monotonic() + PATIENCE, 0.0002
        while True:
            try:
                self.connection.execute("BEGIN IMMEDIATE")
                return
            except sqlite3.OperationalError as error:
                if code_of(error) not in BUSY or time.monotonic() > deadline:
                    raise
            time.sleep(pause)
            pause = min(pause * 1.5, 0.004)


def _deliver(answers: list[tuple[asyncio.Future[Any], Any]], after: list[Callable[[], None]]) -> None:
    for future, answer in answers:
        finish(future, answer)
    for call in after:
        call()
