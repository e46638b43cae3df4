"""Planning many objects takes no longer than people like to wait."""

import os
import time

import pytest

from brokerkit import Binding, Exchange, Queue, Topology, planning
from brokerkit.planning import Options
from tests.planning.brokers import Place, places, rabbitmqs

QUEUES = 500 if os.environ.get("BROKERKIT_TEST_FULL") == "1" else 25
AT_MOST = 3.0
"""Seconds for one plan: of 500 queues and 2000 bindings, against the management API."""


def big(place: Place, limit: int) -> Topology:
    exchanges = [Exchange(f"{place.prefix}x{number}", "topic") for number in range(4)]
    queues = [
        Queue(
            f"{place.prefix}q{number}",
            [Binding(exchange.name, f"k{number}.#") for exchange in exchanges],
            dead_letter=False, type="classic", max_length=limit,
        )
        for number in range(QUEUES)
    ]  # fmt: skip
    return Topology(f"{place.prefix}big", exchanges, queues)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("place", [*places()[:3], rabbitmqs()[1]], indirect=True)
async def test_a_plan_of_many_queues_is_made_in_time(place: Place) -> None:
    async with place.transport() as transport:
        first = await planning.plan(transport, big(place, 10))
        await planning.apply(transport, first, wait=60)
        try:
            wanted = [big(place, 10), big(place, 20), Topology(first.wanted.name)]
            for topology, changes in zip(wanted, (0, QUEUES, QUEUES), strict=True):
                began = time.perf_counter()
                found = await planning.plan(transport, topology, Options(prune=True))
                took = time.perf_counter() - began
                assert took < AT_MOST, f"{len(found.changes)} changes took {took:.1f} s"
                assert len(found.changes) >= changes
        finally:
            nothing = await planning.plan(transport, Topology(first.wanted.name), Options(prune=True))
            await planning.apply(transport, nothing, wait=60)
