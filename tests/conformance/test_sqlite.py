"""The SQLite transport and store against the conformance suite, on the machine's clock."""

from __future__ import annotations

import asyncio
import sqlite3
from itertools import count
from pathlib import Path

import pytest

from brokerkit.clock import Clock, SystemClock
from brokerkit.store import Retention, Store
from brokerkit.stores.sqlite import SqliteStore
from brokerkit.testing.conformance import STORE_SCENARIOS, TRANSPORT_SCENARIOS, Scenario, StoreScenario
from brokerkit.transport import Transport
from brokerkit.transports.sqlite import SqliteTransport


class FileHarness:
    """A file of its own for each scenario; a process is a transport with its own threads, sockets and leases."""

    short = True
    step = 0.3
    quiet = 0.15
    patience = 10.0

    def __init__(self, path: Path) -> None:
        self.clock: Clock = SystemClock()
        self._path = path
        self._numbers = count(1)

    def connect(self) -> SqliteTransport:
        return SqliteTransport(self._path, lease=5.0)

    async def crash(self, transport: Transport) -> None:
        assert isinstance(transport, SqliteTransport)
        await transport.abandon()

    async def lose(self, transport: Transport) -> None:
        assert isinstance(transport, SqliteTransport)
        await transport.disconnect()

    async def advance(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def name(self, stem: str) -> str:
        return f"{stem}-{next(self._numbers)}"

    def store(self, transport: Transport) -> Store:
        assert isinstance(transport, SqliteTransport)
        return transport.store

    async def inject(self, queue: str, body: bytes) -> None:
        connection = sqlite3.connect(self._path, isolation_level=None)
        try:
            connection.execute(
                "INSERT INTO messages (source, lane, id, body) SELECT id, 0, '', ? FROM sources WHERE key = ?",
                (body, queue),
            )
        finally:
            connection.close()


@pytest.mark.parametrize("scenario", TRANSPORT_SCENARIOS, ids=lambda scenario: scenario.__name__)
async def test_sqlite_transport(scenario: Scenario, tmp_path: Path) -> None:
    await scenario(FileHarness(tmp_path / "broker.db"))


class FileStoreHarness:
    """Records in a file without a broker."""

    short = True
    step = 0.3

    def __init__(self, path: Path) -> None:
        self.clock: Clock = SystemClock()
        self._path = path
        self._numbers = count(1)

    def connect(self, retention: Retention | None = None) -> SqliteStore:
        return SqliteStore(self._path, retention=retention)

    async def advance(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def name(self, stem: str) -> str:
        return f"{stem}-{next(self._numbers)}"


@pytest.mark.parametrize("scenario", STORE_SCENARIOS, ids=lambda scenario: scenario.__name__)
async def test_sqlite_store(scenario: StoreScenario, tmp_path: Path) -> None:
    await scenario(FileStoreHarness(tmp_path / "records.db"))
