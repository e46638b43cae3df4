"""A worker process to be killed: ``python -m tests.chaos.worker [EDGE]``.

With an edge of the commit it kills itself there, at the first commit of a ``parent`` task. It stops when its standard
input ends.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from brokerkit.publisher import Publisher
from brokerkit.stores.redis import RedisStore
from brokerkit.stores.sqlite import SqliteStore
from brokerkit.transports.redis import RedisTransport
from brokerkit.transports.redis.subscription import RedisSubscription
from brokerkit.transports.sqlite.subscription import SqliteSubscription
from brokerkit.transports.sqlite.transport import SqliteTransport
from brokerkit.worker.replying import Replier
from tests.chaos.app import app, note

EDGES: dict[str, tuple[tuple[Any, ...], str, str]] = {
    "commit": ((SqliteTransport, RedisTransport), "commit", "parent"),
    "record": ((SqliteStore, RedisStore), "put", "parent"),
    "follow-up": ((Publisher,), "_send", "child"),
    "settle": ((SqliteSubscription, RedisSubscription), "settle", "parent"),
    "reply": ((Replier,), "send", "parent"),
}
"""By step: whose method it is, and the task in its batch that is waited for."""


def die(edge: str) -> None:
    note("died", edge, os.getpid(), 0)
    os.kill(os.getpid(), signal.SIGKILL)


def arm(edge: str) -> None:
    """Kill this process ``before-`` or ``after-`` a step of the commit."""
    when, _, step = edge.partition("-")
    owners, name, task = EDGES[step]
    for owner in owners:
        setattr(owner, name, _armed(getattr(owner, name), edge, when, task))


def _armed(real: Callable[..., Awaitable[Any]], edge: str, when: str, task: str) -> Callable[..., Awaitable[Any]]:
    async def armed(self: Any, batch: Any, *args: Any, **kwargs: Any) -> Any:
        ours = f"name='{task}'" in repr(batch)
        if ours and when == "before":
            die(edge)
        answer = await real(self, batch, *args, **kwargs)
        if ours:
            die(edge)
        return answer

    return armed


async def main() -> None:
    async with app, app.worker(concurrency=8, grace=10):
        print("ready", flush=True)
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()
        loop.add_reader(sys.stdin.fileno(), ended.set)
        await ended.wait()
        loop.remove_reader(sys.stdin.fileno())


if __name__ == "__main__":
    if len(sys.argv) > 1:
        arm(sys.argv[1])
    asyncio.run(main())
