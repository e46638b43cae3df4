"""A disk without room: publishing answers FULL, and everything goes on once there is room."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from brokerkit.delivery import QueueSource
from brokerkit.errors import TransportError
from brokerkit.message import Message, Outgoing
from brokerkit.outcome import ACK
from brokerkit.transport import Published
from brokerkit.transports.sqlite import SqliteTransport
from brokerkit.transports.sqlite.database import Call
from brokerkit.transports.sqlite.errors import DiskFull
from tests.sqlite.making import Q, opened


async def limit(transport: SqliteTransport, pages: int) -> None:
    """Let the file have so many pages, as a disk would."""
    await transport._database.do(Call(durable=False), [lambda tx: tx.row(f"PRAGMA max_page_count = {pages}")])


def large(id_: str) -> Outgoing:
    return Outgoing(Message(id=id_, name="task", body=b"x" * 20_000), "", "q")


async def test_a_full_disk_answers_full_and_the_worker_goes_on(tmp_path: Path) -> None:
    async with opened(tmp_path / "broker.db") as transport:
        await limit(transport, 120)
        answers = [(await transport.publish([large(f"m{n}")], deadline=5))[0] for n in range(40)]
        accepted = answers.count(Published.CONFIRMED)
        assert 0 < accepted < 40
        assert set(answers) == {Published.CONFIRMED, Published.FULL}
        async with transport.consume([QueueSource("q")]) as subscription:
            got = 0
            while got < accepted:
                deliveries = await subscription.receive({Q: 5})
                await subscription.settle([(each, ACK) for each in deliveries])
                got += len(deliveries)
            assert await transport.publish([large("again")], deadline=5) == [Published.CONFIRMED]
            assert [each.message.id for each in await subscription.receive({Q: 5})] == ["again"]


async def test_one_callers_full_disk_is_not_anothers(tmp_path: Path) -> None:
    async with opened(tmp_path / "broker.db") as transport:
        await limit(transport, 100)
        small = Outgoing(Message(id="small", name="task", body=b"x"), "", "q")
        huge = [large(f"m{n}") for n in range(60)]
        first, second = await asyncio.gather(
            transport.publish(huge, deadline=5), transport.publish([small], deadline=5)
        )
        assert set(first) == {Published.FULL}
        assert second == [Published.CONFIRMED]


async def test_anything_else_raises_an_error_that_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "broker.db"
    async with opened(path) as transport:
        await limit(transport, 1)

        with pytest.raises(TransportError, match="does not fit on its disk") as raised:
            await transport._database.do(
                Call(durable=True),
                [lambda tx: tx.run("INSERT INTO presences VALUES ('w', 0, zeroblob(1000000))")],
            )
        assert isinstance(raised.value, DiskFull)
        assert str(path) in str(raised.value)
