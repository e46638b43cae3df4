"""A worker kills itself at each edge of the commit; the next one loses nothing."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import NamedTuple

import pytest

from brokerkit import App, TaskStatus
from tests.chaos import app as chaos
from tests.chaos.history import read
from tests.chaos.processes import Hire
from tests.redis.server import Server

ATOMIC = ["before-commit", "after-commit", "before-reply", "after-reply"]
APART = ["before-record", "after-record", "after-follow-up", "before-settle", "after-settle"]
RECOGNISED = {"after-commit", "before-reply", "after-reply", "after-record", "after-follow-up", "before-settle"}
"""Edges after which the finished run is known: its handler must not run again."""


EDGES = [(edge, "broker") for edge in ATOMIC] + [(edge, "apart") for edge in APART] + [("before-settle", "none")]


class Place(NamedTuple):
    """A broker, and a store of the same kind that shares no transaction with it."""

    broker: str
    apart: str


@pytest.fixture
def sqlite_place(sqlite_url: str, tmp_path: Path) -> Place:
    return Place(sqlite_url, f"sqlite:///{tmp_path / 'records.db'}")


@pytest.fixture
def redis_place(server: Server) -> Place:
    return Place(f"{server.url}?lease=1", f"{server.url}?prefix=apart")


@pytest.fixture(params=["sqlite", pytest.param("redis", marks=pytest.mark.broker)])
def place(request: pytest.FixtureRequest) -> Place:
    found: Place = request.getfixturevalue(f"{request.param}_place")
    return found


@pytest.mark.timeout(60)
@pytest.mark.parametrize(("edge", "store"), EDGES)
async def test_a_crash_at_an_edge_of_the_commit_loses_neither_task_nor_result_nor_follow_up(
    edge: str, store: str, place: Place, log: Path, hire: Hire
) -> None:
    store_url = place.apart if store == "apart" else store
    workers = hire(place.broker, store_url)
    async with App(place.broker, name="chaos", store=None if store == "none" else store_url) as app:
        app.declare(chaos.work, chaos.child.queue)
        await app.transport.apply(app.topology())
        handle = await app.send(chaos.parent.message(7))
        workers.buried(workers.start(edge))
        workers.start()
        assert await handle.result(timeout=30) == 8
        if store != "none":
            record = await handle.record()
            assert record is not None
            assert record.status is TaskStatus.SUCCESS
        await _drained(app)
    await asyncio.to_thread(workers.stop)
    lines = read(log)
    runs = sum(line.word == "end" for line in lines)
    follow_ups = [line.pid for line in lines if line.word == "child"]
    (died,) = [line for line in lines if line.word == "died"]
    assert died.what == edge
    assert runs == (1 if edge in RECOGNISED and store != "none" else 2) or edge == "after-settle"
    assert follow_ups
    if store == "broker":  # it left once; what ran when its process died runs again
        assert len(follow_ups) == 1 or follow_ups[0] == died.pid
        assert len(follow_ups) <= 2


async def _drained(app: App) -> None:
    async with asyncio.timeout(30):
        for queue in ("work", "later"):
            while True:
                stats = await app.queue_stats(queue)
                assert stats.dead == 0
                if not stats.ready and not stats.in_flight and not stats.delayed:
                    break
                await asyncio.sleep(0.02)
