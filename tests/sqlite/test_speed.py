"""How fast one process publishes and drains while its main thread works; the figures are printed with ``-s``."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from brokerkit.abilities import Unit
from brokerkit.delivery import Delivery, QueueSource
from brokerkit.outcome import ACK
from brokerkit.records import TaskRecord, TaskStatus
from brokerkit.transports.sqlite import SqliteTransport
from tests.sqlite.making import Q, opened, outgoing

TOTAL = 10_000


def work(seconds: float) -> None:
    """Keep the interpreter busy."""
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


async def publish(transport: SqliteTransport) -> float:
    messages = [outgoing(f"m{number}", body=b"x" * 256) for number in range(TOTAL)]
    begun = time.perf_counter()
    for start in range(0, TOTAL, 100):
        await transport.publish(messages[start : start + 100], deadline=10)
    return TOTAL / (time.perf_counter() - begun)


def report(delivery: Delivery) -> Unit:
    record = TaskRecord(id=delivery.message.id, name="task", queue="q", status=TaskStatus.SUCCESS, deliveries=1)
    return Unit(delivery, ACK, record)


async def drain(transport: SqliteTransport, *, records: bool) -> float:
    begun, done = time.perf_counter(), 0
    async with transport.consume([QueueSource("q")]) as subscription:
        while done < TOTAL:
            got = await subscription.receive({Q: 64})
            work(len(got) * 10e-6)
            if records:
                await transport.commit([report(delivery) for delivery in got])
            else:
                await subscription.settle([(delivery, ACK) for delivery in got])
            done += len(got)
    return TOTAL / (time.perf_counter() - begun)


@pytest.mark.bench
async def test_publishing_and_draining_are_quick_beside_a_busy_main_thread(tmp_path: Path) -> None:
    async with opened(tmp_path / "broker.db", lease=15) as transport:
        published = await publish(transport)
        settled = await drain(transport, records=False)
        await publish(transport)
        committed = await drain(transport, records=True)
    print(f"\npublished {published:,.0f}/s, settled {settled:,.0f}/s, with records {committed:,.0f}/s")
    # A fifth of what an idle machine with two cores does: slower means that a batch takes many steps again.
    assert published > 7_000
    assert settled > 3_500
    assert committed > 1_800
