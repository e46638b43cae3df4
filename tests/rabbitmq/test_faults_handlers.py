"""Handlers that are slow, that outlast the broker's patience, and that fail with a novel."""

from __future__ import annotations

import asyncio
import logging

import pytest

from brokerkit import App, Queue, Retry
from tests.rabbitmq.faults import ON_OUR_NODE, Probes, until, vhost_of
from tests.rabbitmq.node import Node

pytestmark = ON_OUR_NODE


async def test_a_slow_handler_does_not_stall_500_short_ones(url: str) -> None:
    probes = Probes(url)
    short = range(1, 501)
    async with probes.app, probes.app.worker(concurrency=8):
        await probes.send(0, seconds=3)
        await probes.until_begun(0)
        await probes.send(*short, seconds=0.005)
        await probes.until_ended(*short)
        assert probes.ended[0] == 0, "the short ones waited for the slow one"
        await probes.until_ended(0)
    assert probes.repeated() == {}


@pytest.mark.slow
@pytest.mark.timeout(90)
async def test_a_15_s_handler_under_a_5_s_consumer_timeout_runs_once_beside_20_short_ones(
    node: Node, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "brokerkit")
    await asyncio.to_thread(node.set_consumer_timeout, 5, 1)
    probes = Probes(f"{url}?consumer_timeout=5")
    async with probes.app, probes.app.worker(concurrency=8):
        await probes.send(0, seconds=15)
        await probes.until_begun(0)
        for number in range(1, 21):
            await probes.send(number, seconds=0.05)
            await asyncio.sleep(0.5)
        await probes.until_ended(*range(21), within=30)
        await until(lambda: node.queues(vhost_of(url))["probes"].messages == 0)
        await probes.send(99)
        await probes.until_ended(99)
    assert "was delivered again while it runs here" in caplog.text, "the broker never lost its patience"
    assert probes.begun[0] == probes.ended[0] == 1
    assert probes.repeated() == {}
    assert probes.cancelled == []


async def test_200_failures_with_an_error_of_a_megabyte_cost_no_connection(node: Node, url: str) -> None:
    app = App(url, name="novels", store=None)
    attempts: list[int] = []

    @app.task(queue=Queue("novels"), reply=False, retry=Retry.fixed(max_retries=200, delay=0))
    async def fail() -> None:
        attempts.append(1)
        raise RuntimeError("x" * 1_000_000)

    def connected() -> str:
        return node.evaluate("lists:sort(rabbit_networking:connections())")

    async with app, app.worker(concurrency=4):
        before = await asyncio.to_thread(connected)
        await fail.send()
        await until(lambda: node.queues(vhost_of(url))["novels.dead"].messages == 1, within=40)
        letters = await app.dead_letters("novels")
        assert await asyncio.to_thread(connected) == before
    assert len(attempts) == 201
    assert [letter.error[:20] for letter in letters] == ["RuntimeError: xxxxxx"]
    assert len(letters[0].error) <= 16_384
