"""A store hangs under load: nothing is acknowledged without its result, and who needs no store keeps its pace."""

from __future__ import annotations

import asyncio
import time

import pytest

from brokerkit import App, Queue, TaskStatus
from tests.chaos.sizes import FULL
from tests.redis.server import Server

STALL = 30.0 if FULL else 4.0
"""Seconds; the whole half minute on request."""
KEPT = 400

pytestmark = [pytest.mark.slow, pytest.mark.broker, pytest.mark.timeout(120)]


async def test_a_store_that_hangs_under_load_costs_no_result_and_nobody_elses_pace(
    server: Server, sqlite_url: str
) -> None:
    app = App(sqlite_url, store=f"{server.url}?command_timeout=2")
    ran: list[int] = []
    paces: list[float] = []

    @app.task(queue=Queue("kept"), reply=False)
    async def kept(number: int) -> int:
        ran.append(number)
        await asyncio.sleep(0.002)
        return number

    @app.task(queue=Queue("free"), record="none", reply=False)
    async def free(sent: float) -> None:
        paces.append(time.monotonic() - sent)

    try:
        async with app:
            handles = await app.send_many([kept.message(number) for number in range(KEPT)])
            async with app.worker(concurrency=8):
                while len(ran) < KEPT // 4:
                    await asyncio.sleep(0.005)
                server.freeze()
                ends = time.monotonic() + STALL
                while time.monotonic() < ends:
                    await free.send(time.monotonic())
                    await asyncio.sleep(0.02)
                waiting = await app.queue_stats("kept")
                server.thaw()
                thawed = time.monotonic()
                while (stats := await app.queue_stats("kept")).ready or stats.in_flight:
                    assert time.monotonic() - thawed < 10, "it has not recovered within 10 s"
                    await asyncio.sleep(0.02)
                records = [await handle.record() for handle in handles]
    finally:
        server.thaw()
    stored = KEPT // 4
    assert (waiting.ready or 0) + (waiting.in_flight or 0) >= KEPT - 2 * stored, "acknowledged without a stored result"
    assert {record.status for record in records if record} == {TaskStatus.SUCCESS}
    assert None not in records
    assert len(paces) >= STALL * 20
    assert sorted(paces)[len(paces) // 2] < 0.1, "those that keep no record have waited for the store"
    assert sorted(set(ran)) == list(range(KEPT))
