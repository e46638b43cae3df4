"""The worker against its conformance suite: on memory and on SQLite, with every layout of records."""

from __future__ import annotations

from itertools import count
from pathlib import Path

import pytest

from brokerkit.clock import Clock
from brokerkit.store import Store
from brokerkit.testing import VirtualClock
from brokerkit.testing.conformance.engine import ENGINE_SCENARIOS, EngineScenario, Layout, Rig
from brokerkit.transport import Transport
from brokerkit.transports.memory import MemoryBroker, MemoryTransport
from tests.conformance.test_sqlite import FileHarness


class VirtualHarness:
    """The memory broker on a virtual clock."""

    short = True
    step = 2.0
    quiet = 0.0
    patience = 5.0

    def __init__(self) -> None:
        self.virtual = VirtualClock()
        self.clock: Clock = self.virtual
        self._broker = MemoryBroker(self.clock)
        self._numbers = count(1)

    def connect(self) -> MemoryTransport:
        return MemoryTransport(self._broker)

    async def crash(self, transport: Transport) -> None:
        assert isinstance(transport, MemoryTransport)
        transport.abandon()

    async def lose(self, transport: Transport) -> None:
        assert isinstance(transport, MemoryTransport)
        transport.disconnect()

    async def advance(self, seconds: float) -> None:
        await self.virtual.advance(seconds)

    def name(self, stem: str) -> str:
        return f"{stem}-{next(self._numbers)}"

    def store(self, transport: Transport) -> Store:
        assert isinstance(transport, MemoryTransport)
        return transport.store


@pytest.mark.parametrize("layout", Layout, ids=lambda layout: layout.name)
@pytest.mark.parametrize("scenario", ENGINE_SCENARIOS, ids=lambda scenario: scenario.__name__)
async def test_the_engine_on_memory(scenario: EngineScenario, layout: Layout) -> None:
    await scenario(Rig(VirtualHarness(), layout))


@pytest.mark.slow
@pytest.mark.parametrize("layout", Layout, ids=lambda layout: layout.name)
@pytest.mark.parametrize("scenario", ENGINE_SCENARIOS, ids=lambda scenario: scenario.__name__)
async def test_the_engine_on_sqlite(scenario: EngineScenario, layout: Layout, tmp_path: Path) -> None:
    await scenario(Rig(FileHarness(tmp_path / "broker.db"), layout))
