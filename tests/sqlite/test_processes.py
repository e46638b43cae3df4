"""Several processes on one file: deaths, leases, competition, wake-ups."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import statistics
import time
from pathlib import Path

import pytest

from brokerkit.delivery import Lane, QueueSource
from brokerkit.outcome import ACK
from brokerkit.transports.sqlite import SqliteTransport
from tests.sqlite.making import LEASE, Q, child, drained, opened, outgoing, send


async def test_what_a_killed_process_held_is_delivered_again_before_its_lease_ends(tmp_path: Path) -> None:
    path = tmp_path / "broker.db"
    async with opened(path, lease=60) as transport:
        ids = await send(transport, 20)
        async with child("hold", path, 5) as other:
            assert await other.line() == ["held", "1", "1", "1", "1", "1"]
            await other.kill()
            begun = time.monotonic()
            got = await drained(transport, 20)
        assert time.monotonic() - begun < LEASE, "the refused socket shows the death"
    assert sorted(delivery.message.id for delivery in got) == sorted(ids)
    assert sorted(delivery.deliveries for delivery in got) == [1] * 15 + [2] * 5


async def test_a_stopped_process_loses_what_it_held_and_learns_it_when_it_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "broker.db"
    async with opened(path) as transport:
        await send(transport, 3)
        async with child("hold", path, 3) as other:
            await other.line()
            other.process.send_signal(signal.SIGSTOP)
            got = await drained(transport, 3)
            assert [delivery.deliveries for delivery in got] == [2, 2, 2]
            other.process.send_signal(signal.SIGCONT)
            await asyncio.sleep(0.2)
            other.tell()
            assert await other.line() == ["settled", "lost", "lost", "lost", "True", "True", "True"]


async def test_a_lease_is_renewed_while_the_event_loop_is_blocked(tmp_path: Path) -> None:
    path = tmp_path / "broker.db"
    async with opened(path) as transport, opened(path) as other, other.consume([QueueSource("q")]):
        await send(transport, 1)
        async with transport.consume([QueueSource("q")]) as subscription:
            (delivery,) = await subscription.receive({Q: 1})
            time.sleep(LEASE * 1.5)
            assert [answer.value for answer in await subscription.settle([(delivery, ACK)])] == ["done"]


async def test_competing_processes_take_each_message_once(tmp_path: Path) -> None:
    path, total = tmp_path / "broker.db", 5000
    async with opened(path) as transport:
        ids = await send(transport, total)
        async with (
            child("compete", path, 20) as first,
            child("compete", path, 20) as second,
            child("compete", path, 20) as third,
            child("compete", path, 20) as fourth,
        ):
            others = [first, second, third, fourth]
            for other in others:
                assert await other.line() == ["ready"]
            for other in others:
                other.tell()
            lines = await asyncio.gather(*(other.rest() for other in others))
        stats = await transport.stats("q")
    taken = [word for mine in lines for line in mine for word in line[1:]]
    assert len(taken) == total
    assert sorted(taken) == sorted(ids)
    assert (stats.ready, stats.in_flight) == (0, 0)


async def test_many_processes_publish_at_once_and_the_file_stays_sound(tmp_path: Path) -> None:
    path = tmp_path / "broker.db"
    async with opened(path) as transport:
        async with (
            child("publish", path, 100) as a,
            child("publish", path, 100) as b,
            child("publish", path, 100) as c,
            child("publish", path, 100) as d,
        ):
            mine = asyncio.gather(
                *(transport.publish([outgoing(f"own-{number}")], deadline=30) for number in range(100))
            )
            lines = await asyncio.gather(*(other.rest() for other in (a, b, c, d)))
            await mine
        assert [line for each in lines for line in each] == [["confirmed"]] * 400
        assert (await transport.stats("q")).ready == 500
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


async def test_what_was_settled_stays_settled_when_the_process_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "broker.db"
    async with opened(path) as transport:
        ids = await send(transport, 50)
        async with child("settle", path, 30) as other:
            settled = [(await other.line())[0] for _ in range(30)]
            await other.kill()
        got = await drained(transport, 20)
        stats = await transport.stats("q")
    assert sorted(settled + [delivery.message.id for delivery in got]) == sorted(ids)
    assert stats.ready == 20


async def test_an_idle_consumer_in_another_process_wakes_at_once(tmp_path: Path) -> None:
    path, rounds = tmp_path / "broker.db", 60
    back, times = Lane("back", 0), []
    async with opened(path) as transport, child("echo", path, rounds) as other:
        assert await other.line() == ["ready"]
        async with transport.consume([QueueSource("back")]) as subscription:
            for number in range(rounds):
                await asyncio.sleep(0.01)
                begun = time.perf_counter()
                await transport.publish([outgoing(f"m{number}")], deadline=10)
                (delivery,) = await subscription.receive({back: 1})
                times.append(time.perf_counter() - begun)
                await subscription.settle([(delivery, ACK)])
    # There and back: two publishes and two wake-ups.
    assert statistics.median(times) < 0.05, f"{statistics.median(times) * 1000:.1f} ms"


@pytest.mark.slow
async def test_an_idle_worker_uses_next_to_no_time(tmp_path: Path) -> None:
    path = tmp_path / "broker.db"
    async with opened(path), child("idle", path) as other:
        assert await other.line() == ["ready"]
        await asyncio.sleep(0.5)
        before = _cpu_seconds(other.process.pid)
        await asyncio.sleep(4)
        used = _cpu_seconds(other.process.pid) - before
    assert used / 4 < 0.02, f"{used / 4:.1%} of a processor"


async def test_replies_reach_an_inbox_of_another_transport(tmp_path: Path) -> None:
    path = tmp_path / "broker.db"
    async with opened(path) as transport, opened(path) as other, other.replies() as inbox:
        await asyncio.sleep(0.05)
        begun = time.monotonic()
        await transport.publish([outgoing("reply", queue=inbox.address)], deadline=5)
        assert [message.id for message in await inbox.receive()] == ["reply"]
        assert time.monotonic() - begun < 0.5


async def test_a_dead_process_leaves_no_inbox_behind(tmp_path: Path) -> None:
    path = tmp_path / "broker.db"
    async with opened(path) as transport:
        other = SqliteTransport(path, lease=60)
        await other.__aenter__()
        async with other.replies() as inbox:
            await transport.publish([outgoing("reply", queue=inbox.address)], deadline=5)
            await other.abandon()
        await asyncio.sleep(2.2)
        (answer,) = await transport.publish([outgoing("reply", queue=inbox.address)], deadline=5)
        assert answer.value == "unroutable"
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT count(*) FROM replies").fetchone() == (0,)
    connection.close()


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
