"""The Redis transport and store against the conformance suite: on every edition that is there, and on a cluster."""

from __future__ import annotations

import uuid

import pytest

from brokerkit.testing.conformance import STORE_SCENARIOS, TRANSPORT_SCENARIOS, Scenario, StoreScenario
from brokerkit.testing.conformance.engine import ENGINE_SCENARIOS, EngineScenario, Layout, Rig
from tests.conformance.redis_harness import RedisHarness, RedisStoreHarness, on_redis
from tests.redis.cluster import Cluster

EDITIONS = ("redis", "redis-newer", "valkey")


@pytest.mark.broker
@pytest.mark.parametrize("edition", EDITIONS)
@pytest.mark.parametrize("scenario", TRANSPORT_SCENARIOS, ids=lambda scenario: scenario.__name__)
async def test_redis_transport(scenario: Scenario, edition: str) -> None:
    async with on_redis(edition) as harness:
        await scenario(harness)


@pytest.mark.broker
@pytest.mark.parametrize("edition", EDITIONS)
@pytest.mark.parametrize("scenario", STORE_SCENARIOS, ids=lambda scenario: scenario.__name__)
async def test_redis_store(scenario: StoreScenario, edition: str) -> None:
    async with on_redis(edition) as harness:
        await scenario(RedisStoreHarness(harness))


@pytest.mark.broker
@pytest.mark.parametrize("scenario", STORE_SCENARIOS, ids=lambda scenario: scenario.__name__)
async def test_redis_store_with_an_index(scenario: StoreScenario) -> None:
    async with on_redis("redis") as harness:
        await scenario(RedisStoreHarness(harness, "&index=true"))


@pytest.mark.broker
@pytest.mark.slow
@pytest.mark.parametrize("layout", Layout, ids=lambda layout: layout.name)
@pytest.mark.parametrize("scenario", ENGINE_SCENARIOS, ids=lambda scenario: scenario.__name__)
async def test_the_engine_on_redis(scenario: EngineScenario, layout: Layout) -> None:
    async with on_redis("redis") as harness:
        await scenario(Rig(harness, layout))


@pytest.mark.broker
@pytest.mark.slow
@pytest.mark.parametrize("prefix", ["", "{bktest}"], ids=["spread", "together"])
@pytest.mark.parametrize("scenario", TRANSPORT_SCENARIOS, ids=lambda scenario: scenario.__name__)
async def test_redis_cluster_transport(scenario: Scenario, prefix: str, cluster: Cluster) -> None:
    await scenario(RedisHarness(cluster.url, prefix and f"{prefix}{uuid.uuid4().hex[:8]}"))


@pytest.mark.broker
@pytest.mark.parametrize("scenario", STORE_SCENARIOS, ids=lambda scenario: scenario.__name__)
async def test_redis_cluster_store(scenario: StoreScenario, cluster: Cluster) -> None:
    await scenario(RedisStoreHarness(RedisHarness(cluster.url), "&index=true"))


@pytest.mark.broker
@pytest.mark.slow
@pytest.mark.parametrize("scenario", ENGINE_SCENARIOS, ids=lambda scenario: scenario.__name__)
async def test_the_engine_on_a_redis_cluster(scenario: EngineScenario, cluster: Cluster) -> None:
    await scenario(Rig(RedisHarness(cluster.url), Layout.APART))
