"""The node runs out of memory: it takes no messages, and everything else goes on."""

from __future__ import annotations

import asyncio
import time
from collections import Counter

import pytest

from brokerkit.errors import BrokerBlocked, PublishUnknown
from tests.rabbitmq.faults import ON_OUR_NODE, PATIENCE, Probes, until, vhost_of
from tests.rabbitmq.node import Node

pytestmark = ON_OUR_NODE

ALARM = 20.0
SLOTS = 4
WORK = 1_200


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_20_seconds_of_alarm_fail_publishes_by_their_deadline_while_work_is_acknowledged(
    node: Node, url: str
) -> None:
    probes = Probes(url, deadline=1.0)
    bad = range(0, WORK, 50)
    async with probes.app:
        await probes.send(*range(WORK), seconds=0.08, bad=bad)
        async with probes.app.worker(concurrency=SLOTS):
            await probes.until_so_many_ended(1)
            await asyncio.to_thread(node.set_alarm, True)
            answers = await _publish_until(time.monotonic() + ALARM, probes)
            seen = await asyncio.to_thread(node.queues, vhost_of(url))
            await asyncio.to_thread(node.set_alarm, False)
            await probes.send(WORK)
            confirmed = [number for number, error in answers.items() if error is None]
            await probes.until_ended(*range(WORK + 1), *confirmed, within=40)
            await until(lambda: node.queues(vhost_of(url))["probes"].messages == 0)
            left = await asyncio.to_thread(node.queues, vhost_of(url))
    assert seen["probes"].messages < WORK * 3 / 4, "nothing was acknowledged during the alarm"
    assert seen["probes.dead"].messages > 0, "dead letters waited for the end of the alarm"
    assert left["probes.dead"].messages == len(bad)
    kinds = Counter(answers.values())
    assert kinds[BrokerBlocked] >= ALARM / 2
    assert kinds[PublishUnknown] <= 1, "only the first one can have left before the broker said that it is blocked"
    assert [number for number, kind in answers.items() if kind is BrokerBlocked and probes.begun[number]] == []
    assert probes.repeated() == {}


async def _publish_until(end: float, probes: Probes) -> dict[int, type[Exception] | None]:
    """Publish one after the other; what each failed with, None for those that the broker took."""
    answers: dict[int, type[Exception] | None] = {}
    number = 2 * WORK
    while time.monotonic() < end:
        number += 1
        answers[number] = None
        try:
            async with asyncio.timeout(PATIENCE):
                await probes.send(number)
        except (BrokerBlocked, PublishUnknown) as error:
            answers[number] = type(error)
    return answers


async def test_a_worker_stops_during_an_alarm(node: Node, url: str) -> None:
    probes = Probes(url, deadline=1.0)
    gate = probes.gate(1)
    async with probes.app:
        await probes.send(1, 2, 3)
        async with asyncio.timeout(3 * PATIENCE):
            async with probes.app.worker(concurrency=1, grace=1):
                await probes.until_begun(1)
                await asyncio.to_thread(node.set_alarm, True)
                with pytest.raises((BrokerBlocked, PublishUnknown)):
                    await probes.send(4)
            assert probes.cancelled == [1]
        await asyncio.to_thread(node.set_alarm, False)
        gate.set()
        async with probes.app.worker(concurrency=1):
            await probes.until_ended(1, 2, 3)
