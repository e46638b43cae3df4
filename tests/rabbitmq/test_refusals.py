"""Opening a connection that cannot be opened: one clear error, in time, without the password, and no second try where
none can help."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import threading
import time
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import pytest

from brokerkit.errors import ConfigurationError, ConnectFailed, MissingCapability
from brokerkit.transports.rabbitmq.connection import Connection
from brokerkit.transports.rabbitmq.errors import Refused
from brokerkit.transports.rabbitmq.url import parse
from tests.brokers import broker_url
from tests.proxy import Proxy, proxy_to
from tests.rabbitmq.authority import Authority
from tests.rabbitmq.links import until
from tests.rabbitmq.node import Node

SECRET = "hunter2-canary"


@pytest.fixture
async def proxy() -> AsyncIterator[Proxy]:
    async with proxy_to(broker_url("rabbitmq")) as proxy:
        yield proxy


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(autouse=True)
def no_password_in_logs(caplog: pytest.LogCaptureFixture) -> None:
    """Every test here records all that is logged by anybody, to look for the password."""
    caplog.set_level(logging.DEBUG)


async def refused(url: str, caplog: pytest.LogCaptureFixture) -> str:
    """The text of the one error of a connection that is refused for good."""
    connection = Connection(parse(url), "test")
    with pytest.raises((Refused, ConfigurationError)) as raised:
        await connection.open()
    await connection.close()
    return checked(raised.value, caplog)


async def failed(url: str, caplog: pytest.LogCaptureFixture) -> str:
    """The text of the one error of a connection that was tried until the deadline."""
    started = time.monotonic()
    connection = Connection(parse(url), "test")
    with pytest.raises(ConnectFailed, match="tried for 1 s") as raised:
        await connection.open()
    assert time.monotonic() - started < 10, "the connect deadline of 1 s was not kept"
    return checked(raised.value, caplog)


def checked(error: BaseException, caplog: pytest.LogCaptureFixture) -> str:
    text = str(error)
    assert "\n" not in text
    assert SECRET not in "".join(traceback.format_exception(error)), "neither in it nor in what caused it"
    for record in caplog.records:
        assert SECRET not in record.getMessage() + str(record.exc_text)
    loud = [record for record in caplog.records if record.levelno > logging.DEBUG and record.name != "brokerkit"]
    assert not loud, "only brokerkit speaks of it"
    return text


async def test_a_wrong_password_is_said_at_once_and_not_tried_again(
    proxy: Proxy, caplog: pytest.LogCaptureFixture
) -> None:
    text = await refused(f"amqp://guest:{SECRET}@127.0.0.1:{proxy.port}/", caplog)
    assert "refused the user 'guest' or the password" in text
    assert f"amqp://guest:***@127.0.0.1:{proxy.port}" in text
    assert proxy.connections == 1


async def test_a_virtual_host_that_does_not_exist_is_named(proxy: Proxy, caplog: pytest.LogCaptureFixture) -> None:
    text = await refused(f"amqp://guest:guest@127.0.0.1:{proxy.port}/no-such-vhost", caplog)
    assert "has no virtual host 'no-such-vhost'" in text
    assert proxy.connections == 1


async def test_a_user_without_permission_for_the_virtual_host_is_told_so(
    node: Node, caplog: pytest.LogCaptureFixture
) -> None:
    text = await refused(node.add_user("stranger", SECRET), caplog)
    assert "the user 'stranger' has no permission for the virtual host '/'" in text


async def test_a_host_where_nobody_listens_is_tried_until_the_deadline(caplog: pytest.LogCaptureFixture) -> None:
    text = await failed(f"amqp://guest:{SECRET}@127.0.0.1:9/?connect_timeout=1", caplog)
    assert "127.0.0.1:9/ cannot be reached: nobody listens there" in text
    said = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert len(said) == 1, "it says once that it keeps trying"


async def test_a_host_whose_name_is_unknown_is_named(caplog: pytest.LogCaptureFixture) -> None:
    text = await failed(f"amqp://guest:{SECRET}@no-such-host.invalid/?connect_timeout=1", caplog)
    assert "no-such-host.invalid:5672/ cannot be reached: the host's name is unknown" in text


async def test_a_broker_that_comes_up_in_time_is_waited_for(proxy: Proxy) -> None:
    proxy.refusing = True
    connection = Connection(parse(proxy.url(broker_url("rabbitmq"))), "test")
    async with asyncio.TaskGroup() as group:
        opening = group.create_task(connection.open())
        while proxy.connections < 3:
            await asyncio.sleep(0.01)
        assert not opening.done()
        proxy.refusing = False
    assert connection.current is not None
    await connection.close()


async def test_giving_up_while_it_opens_leaves_nothing(proxy: Proxy) -> None:
    proxy.swallowing = True
    connection = Connection(parse(proxy.url(broker_url("rabbitmq"))), "test")
    async with asyncio.TaskGroup() as group:
        opening = group.create_task(connection.open())
        while not proxy.seen[False]:
            await asyncio.sleep(0.01)
        opening.cancel()
    assert connection.current is None
    await until(lambda: not proxy.pipes)


async def test_a_broker_that_is_too_old_is_refused_and_left(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("brokerkit.transports.rabbitmq.versions.OLDEST", (99, 0))
    connection = Connection(parse(proxy.url(broker_url("rabbitmq"))), "test")
    with pytest.raises(MissingCapability, match="too old"):
        await connection.open()
    assert proxy.connections == 1
    await until(lambda: not proxy.pipes)


Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def listening(handle: Handler) -> AsyncIterator[int]:
    writers: list[asyncio.StreamWriter] = []

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        await handle(reader, writer)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()
    for writer in writers:
        writer.transport.abort()


async def test_a_host_that_accepts_and_says_nothing_does_not_hold_us_beyond_the_deadline(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def mute(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()

    async with listening(mute) as port:
        text = await failed(f"amqp://guest:{SECRET}@127.0.0.1:{port}/?connect_timeout=1", caplog)
    assert "does not answer" in text


async def test_a_broker_that_falls_silent_while_it_opens_does_not_hold_us_beyond_the_deadline(
    proxy: Proxy, caplog: pytest.LogCaptureFixture
) -> None:
    proxy.swallowing = True
    url = f"amqp://guest:{SECRET}@127.0.0.1:{proxy.port}/?connect_timeout=1"
    assert "does not answer" in await failed(url, caplog)


@pytest.mark.parametrize(
    "answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"AMQP\x00\x01\x00\x00", b"SSH-2.0-OpenSSH\r\n"]
)
async def test_a_port_of_another_program_is_recognised(answer: bytes, caplog: pytest.LogCaptureFixture) -> None:
    async def other(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(8)
        writer.write(answer)
        writer.close()

    async with listening(other) as port:
        connection = Connection(parse(f"amqp://guest:{SECRET}@127.0.0.1:{port}/?connect_timeout=1"), "test")
        with pytest.raises(ConnectFailed, match="is this RabbitMQ's port") as raised:
            await connection.open()
    checked(raised.value, caplog)


async def test_the_second_host_is_tried_when_the_first_does_not_answer(proxy: Proxy) -> None:
    async def mute(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()

    async with listening(mute) as port:
        url = f"amqp://guest:guest@127.0.0.1:{port},127.0.0.1:{proxy.port}/?connect_timeout=4"
        connection = Connection(parse(url), "test")
        await connection.open()
        link = connection.current
        assert link is not None
        assert link.host.port == proxy.port
        await connection.close()


# TLS


async def test_a_broker_whose_certificate_is_signed_by_the_named_authority_is_trusted(authority: Authority) -> None:
    async with proxy_to(broker_url("rabbitmq"), authority.server()) as proxy:
        connection = Connection(parse(f"{proxy.url(broker_url('rabbitmq'))}?cafile={authority.file}"), "test")
        await connection.open()
        link = connection.current
        assert link is not None
        channel = await link.channel()
        await channel.close()
        await connection.close()


async def test_a_broker_whose_certificate_nobody_knows_is_not_trusted(
    authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    async with proxy_to(broker_url("rabbitmq"), authority.server()) as proxy:
        text = await refused(f"amqps://guest:{SECRET}@127.0.0.1:{proxy.port}/", caplog)
        assert "certificate is not trusted" in text
        assert "cafile=" in text
        assert proxy.seen[True] == 0, "the password never left"


async def test_a_certificate_for_another_host_is_not_trusted(
    authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    async with proxy_to(broker_url("rabbitmq"), authority.server("DNS:elsewhere.example")) as proxy:
        text = await refused(f"amqps://guest:{SECRET}@127.0.0.1:{proxy.port}/?cafile={authority.file}", caplog)
    assert "certificate is not trusted" in text
    assert "127.0.0.1" in text


async def test_a_broker_that_wants_a_client_certificate_gets_it(authority: Authority) -> None:
    certificate, key = authority.signed("client", "DNS:client")
    async with proxy_to(broker_url("rabbitmq"), authority.server(wants_certificate=True)) as proxy:
        url = f"{proxy.url(broker_url('rabbitmq'))}?cafile={authority.file}&certfile={certificate}&keyfile={key}"
        connection = Connection(parse(url), "test")
        await connection.open()
        assert connection.current is not None
        await connection.close()


@contextmanager
def strict(authority: Authority) -> Iterator[int]:
    """A server that wants a certificate of this authority, and says why it closes (asyncio's own does not)."""
    context = authority.server(wants_certificate=True)
    listener = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        plain, _ = listener.accept()
        plain.settimeout(10)
        with plain.dup() as spare:
            with suppress(ssl.SSLError), context.wrap_socket(plain, server_side=True) as wrapped:
                wrapped.recv(1)
            # What the client has sent meanwhile is read: closing over it would reset the connection, alert and all.
            spare.shutdown(socket.SHUT_WR)
            spare.recv(65536)

    thread = threading.Thread(target=accept)
    thread.start()
    with listener:
        yield listener.getsockname()[1]
    thread.join()


async def test_a_missing_client_certificate_is_asked_for(
    authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    with strict(authority) as port:
        text = await refused(f"amqps://guest:{SECRET}@127.0.0.1:{port}/?cafile={authority.file}", caplog)
    assert "asks for a client certificate" in text
    assert "certfile=" in text


async def test_a_client_certificate_of_another_authority_is_not_accepted(
    authority: Authority, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    certificate, key = Authority(tmp_path / "other").signed("client", "DNS:client")
    with strict(authority) as port:
        place = f"amqps://guest:{SECRET}@127.0.0.1:{port}/"
        text = await refused(f"{place}?cafile={authority.file}&certfile={certificate}&keyfile={key}", caplog)
    assert "does not accept our certificate" in text


async def test_tls_to_a_port_without_it_is_recognised(proxy: Proxy, caplog: pytest.LogCaptureFixture) -> None:
    text = await refused(f"amqps://guest:{SECRET}@127.0.0.1:{proxy.port}/", caplog)
    assert "does not speak TLS; use amqp://" in text


async def test_a_port_for_tls_without_tls_is_recognised(authority: Authority, caplog: pytest.LogCaptureFixture) -> None:
    async with proxy_to(broker_url("rabbitmq"), authority.server()) as proxy:
        connection = Connection(parse(f"amqp://guest:{SECRET}@127.0.0.1:{proxy.port}/?connect_timeout=1"), "test")
        with pytest.raises(ConnectFailed, match="needs amqps://") as raised:
            await connection.open()
    checked(raised.value, caplog)
