"""What others have put where ours should be: it is run, a dead letter, or one clear error, and harms nobody else."""

from __future__ import annotations

import asyncio

import pytest

from brokerkit import App, Queue, Retry
from brokerkit.errors import BrokerkitError, TransportError
from brokerkit.topology import DeadLetter as DeadLetterQueue
from tests.redis.running import Ran
from tests.redis.server import Server

pytestmark = pytest.mark.broker


async def test_foreign_entries_are_run_or_dead_letters(server: Server) -> None:
    app = App(f"{server.url}?lease=2")
    seen: list[int] = []

    @app.task(name="double", queue=Queue("work"), retry=Retry.none())
    async def double(number: int) -> None:
        seen.append(number)

    async with app, app.worker():
        stream = "bk:{work}:work:0"
        server.ask("XADD", stream, "*", "body", '{"number": 7}', "type", "double")
        server.ask("XADD", stream, "*", "nobody", "knows", "\xff", "this")
        server.ask("XADD", stream, "*", "m", "no message")
        server.ask("XADD", stream, "*", "m", "", "o", "broken", "d", "broken")
        server.ask("XADD", stream, "*", "body", "not json", "type", "double")
        server.ask("XADD", stream, "*", "body", "{}", "type", "unknown task")
        await double.send(8)
        async with asyncio.timeout(10):
            while len(seen) < 2 or (await app.queue_stats("work")).dead != 5:
                await asyncio.sleep(0.05)
    assert sorted(seen) == [7, 8]
    assert server.ask("XLEN", stream) == 0


async def test_what_others_say_on_our_channels_harms_nobody(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    ran = Ran(f"{server.url}?lease=2")
    async with ran.app, ran.app.worker():
        await ran.heals(0)
        channels = [channel.decode() for channel in server.ask("PUBSUB", "SHARDCHANNELS")]
        assert len(channels) == 2
        for channel in channels:
            for text in (
                "",
                "x",
                "1",
                "inbox",
                "1 bk:{near}:near:waiting\n",
                "1 bk:{near}:near:waiting\n7 x\ny",
                b"\xff",
            ):
                server.ask("SPUBLISH", channel, text)
        server.ask("SPUBLISH", channels[0], "1 bk:{near}:near:waiting\n0 x\nlong enough to be read as a time")
        await ran.heals(1)
    assert "cannot be read" in caplog.text
    assert "was lost (" not in caplog.text


async def test_a_queue_whose_stream_is_something_else_does_not_keep_a_worker_from_the_others(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    ran = Ran(f"{server.url}?lease=1")
    async with ran.app, ran.app.worker():
        await ran.heals(0)
        await (await ran.far.send(1)).result(timeout=10)
        server.ask("SET", "bk:{near}:near:0", "something else")
        with pytest.raises(TransportError, match=r"something else in it; choose another .prefix=, or delete that key"):
            await ran.near.send(2)
        for number in range(3, 8):
            assert await (await ran.far.send(number)).result(timeout=10) == number
        before = server.calls()
        await asyncio.sleep(1.0)
        assert server.calls() - before < 300, "it was overrun"
        server.ask("DEL", "bk:{near}:near:0")
        await ran.heals(9, 15)
    assert "nothing can be received from near" in caplog.text


async def test_leases_that_are_something_else_do_not_cost_other_queues_theirs(server: Server) -> None:
    ran = Ran(f"{server.url}?lease=1")
    async with ran.app, ran.app.worker():
        await ran.heals(0)
        server.ask("SET", "bk:{far}:far:leases", "something else")
        await asyncio.sleep(1.5)
        _, until = server.ask("ZRANGE", "bk:{near}:near:leases", 0, -1, "WITHSCORES")
        seconds, _ = server.ask("TIME")
        assert float(until) > 1000 * int(seconds), "it was not renewed"
        server.ask("DEL", "bk:{far}:far:leases")
        assert await (await ran.far.send(1)).result(timeout=15) == 1


async def test_a_circle_of_dead_letters_that_two_apps_make_is_refused_and_changes_nothing(server: Server) -> None:
    one, two = App(server.url, name="one"), App(server.url, name="two")
    one.declare(Queue("a", dead_letter=DeadLetterQueue("b")))
    two.declare(Queue("b", dead_letter=DeadLetterQueue("a")))
    async with one:
        with pytest.raises(BrokerkitError, match="a dead letter comes back to its queue, a -> b -> a"):
            async with two:
                pass
        assert (await one.queue_stats("a")).ready == 0
    async with one:
        assert (await one.queue_stats("a")).dead == 0


async def test_a_stream_that_is_something_else_is_named_when_it_is_declared(server: Server) -> None:
    server.ask("SET", "bk:{work}:work:0", "something else")
    app = App(server.url)
    app.declare(Queue("work"))
    with pytest.raises(BrokerkitError, match=r"bk:\{work\}:work:0"):
        async with app:
            pass
