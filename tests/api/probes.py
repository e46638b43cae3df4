"""What the tests here wait with, and the programs they run."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from brokerkit import App, DeadMessage

T = TypeVar("T")

PATIENCE = 20.0
"""Seconds after which what has not happened counts as never happening."""


async def until(ask: Callable[[], Awaitable[T]]) -> T:
    """Ask until the answer is true, and return it."""
    async with asyncio.timeout(PATIENCE):
        while not (answer := await ask()):
            await asyncio.sleep(0.005)
        return answer


async def dead_letters(app: App, queue: str, count: int = 1) -> list[DeadMessage]:
    """The dead letters of a queue, once there are so many."""

    async def enough() -> list[DeadMessage]:
        found = await app.dead_letters(queue)
        return found if len(found) >= count else []

    return await until(enough)


async def soon(waiting: Awaitable[T]) -> T:
    """The value of something that must not take long."""
    return await asyncio.wait_for(waiting, PATIENCE)


def run(program: Path, *arguments: str, url: str | None = None, check: bool = True) -> str:
    """Run a program as users do, in its own directory, and return what it printed. A warning is an error."""
    environment = {name: value for name, value in os.environ.items() if name != "BROKERKIT_URL"}
    if url is not None:
        environment["BROKERKIT_URL"] = url
    done = subprocess.run(
        [sys.executable, "-W", "error", program.name, *arguments],
        cwd=program.parent, env=environment, capture_output=True, text=True, timeout=PATIENCE * 2, check=False,
    )  # fmt: skip
    assert not check or done.returncode == 0, done.stderr
    return done.stdout if check else done.stderr
