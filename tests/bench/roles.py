"""What the measured processes do with brokerkit."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from typing import Any

from brokerkit import Handle
from brokerkit.client.sending import Event
from brokerkit.settings import BROKERS_OWN
from tests.bench.child import told_to_go_on
from tests.bench.workload import Level, Workload, payload

PAUSE = (0.02, 0.05)
"""Seconds between two lonely tasks."""


async def fill(url: str, count: int, record: Level) -> dict[str, Any]:
    """Send tasks that somebody else will run."""
    async with (workload := Workload(url, record)).app:
        await workload.send(count, 500)
    return {}


async def drain(url: str, count: int, record: Level, concurrency: int) -> dict[str, Any]:
    """A worker, from its start until all is executed and the queue is empty."""
    async with (workload := Workload(url, record)).app:
        return await _drained(workload, count, concurrency)


async def drain_own(
    url: str, count: int, record: Level, concurrency: int, reply: bool = False, store: str = BROKERS_OWN
) -> dict[str, Any]:
    """The same with the sender in the same process, as the memory transport has it; records may be elsewhere."""
    async with (workload := Workload(url, record, reply, store)).app:
        handles = await workload.send(count, 500)
        if not reply:
            return await _drained(workload, count, concurrency)
        async with asyncio.TaskGroup() as both:
            replied = both.create_task(_all_results(handles))
            drained = both.create_task(_drained(workload, count, concurrency, replied))
        return {**drained.result(), "replied": replied.result()}


async def _drained(
    workload: Workload, count: int, concurrency: int, replied: asyncio.Task[float] | None = None
) -> dict[str, Any]:
    started = time.time()
    async with workload.app.worker(concurrency=concurrency):
        await workload.until_executed(count)
        executed = time.time()
        await workload.until_empty()
        emptied = time.time()
        if replied is not None:
            await replied
    return {"started": started, "executed": executed, "emptied": emptied}


async def call(url: str, count: int, record: Level) -> dict[str, Any]:
    """A caller: sends tasks, then collects all results."""
    async with (workload := Workload(url, record, reply=True)).app:
        handles = await workload.send(count, 500)
        await told_to_go_on()
        return {"replied": await _all_results(handles)}


async def _all_results(handles: Sequence[Handle[Any]]) -> float:
    for handle in handles:
        await handle.result(timeout=120)
    return time.time()


async def serve(url: str, concurrency: int, count: int = 0) -> dict[str, Any]:
    """A worker that says when it has run so many tasks, and goes on until told to stop."""
    async with (workload := Workload(url)).app, workload.app.worker(concurrency=concurrency):
        await workload.until_executed(count)
        await told_to_go_on()
    return {}


async def publish_batches(url: str, count: int, record: Level, batch: int, senders: int = 1) -> dict[str, Any]:
    """Confirmed sends, in batches, by one sender or several at once."""
    async with (workload := Workload(url, record)).app:
        await workload.send(batch, batch)
        started = time.perf_counter()
        async with asyncio.TaskGroup() as all_senders:
            for _ in range(senders):
                all_senders.create_task(workload.send(count // senders, batch))
        return {"seconds": time.perf_counter() - started}


async def publish_single(url: str, count: int, record: Level) -> dict[str, Any]:
    """Confirmed sends, one after the other."""
    blob = payload()
    async with (workload := Workload(url, record)).app:
        await workload.noop.send(blob)
        started = time.perf_counter()
        for _ in range(count):
            await workload.noop.send(blob)
        return {"seconds": time.perf_counter() - started}


async def publish_events(url: str, count: int, batch: int) -> dict[str, Any]:
    """Confirmed events through a topic exchange, in batches."""
    blob = payload()
    async with (workload := Workload(url)).app:
        await workload.app.publish(blob, exchange=workload.exchange, routing_key="order.first")
        started = time.perf_counter()
        for _ in range(count // batch):
            events = [Event(blob, exchange=workload.exchange, routing_key=f"order.{number}") for number in range(batch)]
            await workload.app.publish_many(events)
        return {"seconds": time.perf_counter() - started}


async def lonely_calls(url: str, count: int, own_worker: bool) -> dict[str, Any]:
    """One task at a time, with pauses: until its handler starts, and until its result is here."""
    async with (workload := Workload(url)).app:
        if not own_worker:
            return await _lonely_calls(workload, count)
        async with workload.app.worker():
            return await _lonely_calls(workload, count)


async def _lonely_calls(workload: Workload, count: int) -> dict[str, Any]:
    dispatches, trips = [], []
    blob = payload()
    for number in range(count + 3):
        sent = time.time()
        handle = await workload.now.send(blob)
        begun = await handle.result(timeout=30)
        if number >= 3:  # the first ones meet cold code
            trips.append(time.time() - sent)
            dispatches.append(begun - sent)
        await asyncio.sleep(random.uniform(*PAUSE))
    return {"dispatches": dispatches, "trips": trips}
