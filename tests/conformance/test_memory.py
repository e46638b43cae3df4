"""The memory transport and store against the conformance suite, on a virtual and on the real clock."""

from __future__ import annotations

import asyncio
from itertools import count

import pytest

from brokerkit.clock import Clock, SystemClock
from brokerkit.store import Retention
from brokerkit.stores.memory import MemoryStore
from brokerkit.testing import VirtualClock
from brokerkit.testing.conformance import STORE_SCENARIOS, TRANSPORT_SCENARIOS, Scenario, StoreScenario
from brokerkit.transport import Transport
from brokerkit.transports.memory import MemoryBroker, MemoryTransport


class MemoryHarness:
    """The memory broker and store; scenarios move the clock, or wait for the real one."""

    short = True
    patience = 5.0

    def __init__(self, clock: Clock) -> None:
        virtual = isinstance(clock, VirtualClock)
        self.clock = clock
        self.step = 60.0 if virtual else 0.1
        self.quiet = 0.0 if virtual else 0.01
        self._broker = MemoryBroker(clock)
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
        if isinstance(self.clock, VirtualClock):
            await self.clock.advance(seconds)
        else:
            await asyncio.sleep(seconds)

    def name(self, stem: str) -> str:
        return f"{stem}-{next(self._numbers)}"

    def store(self, transport: Transport) -> MemoryStore:
        assert isinstance(transport, MemoryTransport)
        return transport.store


class MemoryStoreHarness:
    """One memory store, which is all its process has."""

    short = True
    step = 60.0

    def __init__(self) -> None:
        self._virtual = VirtualClock()
        self.clock: Clock = self._virtual
        self._store: MemoryStore | None = None
        self._numbers = count(1)

    def connect(self, retention: Retention | None = None) -> MemoryStore:
        if self._store is None:
            self._store = MemoryStore(self.clock, retention)
        return self._store

    async def advance(self, seconds: float) -> None:
        await self._virtual.advance(seconds)

    def name(self, stem: str) -> str:
        return f"{stem}-{next(self._numbers)}"


@pytest.mark.parametrize("scenario", TRANSPORT_SCENARIOS, ids=lambda scenario: scenario.__name__)
async def test_the_memory_transport_on_a_virtual_clock(scenario: Scenario) -> None:
    await scenario(MemoryHarness(VirtualClock()))


@pytest.mark.parametrize("scenario", TRANSPORT_SCENARIOS, ids=lambda scenario: scenario.__name__)
async def test_the_memory_transport_on_the_real_clock(scenario: Scenario) -> None:
    await scenario(MemoryHarness(SystemClock()))


@pytest.mark.parametrize("scenario", STORE_SCENARIOS, ids=lambda scenario: scenario.__name__)
async def test_the_memory_store(scenario: StoreScenario) -> None:
    await scenario(MemoryStoreHarness())
