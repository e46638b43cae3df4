"""A thread that owns a connection, and the one that only reads."""

from __future__ import annotations

import asyncio
import logging
import os
import queue
import sqlite3
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, TypeVar

from brokerkit.errors import TransportError
from brokerkit.transports.sqlite.errors import while_running
from brokerkit.transports.sqlite.opening import open_reader

_log = logging.getLogger("brokerkit.sqlite")

T = TypeVar("T")
R = TypeVar("R")


class DatabaseThread(ABC, Generic[T]):
    """A daemon thread that owns a connection and works off a queue."""

    def __init__(self, name: str, path: Path, loop: asyncio.AbstractEventLoop) -> None:
        self.path = path
        self.loop = loop
        self._pid = os.getpid()
        self._queue: queue.SimpleQueue[T | None] = queue.SimpleQueue()
        self._started: asyncio.Future[None] = loop.create_future()
        self._ended: asyncio.Future[None] = loop.create_future()
        self._closed = False
        self._thread = threading.Thread(target=self._main, name=name, daemon=True)

    async def start(self) -> None:
        """Open the connection; raises ``ConnectFailed``."""
        self._thread.start()
        try:
            await self._started
        except asyncio.CancelledError:
            self._queue.put(None)
            raise

    async def stop(self) -> None:
        """Finish what is queued, close the connection and end."""
        if not self._closed:
            self._closed = True
            self._queue.put(None)
        await asyncio.shield(self._ended)
        self._thread.join()

    def put(self, job: T) -> None:
        """Queue a job; refused after closing and in a forked child."""
        if os.getpid() != self._pid:
            raise TransportError(
                f"{self.path} was opened before this process was forked; open it in the child, or start the child with"
                " 'spawn'"
            )
        if self._closed:
            raise TransportError(f"{self.path} has been closed")
        self._queue.put(job)

    def on_loop(self, call: Callable[[], object]) -> None:
        """Call on the event loop; nothing once the loop is closed, when nobody waits any more."""
        try:
            self.loop.call_soon_threadsafe(call)
        except RuntimeError:
            self._closed = True

    def _main(self) -> None:
        try:
            connection = self._open()
        except Exception as error:  # noqa: BLE001 - whoever waits for the start gets it
            self.on_loop(failing(self._started, error))
            return
        self.on_loop(lambda: finish(self._started, None))
        try:
            self._work(connection)
        except Exception:  # noqa: BLE001 - nobody is above
            # Nothing is known that leads here; whoever waits must not wait for ever.
            _log.exception("the thread for %s has failed", self.path)
        finally:
            self._closed = True
            self._refuse_all()
            connection.close()
            self.on_loop(lambda: finish(self._ended, None))

    def _refuse_all(self) -> None:
        """Whoever still waits learns that nothing comes any more."""
        error = TransportError(f"{self.path} has been closed")
        while not self._queue.empty():
            if (job := self._queue.get()) is not None:
                self.on_loop(failing(self._future_of(job), error))

    @abstractmethod
    def _future_of(self, job: T) -> asyncio.Future[Any]:
        """Who waits for the job."""

    @abstractmethod
    def _open(self) -> sqlite3.Connection:
        """Connect; in the thread."""

    @abstractmethod
    def _work(self, connection: sqlite3.Connection) -> None:
        """Do jobs until the end; in the thread."""


Question = tuple[Callable[[sqlite3.Connection], Any], "asyncio.Future[Any]"]


class Reader(DatabaseThread[Question]):
    """Answers questions beside the writer."""

    async def ask(self, question: Callable[[sqlite3.Connection], R]) -> R:
        """Run a function of the connection on the thread."""
        return await self.start_asking(question)

    def start_asking(self, question: Callable[[sqlite3.Connection], R]) -> asyncio.Future[R]:
        """As ``ask``; the answer comes even if nobody waits for it."""
        future: asyncio.Future[R] = self.loop.create_future()
        self.put((question, future))
        return future

    def _future_of(self, job: Question) -> asyncio.Future[Any]:
        return job[1]

    def _open(self) -> sqlite3.Connection:
        return open_reader(self.path)

    def _work(self, connection: sqlite3.Connection) -> None:
        while (job := self._queue.get()) is not None and not self.loop.is_closed():
            question, future = job
            try:
                answer = question(connection)
            except Exception as error:  # noqa: BLE001 - whoever asked gets it
                self.on_loop(failing(future, mapped(str(self.path), error)))
            else:
                self.on_loop(finishing(future, answer))


def mapped(path: str, error: Exception) -> Exception:
    """The error for the caller, with its cause."""
    if not isinstance(error, sqlite3.Error):
        return error
    mapped = while_running(path, error)
    mapped.__cause__ = error
    return mapped


def finish(future: asyncio.Future[Any], result: Any) -> None:
    if not future.done():
        future.set_result(result)


def finishing(future: asyncio.Future[Any], result: Any) -> Callable[[], None]:
    return lambda: finish(future, result)


def failing(future: asyncio.Future[Any], error: Exception) -> Callable[[], None]:
    def fail() -> None:
        if not future.done():
            future.set_exception(error)

    return fail
