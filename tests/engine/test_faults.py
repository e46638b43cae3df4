"""Fault injection itself: what is asked for happens, once, where it was asked for."""

from __future__ import annotations

import pytest

from brokerkit.abilities import AtomicCommit, OwnStore, Signals
from brokerkit.message import Message, Outgoing
from brokerkit.testing import VirtualClock
from brokerkit.testing.faults import Crashed, Faults
from brokerkit.testing.faulty import faulty_transport
from brokerkit.topology import Queue, Topology
from brokerkit.transport import Published
from brokerkit.transports.memory import MemoryBroker, MemoryTransport


def outgoing(name: str) -> Outgoing:
    return Outgoing(Message(id=name, name="n", body=b""), "", "q")


async def test_items_are_answered_apart_from_the_others() -> None:
    clock = VirtualClock()
    faults, inner = Faults(clock), MemoryTransport(MemoryBroker(clock))
    async with faulty_transport(inner, faults) as transport:
        await transport.apply(Topology("app", queues=[Queue("q")]))
        faults.answer("publish", verdict=Published.FULL, ids={"b"})
        answers = await transport.publish([outgoing(name) for name in "abc"], deadline=1)
        assert answers == [Published.CONFIRMED, Published.FULL, Published.CONFIRMED]
        assert await transport.publish([outgoing("b")], deadline=1) == [Published.CONFIRMED], "once was asked for"
        assert (await transport.stats("q")).ready == 3
    assert faults.journal == [("publish", ("a", "b", "c")), ("publish", ("b",))]


async def test_after_a_crash_everything_raises() -> None:
    clock = VirtualClock()
    faults, inner = Faults(clock), MemoryTransport(MemoryBroker(clock))

    async def die() -> None:
        inner.abandon()

    async with faulty_transport(inner, faults, die=die) as transport:
        await transport.apply(Topology("app", queues=[Queue("q")]))
        fault = faults.crash("publish", after=True, skip=1)
        await transport.publish([outgoing("a")], deadline=1)
        for _ in range(2):
            with pytest.raises(Crashed):
                await transport.publish([outgoing("b")], deadline=1)
        assert fault.reached.is_set()
        assert inner.broker.stats("q").ready == 2, "what came before the crash had its effect, what came after had not"


async def test_a_wrapper_has_the_abilities_that_are_not_hidden() -> None:
    inner = MemoryTransport()
    for apart in (False, True):
        transport = faulty_transport(inner, Faults(VirtualClock()), apart=apart)
        assert isinstance(transport, AtomicCommit) is not apart
        assert isinstance(transport, OwnStore) is not apart
        assert transport.capabilities.atomic_commit is not apart
        assert transport.capabilities.atomic_records is not apart
        assert isinstance(transport, Signals)
