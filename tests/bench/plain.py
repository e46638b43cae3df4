"""The same work without a framework, in memory: what the interpreter and its event loop allow.

A message is an id and an encoded body; each is run in a task of its own, a bounded number at a time, and is kept until
its task has ended.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import deque
from typing import Any, NamedTuple

import msgspec

from tests.bench.workload import payload

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(dict[str, bytes]).decode


class Plain(NamedTuple):
    """A message of the plain loops."""

    id: str
    body: bytes


def messages(count: int) -> list[Plain]:
    """Fresh messages, their bodies encoded one by one."""
    blob = payload()
    return [Plain(str(uuid.uuid4()), _encode({"blob": blob})) for _ in range(count)]


def record(message: Plain, status: str) -> bytes:
    """What a plain program would keep of a task."""
    return _encode({"id": message.id, "name": "noop", "status": status, "at": time.time()})


class Handling:
    """Runs the no-op handler, one task per message."""

    def __init__(self) -> None:
        self.executed = 0

    async def _noop(self, blob: bytes) -> None:
        self.executed += 1

    async def handle(self, message: Plain) -> None:
        """Run one message."""
        await self._noop(**_decode(message.body))

    async def run(self, batch: list[Plain]) -> None:
        """Run a batch, all at the same time."""
        loop = asyncio.get_running_loop()
        for task in [loop.create_task(self.handle(message)) for message in batch]:
            await task


async def drain(count: int, concurrency: int, records: bool, replies: bool) -> dict[str, Any]:
    """A deque, emptied in batches of as many as there are slots."""
    waiting = deque(messages(count))
    held: dict[str, Plain] = {}
    kept = {message.id: record(message, "PENDING") for message in waiting} if records else {}
    loop = asyncio.get_running_loop()
    callers: dict[str, asyncio.Future[None]] = {m.id: loop.create_future() for m in waiting} if replies else {}
    handling = Handling()
    started = time.perf_counter()
    while waiting:
        batch = [waiting.popleft() for _ in range(min(concurrency, len(waiting)))]
        held.update((message.id, message) for message in batch)
        await handling.run(batch)
        for message in batch:
            if records:
                kept[message.id] = record(message, "SUCCESS")
            if replies:
                callers[message.id].set_result(None)
            del held[message.id]
    return {"seconds": time.perf_counter() - started}


async def publish(count: int, batch: int, records: bool) -> dict[str, Any]:
    """Appending to a deque; the loop gets a turn after each batch, as after each confirmed publish."""
    waiting: deque[Plain] = deque()
    kept: dict[str, bytes] = {}
    started = time.perf_counter()
    for _ in range(count // batch):
        for message in messages(batch):
            waiting.append(message)
            if records:
                kept[message.id] = record(message, "PENDING")
        await asyncio.sleep(0)
    return {"seconds": time.perf_counter() - started}
