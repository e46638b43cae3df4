"""What a subscription had settled when it was closed does not come again."""

from __future__ import annotations

import pytest

from brokerkit.outcome import ACK
from brokerkit.testing.conformance.bench import bench
from brokerkit.topology import QueueType
from tests.conformance.rabbitmq_harness import rabbit
from tests.rabbitmq.plain import EDITIONS

MANY = 600
"""More than the broker takes at a time of what is settled one by one."""


@pytest.mark.broker
@pytest.mark.parametrize("kind", ["quorum", "classic"])
@pytest.mark.parametrize("edition", EDITIONS)
async def test_what_was_settled_one_by_one_just_before_closing_stays_settled(edition: str, kind: QueueType) -> None:
    async with rabbit(edition, kind=kind) as harness, bench(harness) as b:
        await b.send_some(MANY)
        async with b.reader() as reader:
            oldest, *rest = await reader.get(MANY)  # all are held, and the oldest stays so
            await reader.subscription.pause()  # as a worker does that stops
            await harness.advance(harness.quiet)
            await reader.settle(ACK, *rest)
        async with b.reader() as reader:
            again = await reader.one()
            assert again.message.id == oldest.message.id
            await reader.settle(ACK, again)
            await reader.nothing("the others had been acknowledged")
