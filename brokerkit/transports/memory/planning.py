"""Planning in memory: every change is made between two awaits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager

from brokerkit.errors import ApplyUnderWay, PlanOutdated
from brokerkit.planning.ability import Done
from brokerkit.planning.fragments import Descriptor, Key
from brokerkit.planning.stored import Holding, Obstacle, Swap
from brokerkit.topology import Topology
from brokerkit.transports.memory.broker import MemoryBroker


class MemoryKeeper:
    """A ``Keeper``.

    Args:
        broker: The broker.
    """

    name = "memory"

    def __init__(self, broker: MemoryBroker) -> None:
        self._broker = broker

    async def fragments(self) -> Mapping[str, Topology]:
        return self._broker.fragments

    async def holding(self, key: Key) -> Holding:
        return self._holding(key)

    def _holding(self, key: Key) -> Holding:
        kind, name = key
        if kind == "log" and name in self._broker.logs:
            return Holding(self._broker.logs[name].size)
        queue = self._broker.queues.get(name) if kind in ("queue", "group") else None
        return Holding() if queue is None else Holding(queue.size, len(queue.consumers))

    async def damaged(self) -> Collection[Key]:
        return ()

    async def leaving(self) -> Collection[Key]:
        return ()

    def obstacles(self, before: Mapping[Key, Descriptor], after: Mapping[Key, Descriptor]) -> Mapping[Key, Obstacle]:
        return {}

    @asynccontextmanager
    async def alone(self, seconds: float) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(seconds):
                await self._broker.changing.acquire()
        except TimeoutError:
            raise ApplyUnderWay(f"another apply has been under way for {seconds:g} s; wait for it") from None
        try:
            yield
        finally:
            self._broker.changing.release()

    async def swap(self, swap: Swap, done: Done) -> None:
        broker = self._broker
        if broker.fragments != swap.expected:
            raise PlanOutdated("somebody has declared something meanwhile")
        swap.check({key: self._holding(key) for key in swap.gone})
        broker.replace(swap.fragments, [name for kind, name in swap.gone if kind != "exchange"])
        done(f"stored the topology of {swap.fragment.name}")
