"""The number of a queue's lanes changes, and what is in them stays."""

import asyncio
from typing import Any

import pytest

from brokerkit import Queue, Topology, planning
from brokerkit.clock import SystemClock
from brokerkit.delivery import Lane, QueueSource
from brokerkit.message import Message, Outgoing
from brokerkit.outcome import ACK
from brokerkit.planning import Options
from brokerkit.transport import Published
from tests.planning.brokers import Place, places

PRUNE = Options(prune=True)


def laned(place: Place, lanes: int) -> Topology:
    queue = Queue(f"{place.prefix}work", priorities=lanes, dead_letter=False)
    return Topology(f"{place.prefix}lanes", queues=[queue])


async def apply(transport: Any, topology: Topology) -> None:
    done = await planning.apply(transport, await planning.plan(transport, topology, PRUNE), wait=60)
    assert not done.left.changes


@pytest.mark.parametrize("place", places(), indirect=True)
@pytest.mark.parametrize(("before", "after"), [(3, 1), (3, 2), (1, 3)])
async def test_messages_survive_another_number_of_lanes(place: Place, before: int, after: int) -> None:
    queue = laned(place, 1).queues[0].name
    now = SystemClock().now()
    async with place.transport() as transport:
        await apply(transport, laned(place, before))
        letters = [
            Outgoing(Message(id=f"m-{n}", name="x", body=b"{}", priority=n, created=now), "", queue) for n in range(10)
        ]
        await transport.apply(laned(place, before))
        assert await transport.publish(letters, deadline=10) == [Published.CONFIRMED] * 10
        await apply(transport, laned(place, after))
    async with place.transport() as transport:
        await transport.apply(laned(place, after))
        assert await taken(transport, queue, after) == {f"m-{n}" for n in range(10)}
        await apply(transport, Topology(f"{place.prefix}lanes"))


async def taken(transport: Any, queue: str, lanes: int) -> set[str]:
    """All messages of a queue."""
    found: set[str] = set()
    async with transport.consume([QueueSource(queue)]) as subscription, asyncio.timeout(20):
        while len(found) < 10:
            deliveries = await subscription.receive({Lane(queue, level): 10 for level in range(lanes)})
            found |= {each.message.id for each in deliveries}
            await subscription.settle([(each, ACK) for each in deliveries])
    return found
