"""Connections are cut, closed and half open, and the broker comes and goes; work goes on and none is lost."""

from __future__ import annotations

import asyncio
import logging
import re
import time

import pytest

from brokerkit import App
from brokerkit.errors import ConnectFailed, TransportError
from brokerkit.transports.rabbitmq.connection import Connection
from brokerkit.transports.rabbitmq.url import parse
from tests.ports import free_port
from tests.proxy import proxy_to
from tests.rabbitmq.faults import ON_OUR_NODE, PATIENCE, Probes, until, vhost_of
from tests.rabbitmq.node import Node

pytestmark = ON_OUR_NODE

CUTS = 100
RESTARTS = 10
CONNECTIONS = 2
"""Of an app with a worker: one publishes, one consumes."""


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_after_each_of_100_forced_disconnects_a_probe_is_executed(node: Node, url: str) -> None:
    probes = Probes(url)
    closed = 0
    async with probes.app, probes.app.worker(concurrency=8):
        await probes.send(CUTS)
        await probes.until_ended(CUTS)
        for number in range(CUTS):
            closed += await node.cut_all()
            await probes.send(number)
            await probes.until_ended(number)
        assert await asyncio.to_thread(node.connections) == CONNECTIONS, "connections were left behind"
        consumers = (await asyncio.to_thread(node.queues, vhost_of(url)))["probes"].consumers
    assert closed == CUTS * CONNECTIONS
    assert consumers == 1
    assert probes.cancelled == []


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_after_each_of_10_restarts_of_the_broker_a_probe_is_executed(node: Node, url: str) -> None:
    probes = Probes(url)
    async with probes.app, probes.app.worker(concurrency=8):
        for number in range(RESTARTS):
            await asyncio.to_thread(node.stop_app)
            sending = asyncio.create_task(probes.send(number))  # while there is no broker
            await asyncio.to_thread(node.start_app)
            await sending
            await probes.until_ended(number)
        assert await asyncio.to_thread(node.connections) == CONNECTIONS, "connections were left behind"
    assert probes.cancelled == []


async def test_what_waits_in_a_dead_connection_is_not_run_from_there(node: Node, url: str) -> None:
    probes, count, slots, cuts = Probes(url), 60, 4, 3
    async with probes.app:
        await probes.send(*range(count), seconds=0.1)
        async with probes.app.worker(concurrency=slots):
            for cut in range(cuts):
                await probes.until_so_many_ended(10 * (cut + 1))
                await asyncio.sleep(0.05)  # what has just ended is acknowledged
                await node.cut_all()
            await probes.until_ended(*range(count))
            await until(lambda: node.queues(vhost_of(url))["probes"].messages == 0)
    again = sum(times - 1 for times in probes.begun.values())
    assert again <= slots * (cuts + 1), "more was repeated than ran, or had ended just then"


async def test_an_acknowledgement_after_a_cut_costs_one_redelivery_and_no_channel(node: Node, url: str) -> None:
    probes = Probes(url)
    logged = len(node.log())
    async with probes.app, probes.app.worker(concurrency=4):
        for number in range(5):
            gate = probes.gate(number)
            await probes.send(number)
            await probes.until_begun(number)
            await node.cut_all()
            gate.set()  # it ends when its connection is gone, and perhaps before the next one is there
            await probes.send(100 + number)
            await probes.until_ended(number, 100 + number)
        await until(lambda: node.queues(vhost_of(url))["probes"].messages == 0)
    assert max(probes.begun.values()) <= 2
    assert probes.cancelled == []
    assert re.findall(r"operation basic.* caused a channel exception.*", node.log()[logged:]) == []


async def test_a_handler_that_outlives_its_connection_runs_once(
    node: Node, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "brokerkit")
    probes = Probes(url)
    gate = probes.gate(1)
    async with probes.app, probes.app.worker(concurrency=4):
        await probes.send(1)
        await probes.until_begun(1)
        await node.cut_all()
        await until(lambda: "was delivered again while it runs here" in caplog.text)
        gate.set()
        await probes.until_ended(1)
        await until(lambda: node.queues(vhost_of(url))["probes"].messages == 0)
    assert (probes.begun[1], probes.ended[1], probes.cancelled) == (1, 1, [])


async def test_a_blocked_thread_does_not_cost_the_connection(node: Node, url: str) -> None:
    app = App(f"{url}?heartbeat=1", name="threads", store=None)
    runs: list[float] = []

    @app.task(reply=False)
    def block(seconds: float) -> None:
        time.sleep(seconds)
        runs.append(seconds)

    def connected() -> str:
        return node.evaluate("lists:sort(rabbit_networking:connections())")

    async with app, app.worker():
        before = await asyncio.to_thread(connected)
        await block.send(4.0)
        await until(lambda: bool(runs))
        assert await asyncio.to_thread(connected) == before
    assert runs == [4.0]


async def test_a_half_open_connection_is_noticed_and_replaced(node: Node, url: str) -> None:
    async with proxy_to(url) as proxy:
        probes = Probes(f"{proxy.url(url)}?heartbeat=1", deadline=2.0)
        async with probes.app, probes.app.worker(concurrency=4):
            await probes.send(1)
            await probes.until_ended(1)
            accepted = proxy.connections
            proxy.half_open_now()
            with pytest.raises(TransportError):  # by its deadline: nobody answers
                await probes.send(2)
            await until(lambda: proxy.connections >= accepted + CONNECTIONS)
            proxy.heal()
            await probes.send(3)
            await probes.until_ended(3)


async def test_a_program_that_starts_before_its_broker_waits_for_it(node: Node, url: str) -> None:
    probes = Probes(url)
    await asyncio.to_thread(node.stop_app)
    later = asyncio.create_task(_started(node, after=1.5))
    async with probes.app, probes.app.worker():
        await later
        await probes.send(1)
        await probes.until_ended(1)


async def _started(node: Node, after: float) -> None:
    await asyncio.sleep(after)
    await asyncio.to_thread(node.start_app)


async def test_a_connection_that_is_closed_stays_closed(node: Node, url: str) -> None:
    connection = Connection(parse(url), "test", jitter=lambda: 0.0)
    await connection.open()
    running = asyncio.create_task(connection.run())
    await asyncio.sleep(0)  # it waits for a loss
    await connection.close()
    async with asyncio.timeout(PATIENCE):
        await running
    await until(lambda: node.connections() == 0)


async def test_a_broker_that_does_not_come_is_one_error_within_the_connect_timeout() -> None:
    app = App(f"amqp://guest:secret@127.0.0.1:{free_port()}/?connect_timeout=1", store=None)
    async with asyncio.timeout(PATIENCE):
        with pytest.raises(ConnectFailed) as caught:
            await app.__aenter__()
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)
