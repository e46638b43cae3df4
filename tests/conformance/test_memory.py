"""The memory transport and store against the conformance suite."""

from __future__ import annotations

from itertools import count

import pytest

from brokerkit.clock import Clock, SystemClock
from brokerkit.store import Retention
from brokerkit.stores.memory import MemoryStore
from brokerkit.testing import VirtualClock
from brokerkit.testing.conformance import TRANSPORT_SCENARIOS, Scenario
from brokerkit.transport import Transport
from brokerkit.transports.memory import MemoryBroker, MemoryTransport


class VirtualHarness:
    """The memory broker on a clock that scenarios move."""

    short = True
    step = 60.0
    quiet = 0.0
    patience = 5.0

    def __init__(self) -> None:
        self._virtual = VirtualClock()
        self.clock: Clock = self._virtual
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
        await self._virtual.advance(seconds)

    def name(self, stem: str) -> str:
        return f"{stem}-{next(self._numbers)}"

    def store(self, transport: Transport) -> MemoryStore:
        assert isinstance(transport, MemoryTransport)
        return transport.store


@pytest.mark.parametrize("scenario", TRANSPORT_SCENARIOS, ids=lambda scenario: scenario.__name__)
async def test_memory_transport(scenario: Scenario) -> None:
    await scenario(VirtualHarness())
