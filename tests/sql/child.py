"""A process of its own: ``python -m tests.sql.child URL NAME``. Each line it reads is a signal to go on."""

from __future__ import annotations

import asyncio
import random
import sys

from brokerkit.message import Scalar
from brokerkit.records import TaskStatus
from brokerkit.store import Put
from brokerkit.stores.sql import SqlStore
from tests.sql.making import record

IDS = [f"t-{number:03}" for number in range(400)]
BATCH = 40


async def main(url: str, name: str) -> None:
    """Open the store, then report an outcome of every task, in an order of its own; say which were stored."""
    say("ready")
    await asyncio.to_thread(sys.stdin.readline)
    async with SqlStore(url) as store:
        say("open")
        await asyncio.to_thread(sys.stdin.readline)
        ids = random.sample(IDS, len(IDS))
        won: list[str] = []
        for start in range(0, len(ids), BATCH):
            batch = ids[start : start + BATCH]
            outcomes = [
                record(each, status=TaskStatus.SUCCESS, worker=name, metadata=labels(each, name)) for each in batch
            ]
            answers = await store.put(outcomes)
            assert set(answers) <= {Put.STORED, Put.STALE}, answers
            won += [each for each, answer in zip(batch, answers, strict=True) if answer is Put.STORED]
        say(*won)


def labels(task_id: str, name: str) -> dict[str, Scalar]:
    """Every other task has labels, which are to be merged."""
    return {name: 1} if task_id in IDS[::2] else {}


def say(*words: str) -> None:
    print(*words, flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
