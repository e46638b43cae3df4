"""A schema or database of our own on the servers that the tests use, and records to try it with."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import count
from typing import Any
from urllib.parse import urlencode, urlsplit

import aiomysql
import asyncpg

from brokerkit.records import TaskRecord, TaskStatus
from brokerkit.stores.sql import SqlStore
from tests.brokers import broker_url

_numbers = count(1)


class Place:
    """Where stores of one run live: a schema of a PostgreSQL database, or a MariaDB database.

    Args:
        edition: As in ``tests.brokers``.
        url: The server's, with a database that exists. Default the edition's.
    """

    def __init__(self, edition: str, url: str = "") -> None:
        self.edition = edition
        self.server = url or broker_url(edition)
        self.name = f"brokerkit_test_{os.getpid()}_{os.urandom(4).hex()}"

    @property
    def postgresql(self) -> bool:
        return self.edition == "postgresql"

    def prefix(self) -> str:
        """A prefix nobody else uses: tables of one's own."""
        return f"t{next(_numbers)}_"

    def url(self, prefix: str, **options: Any) -> str:
        """The URL of a store."""
        parts = urlsplit(self.server)
        if self.postgresql:
            options["schema"] = self.name
        else:
            parts = parts._replace(path=f"/{self.name}")
        return parts._replace(query=urlencode({"prefix": prefix, **options})).geturl()

    def table(self, prefix: str, table: str = "records") -> str:
        """Its name in a statement."""
        return f"{self.name}.{prefix}{table}"

    async def run(self, statement: str, *, user: str = "", password: str = "") -> list[tuple[Any, ...]]:
        """Run a statement on the server, as its own user unless another is named."""
        parts = urlsplit(self.server)
        host, database = parts.hostname or "127.0.0.1", parts.path.removeprefix("/")
        user, password = user or parts.username or "", password or parts.password or ""
        if self.postgresql:
            connection = await asyncpg.connect(
                host=host, port=parts.port or 5432, user=user, password=password or None, database=database, ssl=False
            )
            try:
                return [tuple(row) for row in await connection.fetch(statement)]
            finally:
                await connection.close()
        connection = await aiomysql.connect(
            host=host, port=parts.port or 3306, user=user, password=password, db=database, autocommit=True
        )
        try:
            async with connection.cursor() as cursor:
                await cursor.execute(statement)
                return list(await cursor.fetchall()) if cursor.description else []
        finally:
            await connection.ensure_closed()

    def make(self) -> None:
        """Create it; outside an event loop."""
        asyncio.run(self._make())

    async def _make(self) -> None:
        await self.run(f"CREATE {'SCHEMA' if self.postgresql else 'DATABASE'} {self.name}")

    def drop(self) -> None:
        """Drop it with all that is in it."""
        statement = f"DROP SCHEMA {self.name} CASCADE" if self.postgresql else f"DROP DATABASE {self.name}"
        asyncio.run(self.run(statement))

    async def waiting(self, prefix: str) -> int:
        """How many statements of stores are being executed on the tables of this prefix."""
        if self.postgresql:
            ours = f"state = 'active' AND pid <> pg_backend_pid() AND query LIKE '%{self.name}%{prefix}records%'"
            query = f"pg_stat_activity WHERE {ours}"
        else:
            query = f"information_schema.processlist WHERE db = '{self.name}' AND info LIKE '%{prefix}records%'"
        [(found,)] = await self.run(f"SELECT count(*) FROM {query}")
        return int(found)

    async def connected(self, prefix: str) -> int:
        """How many connections stores have, that have last worked on the tables of this prefix."""
        return len(await self._connections(prefix))

    async def disconnect(self, prefix: str) -> int:
        """End those connections; returns how many there were."""
        found = await self._connections(prefix)
        for each in found:
            await self.run(f"SELECT pg_terminate_backend({each})" if self.postgresql else f"KILL CONNECTION {each}")
        return len(found)

    async def _connections(self, prefix: str) -> list[int]:
        if self.postgresql:
            where = f"application_name = 'brokerkit' AND query LIKE '%{self.name}%{prefix}records%'"
            query = f"SELECT pid FROM pg_stat_activity WHERE {where} AND pid <> pg_backend_pid()"
        else:  # it does not tell what an idle connection has done, but tests do not run side by side in one database
            query = f"SELECT id FROM information_schema.processlist WHERE db = '{self.name}'"
        return [number for (number,) in await self.run(query)]


@asynccontextmanager
async def locked(place: Place, statement: str) -> AsyncIterator[Callable[[], Any]]:
    """A transaction of somebody else that has run a statement and holds its locks."""
    parts = urlsplit(place.server)
    host, database = parts.hostname or "127.0.0.1", parts.path.removeprefix("/")
    connection: Any
    if place.postgresql:
        connection = await asyncpg.connect(
            host=host, port=parts.port or 5432, user=parts.username, password=parts.password, database=database
        )
        run = connection.execute
    else:
        connection = await aiomysql.connect(
            host=host, port=parts.port or 3306, user=parts.username, password=parts.password or "", db=database
        )
        run = connection.query
    try:
        await run("BEGIN")
        await run(statement)
        yield lambda: run("ROLLBACK")
    finally:
        connection.terminate() if place.postgresql else connection.close()


def record(task_id: str, **fields: Any) -> TaskRecord:
    """A report, of a running task unless the fields say otherwise."""
    plain = {"name": "charge", "queue": "payments", "status": TaskStatus.RUNNING, "deliveries": 1, "created": 1.5}
    return TaskRecord(**{"id": task_id, **plain, **fields})


def store(place: Place, prefix: str = "", **options: Any) -> SqlStore:
    """A store in tables of its own, or in those of a prefix."""
    return SqlStore(place.url(prefix or place.prefix(), **options))
