"""Lanes on real brokers: every priority in its lane, and what has none in the default one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from brokerkit.topology import Exchange, Group, Log, Queue, Topology, lane_of
from brokerkit.transports.rabbitmq.compile import compile_topology
from tests.brokers import broker_url
from tests.rabbitmq.plain import EDITIONS, Plain, plain, publish

pytestmark = pytest.mark.broker


@pytest.fixture(params=EDITIONS)
async def broker(request: pytest.FixtureRequest) -> AsyncIterator[Plain]:
    async with plain(broker_url(request.param)) as opened:
        yield opened


@pytest.fixture
def name() -> str:
    return f"lanes-{uuid4().hex[:12]}"


@pytest.mark.parametrize("lanes", [2, 3, 10])
async def test_each_priority_reaches_its_lane_from_the_exchange_and_a_foreign_message_the_default(
    broker: Plain, name: str, lanes: int
) -> None:
    orders = Exchange(f"{name}-x", "topic")
    plan = compile_topology(
        Topology("app", [orders], [Queue(name, [orders.bind("a.#")], priorities=lanes, dead_letter=False)]),
        broker.version,
    )
    await broker.declare(plan)
    channel = await broker.connection.channel()
    for priority in range(10):
        await publish(channel, orders.name, "a.b", str(priority).encode(), {"bk-p": priority})
    foreign = [None, {"other": 1}, {"bk-p": 99}, {"bk-p": "high"}]
    for headers in foreign:
        await publish(channel, orders.name, "a.b", b"foreign", headers)
    wanted: dict[str, list[bytes]] = {lane: [] for lane in plan.sources[name].lanes}
    for priority in range(10):
        wanted[plan.sources[name].lanes[lane_of(priority, lanes)]].append(str(priority).encode())
    wanted[name] += [b"foreign"] * len(foreign)
    assert {lane: await broker.drained(lane) for lane in wanted} == wanted


async def test_a_log_that_no_group_reads_takes_everything(broker: Plain, name: str) -> None:
    orders = Exchange(f"{name}-x")
    await broker.declare(
        compile_topology(Topology("app", [orders], [], [Log(name, [orders.bind("k")])]), broker.version)
    )
    await publish(await broker.connection.channel(), orders.name, "k", b"nobody")


async def test_each_group_of_a_log_gets_every_message_and_retention_removes_the_oldest(
    broker: Plain, name: str
) -> None:
    orders = Exchange(f"{name}-x")
    log = Log(name, [orders.bind("k")], max_length=3)
    topology = Topology("app", [orders], [], [log], [Group(log, "a"), Group(log, "b")])
    await broker.declare(compile_topology(topology, broker.version))
    channel = await broker.connection.channel()
    for number in range(5):
        await publish(channel, orders.name, "k", str(number).encode())
    for group in topology.groups:
        assert await broker.drained(group.key) == [b"2", b"3", b"4"]
        assert await broker.drained(f"{group.key}.dead") == []
