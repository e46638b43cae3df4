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
from brokerkit.stores.sqlite import SqliteStore
from brokerkit.transports.sqlite.subscription import SqliteSubscription
from brokerkit.transports.sqlite.transport import SqliteTransport
from brokerkit.worker.replying import Replier
from tests.chaos.app import app, note

EDGES: dict[str, tuple[Any, str, str]] = {
    "commit": (SqliteTransport, "commit", "parent"),
    "record": (SqliteStore, "put", "parent"),
    "follow-up": (Publisher, "_send", "child"),
    "settle": (SqliteSubscription, "settle", "parent"),
    "reply": (Replier, "send", "parent"),
}
"""By step: whose method it is, and the task in its batch that is waited for."""


def die(edge: str) -> None:
    note("died", edge, os.getpid(), 0)
    os.kill(os.getpid(), signal.SIGKILL)


def arm(edge: str) -> None:
    """Kill this process ``before-`` or ``after-`` a step of the commit."""
    when, _, step = edge.partition("-")
    owner, name, task = EDGES[step]
    real: Callable[..., Awaitable[Any]] = getattr(owner, name)

    async def armed(self: Any, batch: Any, *args: Any, **kwargs: Any) -> Any:
        ours = f"name='{task}'" in repr(batch)
        if ours and when == "before":
            die(edge)
        answer = await real(self, batch, *args, **kwargs)
        if ours:
            die(edge)
        return answer

    setattr(owner, name, armed)


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
