"""Connections that end while replies are on them: whoever waits gets his reply."""

from __future__ import annotations

import asyncio

import pytest

from brokerkit.transport import Published
from tests.proxy import Proxy
from tests.redis.between import main_pipe, outgoing, pipe_of, transport_to
from tests.redis.server import Server

pytestmark = pytest.mark.broker


def _looks(server: Server) -> int:
    return int(server.info("commandstats").get("cmdstat_lrange", {"calls": 0})["calls"])


async def test_replies_that_were_on_a_connection_that_died_come_all_the_same(server: Server, proxy: Proxy) -> None:
    async with (
        transport_to(server.url) as other,
        transport_to(proxy.url(server.url)) as transport,
        transport.replies() as inbox,
    ):

        async def reply(*numbers: int) -> None:
            messages = [outgoing(number, inbox.address) for number in numbers]
            assert set(await other.publish(messages, deadline=5)) == {Published.CONFIRMED}

        async def got(*numbers: int) -> None:
            found: list[str] = []
            async with asyncio.timeout(15):
                while len(found) < len(numbers):
                    found += [message.id for message in await inbox.receive()]
            assert found == [f"m{number}" for number in numbers]

        async def all_taken() -> None:
            async with asyncio.timeout(10):
                while server.ask("LLEN", inbox.plan.replies):
                    await asyncio.sleep(0.02)
            await transport._broker.asking.ask("ECHO", "done")  # behind whatever is still being answered

        await reply(0)
        await got(0)
        for start in range(1, 13, 4):
            await all_taken()
            for pipe in (main := main_pipe(transport, proxy), pipe_of(transport._broker.hearing.servers, proxy)):
                pipe.deaf = pipe is main or start > 1  # the wake-up arrives, or gets lost, too
            before = _looks(server)
            await reply(start, start + 1)
            async with asyncio.timeout(10):
                while start == 1 and _looks(server) == before:  # they were told, and the answer got lost
                    await asyncio.sleep(0.02)
            proxy.cut()
            await reply(start + 2, start + 3)
            await got(start, start + 1, start + 2, start + 3)
        await all_taken()


async def test_replies_are_looked_for_again_when_only_the_way_to_them_was_lost(server: Server, proxy: Proxy) -> None:
    async with (
        transport_to(server.url) as other,
        transport_to(proxy.url(server.url)) as transport,
        transport.replies() as inbox,
    ):
        main_pipe(transport, proxy).cut()  # who is told of replies still is
        messages = [outgoing(number, inbox.address) for number in range(20)]
        assert set(await other.publish(messages, deadline=5)) == {Published.CONFIRMED}
        found: list[str] = []
        async with asyncio.timeout(10):
            while len(found) < 20:
                found += [message.id for message in await inbox.receive()]
        assert found == [f"m{number}" for number in range(20)]
