"""What is known of a broker without a connection is what it says when it is connected."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from brokerkit import App, Queue, Topology
from brokerkit.operations.dialects import connected, dialect_for
from brokerkit.transport import Capabilities
from tests.brokers import broker_url

EDITIONS = ("redis", "redis-newer", "valkey", "rabbitmq", "rabbitmq-newer")
VARYING = ("name", "deliveries_counted", "release_in_order")
"""What depends on the queues, or on the last digit of the version."""


def compared(capabilities: Capabilities) -> dict[str, object]:
    return {name: held for name, held in msgspec.structs.asdict(capabilities).items() if name not in VARYING}


@pytest.mark.parametrize(
    "edition", ["memory", "sqlite", "redis", "redis-newer", "valkey", "rabbitmq", "rabbitmq-newer"]
)
async def test_a_dialect_promises_what_the_broker_offers(edition: str, tmp_path: Path) -> None:
    here = {"memory": "memory://", "sqlite": f"sqlite:///{tmp_path / 'a.db'}"}
    async with App(here.get(edition) or broker_url(edition), store=None) as app:
        offered = app.transport.capabilities
    assert compared(dialect_for(offered.name).capabilities) == compared(offered)
    assert connected(offered).capabilities == offered


@pytest.mark.parametrize(
    ("broker", "lane", "waits"),
    [
        ("rabbitmq:4.3", "q.lane.2", ["bk.d.5", "bk.d.4", "bk.d.1", "bk.d.out"]),
        ("redis:7", "bk:{q}:q:2", ["bk:{q}:q:delayed"]),
        ("sqlite", "rows of q with lane = 2", ["rows of q that are not due"]),
        ("memory", "q, lane 2", ["q, until it is due"]),
    ],
)
def test_a_dialect_has_the_brokers_own_names(broker: str, lane: str, waits: list[str]) -> None:
    queue = Queue("q", priorities=3)
    dialect = dialect_for(broker)
    assert dialect.lane(queue, 2) == lane
    assert dialect.delay(Topology("t", queues=[queue]), ["q"], 5.0) == waits
