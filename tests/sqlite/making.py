"""What the tests of this adapter share: a topology, messages, other processes."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from brokerkit.delivery import Delivery, Lane, QueueSource
from brokerkit.message import Message, Outgoing
from brokerkit.topology import Queue, Topology
from brokerkit.transport import Published
from brokerkit.transports.sqlite import SqliteTransport

LEASE = 2.0
"""Seconds: short, so that a test sees one run out."""
Q = Lane("q", 0)


def topology() -> Topology:
    return Topology("app", queues=[Queue("q"), Queue("back"), Queue("small", max_length=3)])


def outgoing(id_: str, *, queue: str = "q", body: bytes = b"body") -> Outgoing:
    return Outgoing(Message(id=id_, name="task", body=body), "", queue)


async def send(transport: SqliteTransport, number: int, *, body: bytes = b"body") -> list[str]:
    """Publish so many messages; returns their ids."""
    ids = [f"m{index}" for index in range(number)]
    answers = await transport.publish([outgoing(each, body=body) for each in ids], deadline=30)
    assert set(answers) <= {Published.CONFIRMED}
    return ids


@asynccontextmanager
async def opened(path: Path, *, lease: float = LEASE) -> AsyncIterator[SqliteTransport]:
    async with SqliteTransport(path, lease=lease) as transport:
        await transport.apply(topology())
        yield transport


async def drained(transport: SqliteTransport, number: int, within: float = 20.0) -> list[Delivery]:
    """Receive so many messages, without settling them."""
    got: list[Delivery] = []
    async with asyncio.timeout(within), transport.consume([QueueSource("q")]) as subscription:
        while len(got) < number:
            got += await subscription.receive({Q: number})
    return got


class Child:
    """Another process, see ``child.py``."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def line(self, within: float = 20.0) -> list[str]:
        """The next line it writes, as words; [] at the end."""
        assert self.process.stdout is not None
        async with asyncio.timeout(within):
            return (await self.process.stdout.readline()).decode().split()

    async def rest(self, within: float = 60.0) -> list[list[str]]:
        """All lines until it ends."""
        lines = []
        async with asyncio.timeout(within):
            while line := await self.line(within):
                lines.append(line)
            await self.process.wait()
        return lines

    def tell(self) -> None:
        """Let it go on."""
        assert self.process.stdin is not None
        self.process.stdin.write(b"\n")

    async def kill(self) -> None:
        with suppress(ProcessLookupError):
            self.process.kill()
        await self.process.wait()


@asynccontextmanager
async def child(what: str, path: Path, number: int = 1) -> AsyncIterator[Child]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.sqlite.child",
        what,
        str(path),
        str(number),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    made = Child(process)
    try:
        yield made
    finally:
        await made.kill()
        # The pipes' transports end with the process; closing them here keeps the loop quiet.
        process._transport.close()  # type: ignore[attr-defined]
        await asyncio.sleep(0)
