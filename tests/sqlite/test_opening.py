"""Files that cannot be used: one clear error each, with the path and the fix."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from brokerkit.errors import ConnectFailed, ConnectionLost, StoreError, TransportError
from brokerkit.stores.sqlite import SqliteStore
from brokerkit.transports.sqlite import SqliteTransport
from tests.sqlite.making import drained, opened, outgoing, send


async def refusal(path: Path) -> str:
    with pytest.raises(ConnectFailed) as raised:
        await SqliteTransport(path).__aenter__()
    text = str(raised.value)
    assert "\n" not in text
    assert str(path) in text or str(path.parent) in text
    return text


async def test_a_file_that_is_not_sqlite_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("hello world, this is not a database\n" * 100)
    assert "is not an SQLite database" in await refusal(path)
    assert path.read_text().startswith("hello"), "it is left as it was"


async def test_another_programs_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE t (a)")
    connection.close()
    assert "another program" in await refusal(path)


async def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "broker.db"
    async with opened(path):
        pass
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    assert "upgrade brokerkit" in await refusal(path)


async def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "broker.db"
    async with opened(path) as transport:
        await send(transport, 500, body=b"x" * 500)
    with path.open("r+b") as file:
        file.seek(100)
        file.write(b"\xff" * 8000)
    assert "is damaged" in await refusal(path)


async def test_a_directory_is_refused(tmp_path: Path) -> None:
    assert "is a directory" in await refusal(tmp_path)


async def test_a_file_in_a_missing_directory_is_refused(tmp_path: Path) -> None:
    assert "create it first" in await refusal(tmp_path / "nowhere" / "broker.db")


async def test_memory_is_another_transport() -> None:
    with pytest.raises(ConnectFailed, match="memory://"):
        await SqliteTransport(":memory:").__aenter__()


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everything")
async def test_a_read_only_directory_is_refused(tmp_path: Path) -> None:
    place = tmp_path / "locked"
    place.mkdir()
    place.chmod(0o500)
    assert "cannot be written" in await refusal(place / "broker.db")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everything")
async def test_a_read_only_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "broker.db"
    async with opened(path):
        pass
    path.chmod(0o400)
    assert "cannot be written" in await refusal(path)


async def test_a_store_says_the_same_as_a_store_error(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="is a directory"):
        await SqliteStore(tmp_path).__aenter__()


async def test_only_the_owner_may_read_the_file_and_its_sockets(tmp_path: Path) -> None:
    path = tmp_path / "broker.db"
    async with opened(path) as transport:
        await send(transport, 1)
        for each in tmp_path.iterdir():
            assert stat.S_IMODE(each.stat().st_mode) & 0o077 == 0, each
    assert [each.name for each in tmp_path.iterdir()] == ["broker.db"], "nothing is left beside it"


async def test_a_long_path_gets_its_sockets_elsewhere(tmp_path: Path) -> None:
    place = tmp_path / ("d" * 120)
    place.mkdir()
    async with opened(place / "broker.db") as transport:
        await send(transport, 1)
        assert len(await drained(transport, 1)) == 1


async def test_it_can_be_opened_again_after_closing(tmp_path: Path) -> None:
    transport = SqliteTransport(tmp_path / "broker.db")
    for _ in range(3):
        async with transport:
            await transport.present()
    await transport.__aexit__()
    with pytest.raises(ConnectionLost, match="is not open"):
        await transport.publish([outgoing("m")], deadline=1)


async def test_two_transports_create_one_file_at_the_same_time(tmp_path: Path) -> None:
    transports = [SqliteTransport(tmp_path / "broker.db") for _ in range(6)]
    await asyncio.gather(*(each.__aenter__() for each in transports))
    await asyncio.gather(*(each.__aexit__() for each in transports))


async def test_a_forked_child_is_refused(tmp_path: Path) -> None:
    async with opened(tmp_path / "broker.db") as transport:
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                coroutine = transport.present()
                coroutine.send(None)
            except TransportError as error:
                os.write(writing, str(error).encode())
            finally:
                os._exit(0)
        os.close(writing)
        os.waitpid(pid, 0)
        with os.fdopen(reading) as pipe:
            assert "before this process was forked" in pipe.read()


def test_a_process_that_does_not_close_ends_all_the_same(tmp_path: Path) -> None:
    program = f"""
import asyncio
from brokerkit.transports.sqlite import SqliteTransport
async def main():
    await SqliteTransport({str(tmp_path / "broker.db")!r}).__aenter__()
asyncio.run(main())
print("ended")
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=20, check=True)
    assert ended.stdout == "ended\n"
