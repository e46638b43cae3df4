"""The node dies with its messages, and workers are told to stop in the middle of theirs."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from brokerkit import App, Queue
from tests.chaos import app as chaos
from tests.chaos.history import History, read
from tests.rabbitmq.faults import ON_OUR_NODE, Probes, until, vhost_of
from tests.rabbitmq.node import Node

pytestmark = ON_OUR_NODE

ROOT = Path(__file__).parents[2]
QUEUED = 5_000


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_a_node_that_is_killed_with_10000_messages_loses_none(node: Node, url: str) -> None:
    quorum, classic = Probes(url), Probes(url, Queue("classic-probes", type="classic"))
    classic.app.name = "faults-classic"
    async with quorum.app, classic.app:
        await asyncio.sleep(2)  # 3.10 itself loses a quorum queue that it declared within its last second
        for start in range(0, QUEUED, 500):
            await quorum.send(*range(start, start + 500))
            await classic.send(*range(start, start + 500))
        await node.killed_and_started()
        async with quorum.app.worker(), classic.app.worker():
            await quorum.until_ended(*range(QUEUED), within=60)
            await classic.until_ended(*range(QUEUED), within=60)
        found = await asyncio.to_thread(node.queues, vhost_of(url))
    assert [found[name].messages for name in ("probes", "classic-probes", "probes.dead", "classic-probes.dead")] == [
        0
    ] * 4


JOBS = 400


@pytest.mark.timeout(120)
async def test_a_worker_that_is_told_to_stop_finishes_what_it_runs_and_leaves_the_rest(
    node: Node, url: str, tmp_path: Path
) -> None:
    log = tmp_path / "executions.log"
    log.touch()
    async with App(url, name="chaos", store=None) as app:
        app.declare(chaos.work)
        await app.transport.apply(app.topology())
        await app.send_many([chaos.job.message(number) for number in range(JOBS)])
        first = await _stopped_after(JOBS // 4, url, log)
        assert 0 < len(first.ends) < JOBS, "there was nothing left to lose"
        last = await _stopped_after(JOBS, url, log)
    found = await asyncio.to_thread(node.queues, vhost_of(url))
    assert last.lost(range(JOBS)) == []
    assert last.repeated() == []
    assert {name: queue.messages for name, queue in found.items() if queue.messages} == {}


async def _stopped_after(ends: int, url: str, log: Path) -> History:
    """Run a worker until so many jobs have ended, stop it as a service manager does, and read what it did."""
    command = [sys.executable, "-m", "brokerkit", "worker", "tests.chaos.app:app", "--concurrency", "8"]
    environment = {**os.environ, "BROKERKIT_URL": url, "CHAOS_LOG": str(log), "CHAOS_STORE": "none"}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True) as worker:
        try:
            await until(lambda: log.read_text().count("end ") >= ends, within=40)
            worker.terminate()
            _, said = await asyncio.to_thread(worker.communicate, timeout=40)
        finally:
            worker.kill()
    assert worker.returncode == 0, said
    return History(read(log))
