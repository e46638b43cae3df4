"""Opening a store: its URL, the way to the server, and the tables that are there or not."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import struct
import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import pytest

from brokerkit import App, ConfigurationError
from brokerkit.errors import StoreError
from brokerkit.records import TaskStatus
from brokerkit.store import Put, RecordFilter
from brokerkit.stores.sql import SqlStore
from tests.sql.making import Place, record, store

SECRET = "s3cret-canary"


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("postgresql://me@host", "needs a user and a database"),
        ("postgresql://host/db", "needs a user and a database"),
        ("mysql://me@host/a/b", "needs a user and a database"),
        ("postgresql://me@host:port/db", "cannot be read"),
        ("postgresql://me:s3cret-canary@[host/db", "cannot be read"),
        (
            "postgresql://me@host/db?sslpassword=s3cret-canary",
            "does not know sslpassword; its options are schema, prefix",
        ),
        ("postgresql://me@host/db?pool_size=many", "pool_size"),
        ("postgresql://me@host/db?pool_size=0", "pool_size=0: 1 to 100"),
        ("postgresql://me@host/db?timeout=0", "timeout=0.0: seconds, more than 0"),
        ("postgresql://me@host/db?connect_timeout=nan", "connect_timeout=nan: seconds"),
        ("postgresql://me@host/db?schema=a%22b", "schema='a\"b': letters, digits"),
        ("postgresql://me@host/db?prefix=x%3BDROP", "prefix='x;DROP': letters, digits"),
        ("postgresql://me@host/db?prefix=", "prefix='': letters, digits"),
        (f"mariadb://me@host/db?prefix={'x' * 41}", "at most 40 characters"),
        ("mysql://me@host/db?schema=mine", "takes no schema: name another database"),
        ("mysql://me@host/db?tls=prefer", "cannot prefer TLS"),
        ("postgresql://me@host/db?tls=maybe", "tls"),
        ("postgresql://me@host/db?cafile=x", "only read with tls=verify"),
    ],
)
def test_a_wrong_url_is_refused_with_what_is_wrong(url: str, complaint: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        App("memory://", store=url)._backing.chosen_store()
    assert complaint in str(raised.value)
    assert SECRET not in str(raised.value)


@asynccontextmanager
async def fake(first: bytes, then: bytes, heard: list[bytes] | None = None) -> AsyncIterator[int]:
    """A server that says ``first``, and ``then`` once something was said to it, which it puts into ``heard``."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(first)
        while said := await reader.read(4096):
            if heard is not None:
                heard.append(said)
            writer.write(then)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]
        server.close()
        await asyncio.sleep(0.01)


def refusal(state: str) -> bytes:
    """PostgreSQL's ErrorResponse."""
    fields = f"SFATAL\0VFATAL\0C{state}\0Mno\0\0".encode()
    return b"E" + struct.pack("!i", len(fields) + 4) + fields


@pytest.mark.parametrize(
    ("state", "complaint"),
    [
        ("28P01", "refused the user or the password; check both"),
        ("3D000", "has no such database; create it"),
        ("53300", "takes no more connections; lower pool_size="),
        ("57P03", "is starting up or shutting down"),
    ],
)
async def test_postgresqls_refusals_say_what_to_do(state: str, complaint: str) -> None:
    async with fake(b"", refusal(state)) as port:
        kept = SqlStore(f"postgresql://me:{SECRET}@127.0.0.1:{port}/db?tls=off")
        await refused(kept, complaint)


def greeting() -> bytes:
    """MariaDB's first packet, from a server that cannot encrypt (0x0800 is missing from its capabilities)."""
    capabilities = 0x81BFF7FF
    body = b"\x0a10.11.0-MariaDB\0" + struct.pack("<I", 1) + b"saltsalt\0" + struct.pack("<H", capabilities & 0xFFFF)
    body += b"\x2d" + struct.pack("<HH", 2, capabilities >> 16) + b"\x15" + bytes(10)
    body += b"saltsaltsalt\0mysql_native_password\0"
    return struct.pack("<I", len(body)) + body


@pytest.mark.parametrize(
    ("scheme", "first", "then", "said"),
    [("postgresql", b"", b"N", [struct.pack("!ii", 8, 80877103)]), ("mysql", greeting(), b"", [])],
)
@pytest.mark.parametrize("tls", ["require", "verify"])
async def test_without_the_tls_that_was_asked_for_no_password_is_sent(
    scheme: str, first: bytes, then: bytes, said: list[bytes], tls: str
) -> None:
    heard: list[bytes] = []
    async with fake(first, then, heard) as port:
        await refused(SqlStore(f"{scheme}://me:{SECRET}@127.0.0.1:{port}/db?tls={tls}"), "offers no TLS, which tls=")
    assert heard == said


async def test_a_file_of_authorities_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigurationError, match="cafile=/nowhere cannot be read"):
        await SqlStore(f"postgresql://me:{SECRET}@127.0.0.1:1/db?tls=verify&cafile=/nowhere").__aenter__()


@pytest.mark.parametrize("scheme", ["postgresql", "mysql"])
async def test_a_server_that_says_nothing_is_given_up(scheme: str) -> None:
    async with fake(b"", b"") as port:
        await refused(SqlStore(f"{scheme}://me:{SECRET}@127.0.0.1:{port}/db?connect_timeout=0.2"), "within 0.2 s")


@pytest.mark.parametrize("scheme", ["postgresql", "mysql", "mariadb"])
async def test_nobody_there_is_said_with_the_address(scheme: str) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        await refused(SqlStore(f"{scheme}://me:{SECRET}@127.0.0.1:{port}/db"), f"127.0.0.1:{port}/db cannot be reached")


@pytest.mark.broker
async def test_a_missing_database_is_named(place: Place) -> None:
    parts = urlsplit(place.server)
    await refused(SqlStore(parts._replace(path="/nowhere_at_all").geturl()), "/nowhere_at_all has no such database")


@asynccontextmanager
async def user(place: Place, *grants: str) -> AsyncIterator[str]:
    """A user of the server who may do little."""
    name = f"bk_{os.urandom(4).hex()}"
    if place.postgresql:
        await place.run(f"CREATE ROLE {name} LOGIN PASSWORD '{SECRET}'")
        await place.run(f"GRANT USAGE ON SCHEMA {place.name} TO {name}")
    else:
        await place.run(f"CREATE USER {name}@'%' IDENTIFIED BY '{SECRET}'")
        await place.run(f"CREATE USER {name}@'127.0.0.1' IDENTIFIED BY '{SECRET}'")
    who = [name] if place.postgresql else [f"{name}@'%'", f"{name}@'127.0.0.1'"]
    try:
        for grant in grants:
            for each in who:
                await place.run(f"GRANT {grant} TO {each}")
        yield name
    finally:
        if place.postgresql:
            await place.run(f"DROP OWNED BY {name}")
        for each in who:
            await place.run(f"DROP {'ROLE' if place.postgresql else 'USER'} {each}")


def as_user(url: str, name: str, password: str = SECRET) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=f"{name}:{password}@{parts.netloc.rpartition('@')[2]}").geturl()


@pytest.mark.broker
async def test_who_may_not_create_tables_is_told_what_to_grant(place: Place) -> None:
    grants = [] if place.postgresql else [f"SELECT ON {place.name}.*"]
    async with user(place, *grants) as name:
        kept = SqlStore(as_user(place.url(place.prefix()), name))
        await refused(kept, "does not permit that; grant this user CREATE")


@pytest.mark.broker
async def test_who_may_not_create_tables_uses_those_that_are_there(place: Place) -> None:
    prefix = place.prefix()
    async with store(place, prefix):
        pass
    tables = [place.table(prefix), place.table(prefix, "schema_version")]
    grants = (f"SELECT, INSERT, UPDATE, DELETE ON {table}" for table in tables)
    async with user(place, *grants) as name, SqlStore(as_user(place.url(prefix), name)) as kept:
        assert list(await kept.put([record("t-1")])) == [Put.STORED]
        await kept.put([record("t-1", status=TaskStatus.SUCCESS, metadata={"a": 1})])
        assert await kept.delete(["t-1"]) == 1


@pytest.mark.broker
async def test_a_wrong_password_is_never_shown(place: Place) -> None:
    if place.postgresql:
        pytest.skip("this server may trust everybody; see the fake one")
    async with user(place) as name:
        await refused(
            SqlStore(as_user(place.url(place.prefix()), name, f"{SECRET}x")), "refused the user or the password"
        )


async def refused(kept: SqlStore, complaint: str) -> None:
    """Opening it fails with this complaint, and shows no password anywhere."""
    records: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: records.append(record.getMessage())  # type: ignore[method-assign]
    root, level = logging.getLogger(), logging.getLogger().level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        with pytest.raises(StoreError) as raised:
            await kept.__aenter__()
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
    assert complaint in str(raised.value), str(raised.value)
    seen = "\n".join([*traceback.format_exception(raised.value), *records, repr(kept), repr(kept._database.target)])
    assert SECRET not in seen


@pytest.mark.broker
async def test_a_newer_schema_is_refused_and_left_alone(place: Place) -> None:
    prefix = place.prefix()
    async with store(place, prefix) as kept:
        await kept.put([record("t-1")])
    version = place.table(prefix, "schema_version")
    await place.run(f"UPDATE {version} SET version = 99")
    await refused(store(place, prefix), "schema version 99, and this brokerkit knows 1: upgrade brokerkit")
    assert await place.run(f"SELECT version FROM {version}") == [(99,)]
    assert len(await place.run(f"SELECT id FROM {place.table(prefix)}")) == 1


@pytest.mark.broker
async def test_many_stores_that_open_at_once_make_one_schema(place: Place) -> None:
    for _ in range(3):
        prefix = place.prefix()
        stores = [store(place, prefix, pool_size=1) for _ in range(8)]
        await asyncio.gather(*(each.__aenter__() for each in stores))
        try:
            answers = await asyncio.gather(*(each.put([record(f"t-{n}")]) for n, each in enumerate(stores)))
            assert answers == [[Put.STORED]] * 8
            assert await place.run(f"SELECT version FROM {place.table(prefix, 'schema_version')}") == [(1,)]
        finally:
            for each in stores:
                await each.__aexit__(None, None, None)


@pytest.mark.broker
async def test_an_interrupted_creation_is_completed(place: Place) -> None:
    prefix = place.prefix()
    async with store(place, prefix) as kept:
        await kept.put([record("t-1")])
    await place.run(f"DROP TABLE {place.table(prefix, 'schema_version')}")
    async with store(place, prefix) as kept:
        assert [each is not None for each in await kept.get(["t-1"])] == [True]
    assert await place.run(f"SELECT version FROM {place.table(prefix, 'schema_version')}") == [(1,)]


@pytest.mark.broker
async def test_a_schema_that_is_missing_is_created(place: Place) -> None:
    if not place.postgresql:
        pytest.skip("MariaDB's databases are its schemas")
    schema = f"{place.name}_more"
    url = place.url("bk_").replace(f"schema={place.name}", f"schema={schema}")
    try:
        async with SqlStore(url) as kept:
            await kept.put([record("t-1")])
        assert len(await place.run(f"SELECT id FROM {schema}.bk_records")) == 1
    finally:
        await place.run(f"DROP SCHEMA IF EXISTS {schema} CASCADE")


@pytest.mark.broker
async def test_tables_that_vanish_while_they_are_used_are_said_to_be_lost(place: Place) -> None:
    prefix = place.prefix()
    async with store(place, prefix) as kept:
        await place.run(f"DROP TABLE {place.table(prefix)}")
        with pytest.raises(StoreError, match="has lost the tables of records"):
            await kept.put([record("t-1")])


@pytest.mark.broker
async def test_it_cannot_be_used_before_it_is_entered_nor_after_it_was_left(place: Place) -> None:
    kept = store(place)
    with pytest.raises(StoreError, match="async with"):
        await kept.get(["t-1"])
    async with kept:
        assert list(await kept.get(["t-1"])) == [None]
    with pytest.raises(StoreError, match="async with"):
        await kept.put([record("t-1")])


@pytest.mark.broker
async def test_leaving_closes_every_connection(place: Place) -> None:
    prefix = place.prefix()
    async with store(place, prefix) as kept:
        await asyncio.gather(*(kept.put([record(f"t-{number}", status=TaskStatus.SUCCESS)]) for number in range(8)))
        assert 1 < await place.connected(prefix) <= 5
    while await place.connected(prefix):  # the server notices a little later
        await asyncio.sleep(0.02)


@pytest.mark.broker
async def test_every_scheme_and_prefix_keeps_records_of_its_own(place: Place) -> None:
    one, two = place.prefix(), place.prefix()
    url = place.url(one).replace("mysql://", "mariadb://")
    async with SqlStore(url) as first, store(place, two) as second:
        await first.put([record("t-1")])
        assert [len(await kept.find(RecordFilter())) for kept in (first, second)] == [1, 0]
