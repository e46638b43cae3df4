"""The SQL store against the conformance suite, on PostgreSQL and MariaDB."""

from __future__ import annotations

import asyncio
from itertools import count

import pytest

from brokerkit.clock import Clock, SystemClock
from brokerkit.store import Retention
from brokerkit.stores.sql import SqlStore
from brokerkit.testing.conformance import STORE_SCENARIOS, StoreScenario
from tests.sql.making import Place


class SqlStoreHarness:
    """Tables of their own for each scenario; a process is a store with its own connections."""

    short = True
    step = 0.3

    def __init__(self, place: Place) -> None:
        self.clock: Clock = SystemClock()
        self._url = place.url(place.prefix())
        self._numbers = count(1)

    def connect(self, retention: Retention | None = None) -> SqlStore:
        return SqlStore(self._url, retention=retention)

    async def advance(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def name(self, stem: str) -> str:
        return f"{stem}-{next(self._numbers)}"


@pytest.mark.broker
@pytest.mark.parametrize("scenario", STORE_SCENARIOS, ids=lambda scenario: scenario.__name__)
async def test_sql_store(scenario: StoreScenario, place: Place) -> None:
    await scenario(SqlStoreHarness(place))
