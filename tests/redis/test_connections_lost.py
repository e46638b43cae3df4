"""Connections that are cut, stalled or silent: what is opened meanwhile opens later, who waits gets his result."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from brokerkit import App, Queue
from brokerkit.abilities import Signal
from brokerkit.delivery import Lane, QueueSource
from brokerkit.topology import Queue as Declared
from brokerkit.topology import Topology
from brokerkit.transport import Published
from brokerkit.transports.redis import RedisTransport
from tests.chaos.sizes import sized
from tests.proxy import Proxy
from tests.redis.between import outgoing
from tests.redis.running import Ran
from tests.redis.server import Server

pytestmark = pytest.mark.broker


async def test_whoever_waits_while_the_connection_is_cut_gets_his_result(server: Server, proxy: Proxy) -> None:
    app = App(f"{proxy.url(server.url)}?lease=3")

    @app.task(queue=Queue("work"), record="none")
    async def double(number: int) -> int:
        await asyncio.sleep(0.2)
        return 2 * number

    async with app, app.worker():
        for round_ in range(sized(4, 20)):
            handles = [await double.send(100 * round_ + number) for number in range(20)]
            waiting = [asyncio.create_task(handle.result(timeout=20)) for handle in handles]
            await asyncio.sleep(0.1 * (round_ % 4))
            proxy.cut()
            results = await asyncio.gather(*waiting)
            assert results == [2 * (100 * round_ + number) for number in range(20)]


@pytest.mark.parametrize("how", ["refused", "half-open"])
async def test_what_is_opened_while_the_connection_is_lost_opens_later(
    server: Server, proxy: Proxy, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    url = f"{proxy.url(server.url)}?command_timeout=2&connect_timeout=1"
    lane = Lane("work", 0)
    async with RedisTransport(server.url) as other, RedisTransport(url) as transport, AsyncExitStack() as stack:
        await transport.apply(Topology("app", queues=[Declared("work")]))
        if how == "refused":
            proxy.refusing = True
            proxy.cut()
        else:
            proxy.stall()
        async with asyncio.timeout(10):  # no more than a moment each
            inbox = await stack.enter_async_context(transport.replies())
            subscription = await stack.enter_async_context(transport.consume([QueueSource("work")]))
            signals = await stack.enter_async_context(transport.signals())
        sending = asyncio.create_task(transport.publish([outgoing(1)], deadline=20))
        receiving = asyncio.create_task(subscription.receive({lane: 1}))
        replying = asyncio.create_task(inbox.receive())
        hearing = asyncio.create_task(signals.receive())
        await asyncio.sleep(1)
        assert not any(task.done() for task in (sending, receiving, replying, hearing))
        proxy.refusing = False
        proxy.cut()
        proxy.heal()
        assert await sending == [Published.CONFIRMED]
        async with asyncio.timeout(10):
            (delivery,) = await receiving
        assert delivery.message.id == "m1"
        async with asyncio.timeout(10):
            while await other.publish([outgoing(2, inbox.address)], deadline=5) != [Published.CONFIRMED]:
                await asyncio.sleep(0.05)
            assert [message.id for message in await replying] == ["m2"]
            while not hearing.done():
                await other.signal(Signal("cancel", "t1", 1))
                await asyncio.sleep(0.1)
    assert "replies to this process wait until" in caplog.text
    assert "nothing comes from work until" in caplog.text


async def test_an_app_that_opens_its_inbox_while_the_connection_is_lost_goes_on(server: Server, proxy: Proxy) -> None:
    ran = Ran(f"{proxy.url(server.url)}?lease=3")
    async with ran.app, ran.app.worker():
        proxy.refusing = True
        proxy.cut()
        sending = asyncio.create_task(ran.near.send(1))  # the first that wants a reply
        await asyncio.sleep(3)
        proxy.refusing = False
        assert await (await sending).result(timeout=10) == 1


async def test_a_connection_that_is_silent_is_found_to_be(
    server: Server, proxy: Proxy, caplog: pytest.LogCaptureFixture
) -> None:
    ran = Ran(f"{proxy.url(server.url)}?lease=3&command_timeout=1.5&connect_timeout=1")
    async with ran.app, ran.app.worker():
        await ran.heals(0)
        before = proxy.connections
        proxy.stall(up=False)  # nobody says that it is over
        async with asyncio.timeout(15):
            while caplog.text.count("no answer for 1.5 s") < 2:  # messages and wake-ups
                await asyncio.sleep(0.05)
        proxy.cut()
        proxy.heal()
        await ran.heals(1, 8)
        assert proxy.connections > before


async def test_leases_are_kept_although_the_connection_for_that_dies_in_silence(
    server: Server, proxy: Proxy, caplog: pytest.LogCaptureFixture
) -> None:
    app = App(f"{proxy.url(server.url)}?lease=3")
    runs: list[int] = []

    @app.task(queue=Queue("work"), record="none")
    async def slow(number: int) -> int:
        runs.append(number)
        await asyncio.sleep(5)
        return number

    async with app, app.worker():
        handle = await slow.send(1)
        while not runs:
            await asyncio.sleep(0.02)
        (keeper,) = (client for client in server.client().client_list() if client["name"] == "brokerkit-keeper")
        port = int(keeper["addr"].rpartition(":")[2])
        (pipe,) = (pipe for pipe in proxy.pipes if pipe.server.get_extra_info("sockname")[1] == port)
        async with RedisTransport(f"{server.url}?lease=3") as other, other.consume([QueueSource("work")]):
            pipe.deaf, pipe.late = True, asyncio.Event()
            assert await handle.result(timeout=15) == 1
    assert runs == [1]
    assert "its lease ran out" not in caplog.text


async def test_connections_that_end_at_once_are_not_made_without_a_pause(
    server: Server, proxy: Proxy, caplog: pytest.LogCaptureFixture
) -> None:
    ran = Ran(f"{proxy.url(server.url)}?lease=3")
    async with ran.app, ran.app.worker():
        await ran.heals(0)
        before = proxy.connections
        for _ in range(300):
            proxy.cut()
            await asyncio.sleep(0.01)
        assert proxy.connections - before < 80
        await ran.heals(1, 10)


async def test_an_answer_of_some_bytes_only_is_no_answer(server: Server, proxy: Proxy) -> None:
    async with RedisTransport(f"{proxy.url(server.url)}?lease=3") as transport:
        await transport.apply(Topology("app", queues=[Declared("work")]))
        assert await transport.publish([outgoing(0)], deadline=10) == [Published.CONFIRMED]
        for count in range(1, 40, 4):
            proxy.cut_after(count, up=bool(count % 8 == 1))
            assert await transport.publish([outgoing(count)], deadline=20) == [Published.CONFIRMED]
            proxy.heal()
        assert server.ask("XLEN", "bk:{work}:work:0") == 11
