"""A connection that is kept up: what becomes of it when links are lost, and who is told."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest

from brokerkit.errors import ConnectFailed, ConnectionLost, TransportError
from brokerkit.transport import Published
from brokerkit.transports.rabbitmq.connection import Connection
from brokerkit.transports.rabbitmq.errors import Refused
from brokerkit.transports.rabbitmq.link import Link
from brokerkit.transports.rabbitmq.publishing import Publisher
from brokerkit.transports.rabbitmq.url import parse
from tests.brokers import broker_url
from tests.proxy import Proxy, proxy_to
from tests.rabbitmq.links import connected, prepared, queue, unique, until
from tests.rabbitmq.node import Node


@pytest.fixture
def url() -> str:
    return broker_url("rabbitmq")


@pytest.fixture
async def proxy(url: str) -> AsyncIterator[Proxy]:
    async with proxy_to(url) as proxy:
        yield proxy


async def test_a_lost_link_is_replaced_and_everybody_is_told(
    url: str, proxy: Proxy, caplog: pytest.LogCaptureFixture
) -> None:
    async with connected(proxy.url(url)) as connection:
        first = await connection.link(5)
        told: list[tuple[str, Link]] = []

        async def up(link: Link) -> None:
            assert connection.current is link
            told.append(("up", link))

        connection.on_up.append(up)
        connection.on_down.append(lambda link: told.append(("down", link)))
        proxy.cut()
        await first.lost.wait()
        second = await connection.link(20)
        assert second is not first
        assert second.generation > first.generation
        await until(lambda: told == [("down", first), ("up", second)])
        await (await second.channel()).close()
    said = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(said) == 2
    assert "was lost" in said[0]
    assert "connected again" in said[1]


async def test_the_first_link_is_nobodys_recovery(url: str) -> None:
    told: list[Link] = []

    async def up(link: Link) -> None:
        told.append(link)

    connection = Connection(parse(url), "test")
    connection.on_up.append(up)
    await connection.open()
    async with asyncio.TaskGroup() as group:
        running = group.create_task(connection.run())
        await asyncio.sleep(0.05)
        running.cancel()
    await connection.close()
    assert told == []


async def test_a_connection_comes_back_from_one_cut_after_the_other(url: str, proxy: Proxy) -> None:
    async with connected(proxy.url(url)) as connection:
        generations = set()
        for _ in range(20):
            link = await connection.link(20)
            generations.add(link.generation)
            proxy.cut()
            await link.lost.wait()
        assert len(generations) == 20
        await connection.link(20)


async def test_a_link_that_does_not_come_is_waited_for_no_longer_than_asked(url: str, proxy: Proxy) -> None:
    async with connected(proxy.url(url)) as connection:
        proxy.refusing = True
        proxy.cut()
        await until(lambda: connection.current is None)
        with pytest.raises((ConnectionLost, ConnectFailed)) as raised:
            await connection.link(0.1)
        assert f"127.0.0.1:{proxy.port}" in str(raised.value)
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(connection.link(20))
            await asyncio.sleep(0.05)
            proxy.refusing = False
        assert waiting.result() is connection.current


async def test_the_next_host_is_taken_when_one_is_gone(url: str) -> None:
    async with proxy_to(url) as one, proxy_to(url) as two:
        hosts = f"127.0.0.1:{one.port},127.0.0.1:{two.port}"
        async with connected(f"amqp://guest:guest@{hosts}/") as connection:
            assert (await connection.link(5)).host.port == one.port
            one.refusing = True
            one.cut()
            await until(lambda: connection.current is None)
            assert (await connection.link(20)).host.port == two.port


async def test_a_link_that_cannot_be_used_is_given_up_and_another_is_made(
    url: str, proxy: Proxy, caplog: pytest.LogCaptureFixture
) -> None:
    async with connected(proxy.url(url)) as connection:
        links: list[Link] = []

        async def up(link: Link) -> None:
            links.append(link)
            if len(links) < 3:
                raise TransportError("the queue is gone")

        connection.on_up.append(up)
        proxy.cut()
        await until(lambda: len(links) == 3)
        assert [link.reason is not None for link in links] == [True, True, False]
        assert connection.current is links[2]
    assert sum("cannot be used: the queue is gone" in record.getMessage() for record in caplog.records) == 2


async def test_a_defect_in_a_listener_is_not_swallowed(url: str, proxy: Proxy) -> None:
    async def up(link: Link) -> None:
        raise ValueError("a defect")

    connection = Connection(parse(proxy.url(url)), "test")
    connection.on_up.append(up)
    await connection.open()
    proxy.cut()
    with pytest.raises(ValueError, match="a defect"):
        await connection.run()
    await connection.close()


async def test_a_password_that_was_changed_is_tried_until_it_fits_again(
    node: Node, caplog: pytest.LogCaptureFixture
) -> None:
    name = unique("user")
    url = node.add_user(name, "first")
    node.allow(name)
    async with connected(url) as connection:
        change = 'rabbit_auth_backend_internal:change_password(<<"{}">>, <<"{}">>, <<"tests">>)'
        await asyncio.to_thread(node.evaluate, change.format(name, "second"))
        await node.cut_all()
        await until(lambda: isinstance(connection.why, Refused))
        with pytest.raises(ConnectFailed, match=f"refused the user '{name}'"):
            await connection.link(0.01)
        await asyncio.to_thread(node.evaluate, change.format(name, "first"))
        await connection.link(20)
    said = [record.getMessage() for record in caplog.records if "refused the user" in record.getMessage()]
    assert len(said) == 1, "once, not at every attempt"


async def test_closing_ends_what_waits_for_a_link(url: str, proxy: Proxy) -> None:
    async with connected(proxy.url(url)) as connection:
        proxy.refusing = True
        proxy.cut()
        await until(lambda: connection.current is None)
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(given_up(connection))
            await asyncio.sleep(0.05)
            await connection.close()
        assert "was closed" in waiting.result()
    with pytest.raises(ConnectionLost, match="was closed"):
        await connection.link(5)


async def given_up(connection: Connection) -> str:
    with pytest.raises(ConnectionLost) as raised:
        await connection.link(20)
    return str(raised.value)


async def test_a_link_that_worked_is_replaced_soon_however_short_it_lived(url: str, proxy: Proxy) -> None:
    connection = Connection(parse(proxy.url(url)), "test", jitter=lambda: 1.0)
    await connection.open()
    for worked in (False, True):
        connection._attempts += 20
        link = connection.current
        assert link is not None
        if worked:
            async with queue(url) as name:
                assert await Publisher(connection).publish([prepared(name)], deadline=20) == [Published.CONFIRMED]
        proxy.cut()
        await link.lost.wait()
        await link.close()
        assert connection._pause() == pytest.approx(0.4 if worked else 5.0)
        await connection._reconnect()
    await connection.close()


async def test_pauses_grow_to_a_limit_and_are_drawn_from_zero_on() -> None:
    drawn: list[float] = [1.0] * 9
    connection = Connection(parse("amqp://localhost/"), "test", jitter=lambda: drawn.pop(0))
    pauses = []
    for attempts in range(9):
        connection._attempts = attempts
        pauses.append(connection._pause())
    assert pauses == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 5.0])
    drawn.append(0.0)
    assert connection._pause() == 0.0
