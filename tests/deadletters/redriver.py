"""A process that sends dead letters back until it is killed, and says how many it has sent."""

from __future__ import annotations

import asyncio
import os
import sys

from brokerkit import App, Queue


async def main(url: str, queue: str) -> None:
    app = App(url, store=None)
    app.declare(Queue(queue))
    async with app:
        await app.redrive(queue, rate=200, progress=_say)


def _say(done: int, total: int) -> None:
    os.write(1, f"{done} of {total}\n".encode())


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
