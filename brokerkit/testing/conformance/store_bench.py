"""Records to try a store with."""

from __future__ import annotations

from typing import Any

from brokerkit.records import TaskRecord, TaskStatus
from brokerkit.store import Put, Store
from brokerkit.testing.conformance.harness import StoreHarness

SUCCESS, FAILURE, PENDING = TaskStatus.SUCCESS, TaskStatus.FAILURE, TaskStatus.PENDING
CANCELLED = TaskStatus.CANCELLED
RUNNING, RETRY, CANCELLED = TaskStatus.RUNNING, TaskStatus.RETRY, TaskStatus.CANCELLED


def report(harness: StoreHarness, **fields: Any) -> TaskRecord:
    """A report on a task of its own."""
    plain = {"id": harness.name("t"), "name": "charge", "queue": "payments", "status": PENDING}
    return TaskRecord(**{**plain, "created": harness.clock.now(), **fields})


async def put(store: Store, *records: TaskRecord) -> list[Put]:
    return list(await store.put(records))


async def stored(store: Store, *records: TaskRecord) -> None:
    """Put, and expect each to be stored."""
    answers = await put(store, *records)
    assert answers == [Put.STORED] * len(records), f"storing answered {answers}"


async def get(store: Store, task_id: str) -> TaskRecord:
    [found] = await store.get([task_id])
    assert found is not None, f"no record of {task_id}"
    return found


async def known(store: Store, *records: TaskRecord) -> list[bool]:
    """Which of these tasks have a record."""
    return [found is not None for found in await store.get([each.id for each in records])]
