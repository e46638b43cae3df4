"""What a server refuses: one clear error, and nothing is lost."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import pytest

from brokerkit import App, Queue
from brokerkit.delivery import Lane, QueueSource
from brokerkit.errors import BrokerkitError, ConnectFailed, QueueFull, StoreError
from brokerkit.records import TaskRecord, TaskStatus
from brokerkit.stores.redis import RedisStore
from brokerkit.topology import Queue as Declared
from brokerkit.topology import Topology
from brokerkit.transports.redis import RedisTransport
from tests.ports import free_port
from tests.redis.between import outgoing
from tests.redis.running import Ran
from tests.redis.server import Server
from tests.redis.servers import Serve

pytestmark = pytest.mark.broker

SECRET = "s3cr3t/pass word"
QUOTED = "s3cr3t%2Fpass%20word"


@pytest.fixture
def locked(serve: Serve) -> Server:
    """A server with a password."""
    return serve(requirepass="other")


def record(number: int, status: TaskStatus = TaskStatus.SUCCESS) -> TaskRecord:
    return TaskRecord(id=f"t{number}", name="job", queue="work", status=status, created=1.0)


async def _open(make: Callable[[], RedisTransport | RedisStore | App], texts: list[str]) -> None:
    opened = make()
    texts.append(repr(opened))
    async with opened:
        pass


# -- logging in -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["password", "down", "options", "database", "port"])
async def test_no_text_has_the_password(
    locked: Server, what: str, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    ports: dict[str, int | str] = {"down": free_port(), "port": "x"}
    port = ports.get(what, locked.port)
    path = {"options": "/0?nothing=1", "database": "/one"}.get(what, "/0")
    url = f"redis://app:{QUOTED}@127.0.0.1:{port}{path}"
    texts: list[str] = []
    for make in (lambda: RedisTransport(url), lambda: RedisStore(url), lambda: App(url)):
        with pytest.raises(BrokerkitError) as raised:
            await _open(make, texts)
        error: BaseException | None = raised.value
        while error is not None:
            texts += [str(error), repr(error)]
            error = error.__cause__ or error.__context__
    everything = "\n".join([*texts, caplog.text, *capsys.readouterr()])
    for secret in (SECRET, QUOTED):
        assert secret not in everything
    assert "s3cr3t" not in everything


async def test_a_wrong_password_is_said_to_be(locked: Server) -> None:
    with pytest.raises(ConnectFailed, match="does not accept the user and password of the URL"):
        async with RedisTransport(f"redis://:wrong@127.0.0.1:{locked.port}"):
            pass
    with pytest.raises(ConnectFailed, match="wants a password; put it into the URL"):
        async with RedisTransport(f"redis://127.0.0.1:{locked.port}"):
            pass


async def test_a_password_that_was_changed_is_asked_for_in_the_log(
    locked: Server, caplog: pytest.LogCaptureFixture
) -> None:
    ran = Ran(f"{locked.url}?lease=1")
    async with ran.app, ran.app.worker():
        await ran.heals(0)
        locked.ask("CONFIG", "SET", "requirepass", "changed")
        locked.password = "changed"
        locked.forget_clients("normal")
        async with asyncio.timeout(10):
            while "does not accept the user and password" not in caplog.text:
                await asyncio.sleep(0.05)
        locked.ask("CONFIG", "SET", "requirepass", "other")
        locked.password = "other"
        await ran.heals(1, 10)
    assert "other" not in caplog.text


@pytest.mark.parametrize(
    ("rule", "missing"),
    [
        ("~bk:* &bk:* +@all -@dangerous", "info"),
        ("~bk:* &bk:* +@all -@dangerous +info -evalsha -eval", "evalsha"),
        ("~bk:* &other:* +@all -@dangerous +info", "channel"),
        ("~other:* &bk:* +@all -@dangerous +info", "key"),
    ],
)
async def test_a_user_without_a_permission_is_told_which_to_grant(server: Server, rule: str, missing: str) -> None:
    server.ask("ACL", "SETUSER", "app", "on", ">secret", "resetkeys", "resetchannels", *rule.split())
    app = App(f"redis://app:secret@127.0.0.1:{server.port}")
    app.declare(Queue("work"))
    with pytest.raises(BrokerkitError, match=missing) as raised:
        async with app:
            pass
    text = str(raised.value)
    assert "does not permit this to the user (ACL); it needs ~<prefix>:* &<prefix>:* +@all -@dangerous +info" in text
    assert "secret" not in text


async def test_the_user_that_the_error_asks_for_is_enough(server: Server) -> None:
    rule = "~bk:* &bk:* +@all -@dangerous +info"
    server.ask("ACL", "SETUSER", "app", "on", ">secret", "resetkeys", "resetchannels", *rule.split())
    app = App(f"redis://app:secret@127.0.0.1:{server.port}")

    @app.task(queue=Queue("work"))
    async def double(number: int) -> int:
        return 2 * number

    async with app, app.worker():
        assert await (await double.send(2)).result(timeout=10) == 4


async def test_a_permission_that_is_taken_away_and_given_back_loses_nothing(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    rule = "~bk:* &bk:* +@all -@dangerous +info"
    server.ask("ACL", "SETUSER", "app", "on", ">secret", "resetkeys", "resetchannels", *rule.split())
    ran = Ran(f"redis://app:secret@127.0.0.1:{server.port}?lease=1")
    async with ran.app, ran.app.worker():
        await ran.heals(0)
        for command in ("evalsha", "xreadgroup"):
            server.ask("ACL", "SETUSER", "app", f"-{command}")
            await asyncio.sleep(0.3)
            before = server.rejected()
            await asyncio.sleep(1.0)
            assert server.rejected() - before < 60, "it was overrun"
            server.ask("ACL", "SETUSER", "app", f"+{command}")
            await ran.heals(len(ran.count), 10)
    assert "does not permit this to the user" in caplog.text


async def test_what_could_not_be_given_back_is_given_back_later(server: Server) -> None:
    rule = "~bk:* &bk:* +@all -@dangerous +info"
    server.ask("ACL", "SETUSER", "app", "on", ">secret", "resetkeys", "resetchannels", *rule.split())
    source, lane = QueueSource("work"), Lane("work", 0)
    async with (
        RedisTransport(server.url) as other,
        RedisTransport(f"redis://app:secret@127.0.0.1:{server.port}") as transport,
    ):
        await other.apply(Topology("app", queues=[Declared("work")]))
        async with transport.consume([source]) as subscription:
            receiving = asyncio.create_task(subscription.receive({lane: 1}))
            async with asyncio.timeout(10):
                while not server.ask("ZCARD", "bk:{work}:work:waiting"):
                    await asyncio.sleep(0.01)
            receiving.cancel()
            server.ask("ACL", "SETUSER", "app", "-evalsha")
            await other.publish([outgoing(1)], deadline=5)
            assert server.held("bk:{work}:work:0") == 1, "it was handed over, and nobody asks for it any more"
            await asyncio.sleep(0.5)
            server.ask("ACL", "SETUSER", "app", "+evalsha")
            async with other.consume([source]) as elsewhere, asyncio.timeout(10):
                assert [each.message.id for each in await elsewhere.receive({lane: 1})] == ["m1"]


async def test_a_replica_is_refused(server: Server, serve: Serve) -> None:
    replica = serve()
    replica.ask("REPLICAOF", "127.0.0.1", server.port)
    with pytest.raises(ConnectFailed, match="is a replica that cannot be written; connect to its primary"):
        async with RedisTransport(replica.url):
            pass


# -- no room --------------------------------------------------------------------------------------------------------


async def test_a_full_server_takes_nothing_more_and_is_drained(server: Server) -> None:
    ran = Ran(f"{server.url}?lease=2")
    async with ran.app:
        for number in range(50):
            await ran.near.send(number)
        server.ask("CONFIG", "SET", "maxmemory", 1)
        with pytest.raises(QueueFull):
            await ran.near.send(50)
        with pytest.raises(StoreError, match="has no memory left"):
            await ran.app.transport.store.put([record(1)])  # type: ignore[attr-defined]
        async with ran.app.worker():
            await ran.until(range(50))
            async with asyncio.timeout(10):
                while server.held("bk:{near}:near:0"):
                    await asyncio.sleep(0.02)
        assert ran.count[50] == 0
        server.ask("CONFIG", "SET", "maxmemory", 0)
        await ran.near.send(51)
