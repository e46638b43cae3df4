"""The RabbitMQ transport against the conformance suite, on an old and a new broker, on quorum and classic queues."""

from __future__ import annotations

import pytest

from brokerkit.testing.conformance import (
    TRANSPORT_SCENARIOS,
    Scenario,
    transport_crashes,
    transport_receiving,
    transport_settling,
)
from brokerkit.testing.conformance.engine import ENGINE_SCENARIOS, EngineScenario, Layout, Rig
from brokerkit.topology import QueueType
from tests.conformance.rabbitmq_harness import rabbit

EDITIONS = ("rabbitmq", "rabbitmq-newer")


@pytest.mark.broker
@pytest.mark.parametrize("kind", ["quorum", "classic"])
@pytest.mark.parametrize("edition", EDITIONS)
@pytest.mark.parametrize("scenario", TRANSPORT_SCENARIOS, ids=lambda scenario: scenario.__name__)
async def test_the_rabbitmq_transport(scenario: Scenario, edition: str, kind: QueueType) -> None:
    async with rabbit(edition, kind=kind) as harness:
        await scenario(harness)


ABOUT_PREFETCH = tuple(
    scenario
    for theme in (transport_receiving, transport_settling, transport_crashes)
    for scenario in theme.SCENARIOS
    if scenario is not transport_receiving.lanes_come_most_urgent_first_and_each_in_order
)
"""Each delivery beyond the first takes a consumer of its own; of several lanes one message each is all that is seen."""


@pytest.mark.broker
@pytest.mark.parametrize("edition", EDITIONS)
@pytest.mark.parametrize("scenario", ABOUT_PREFETCH, ids=lambda scenario: scenario.__name__)
async def test_the_rabbitmq_transport_with_a_prefetch_of_one(scenario: Scenario, edition: str) -> None:
    async with rabbit(edition, prefetch=1) as harness:
        await scenario(harness)


@pytest.mark.broker
@pytest.mark.slow
@pytest.mark.parametrize("layout", [Layout.APART, Layout.BARE], ids=lambda layout: layout.name)
@pytest.mark.parametrize("edition", EDITIONS)
@pytest.mark.parametrize("scenario", ENGINE_SCENARIOS, ids=lambda scenario: scenario.__name__)
async def test_the_engine_on_rabbitmq(scenario: EngineScenario, edition: str, layout: Layout) -> None:
    async with rabbit(edition) as harness:
        await scenario(Rig(harness, layout))
