"""PostgreSQL, through asyncpg."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from hashlib import blake2b
from typing import Any

import asyncpg
from sqlalchemy import ARRAY, ColumnElement, Text, any_, cast, literal
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection

from brokerkit.stores.sql.backend import Meaning, Trouble
from brokerkit.stores.sql.options import Target
from brokerkit.stores.sql.rows import Row
from brokerkit.stores.sql.tables import Tables
from brokerkit.stores.sql.tls import NO_TLS, context_of, unreachable
from brokerkit.stores.sql.transaction import transaction

_LARGEST = 64 << 20

_TYPES = {
    "stage": "smallint", "run": "bigint", "attempt": "bigint", "deliveries": "bigint", "created": "float8",
    "expires": "float8", "carries": "smallint", "covers": "smallint", "stamp": "bigint", "body": "bytea",
}  # fmt: skip
"""The columns' types, where it is not text."""

_CLOSED = "closed the connection; see its log for the reason"
_AGAIN = {"40001", "40P01", "55P03"}
_LOST = {"57P01", "57P02", "57P05", "25P03"}
_MISSING = {"42P01", "3F000"}
_TEXTS = {
    "28P01": "refused the user or the password; check both in the store's URL (%40 stands for @ in a password)",
    "28000": "does not let this user in from here; check the user, and the server's pg_hba.conf",
    "3D000": "has no such database; create it, or name another in the store's URL",
    "42501": "does not permit that; grant this user CREATE and USAGE on the schema and the right to read and write its "
    "tables, or let somebody who may create the tables open the store once",
    "53300": "takes no more connections; lower pool_size= or raise its max_connections",
    "53100": "has no room left on its disk; free some space",
    "25006": "takes no writes, it is a read-only replica; name the primary in the store's URL",
    "57P03": "is starting up or shutting down; try again in a moment",
    "57014": "stopped the statement, which took longer than timeout= allows",
    "42P01": "has lost the tables of records while they were in use; open the store again to create them",
    "3F000": "has no such schema",
}
"""By SQLSTATE, see https://www.postgresql.org/docs/current/errcodes-appendix.html."""


class Postgresql:
    """A ``Backend``."""

    dialect = "postgresql+asyncpg"
    begin = "BEGIN ISOLATION LEVEL READ COMMITTED"

    def __init__(self, target: Target) -> None:
        options = target.options
        self._target = target
        self._ssl: Any = None
        self.tables = Tables(options.schema, options.prefix)
        self.largest = _LARGEST
        self._records = self.tables.quoted(self.tables.records, '"')
        self.version_table = self.tables.quoted(self.tables.version, '"')
        self._put = _put_statement(self._records)

    async def connect(self) -> Any:
        target = self._target
        if self._ssl is None:
            context = await asyncio.to_thread(context_of, target.options)
            self._ssl = context or (False if target.options.tls == "off" else "prefer")
        connection = await asyncpg.connect(
            host=target.host,
            port=target.port,
            user=target.user,
            password=target.password,
            database=target.database,
            ssl=self._ssl,
            server_settings={"application_name": "brokerkit"},
        )
        # The server gives up, too: a statement whose client has gone must not wait for a lock for ever and then write.
        milliseconds = max(1, int(target.options.timeout * 1000))
        try:
            await connection.execute(
                f"SET statement_timeout = {milliseconds}; SET idle_in_transaction_session_timeout = {milliseconds}"
            )
        except BaseException:
            connection.terminate()
            raise
        return connection

    def abort(self, connection: Any) -> None:
        connection.terminate()

    def ended(self, connection: Any) -> bool:
        return bool(connection.is_closed())

    def explain(self, error: BaseException) -> Meaning:
        cause = next((each for each in _chain(error) if isinstance(each, asyncpg.PostgresError)), None)
        if cause is None:
            return _explain_client(error)
        state = str(cause.sqlstate or "")
        text = _TEXTS.get(state, f"failed: {cause.args[0] if cause.args else cause} (SQLSTATE {state})")
        if state in _AGAIN or isinstance(cause, asyncpg.exceptions.InvalidCachedStatementError):
            return Meaning(Trouble.AGAIN, text)
        if state in _LOST or state.startswith("08"):
            return Meaning(Trouble.LOST, _CLOSED)
        if state in _MISSING:
            return Meaning(Trouble.MISSING, text)
        return Meaning(Trouble.DATA if state[:2] in {"22", "23", "54"} else Trouble.OTHER, text)

    @asynccontextmanager
    async def schema_lock(self, connection: AsyncConnection, seconds: float) -> AsyncIterator[None]:
        digest = blake2b(f"brokerkit {self._records}".encode(), digest_size=8).digest()
        async with transaction(connection, self.begin):
            # A step on large tables may take longer than the statements of every day.
            await connection.exec_driver_sql(f"SET LOCAL statement_timeout = {int(seconds * 1000)}")
            number = int.from_bytes(digest, "big", signed=True)
            await connection.exec_driver_sql("SELECT pg_advisory_xact_lock($1)", (number,))
            if self.tables.schema is not None:
                await self._create_schema(connection, self.tables.schema)
            yield

    async def _create_schema(self, connection: AsyncConnection, schema: str) -> None:
        # CREATE SCHEMA IF NOT EXISTS asks for the right to create one even when it is there.
        query = "SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = $1"
        if (await connection.exec_driver_sql(query, (schema,))).first() is None:
            await connection.exec_driver_sql(f'CREATE SCHEMA "{schema}"')

    def step(self, version: int) -> Sequence[str]:
        records, prefix = self._records, self.tables.prefix
        texts = ", ".join(f'"{name}" text COLLATE "C" NOT NULL' for name in ("name", "queue", "status"))
        others = ", ".join(f'"{name}" {kind} NOT NULL' for name, kind in _TYPES.items())
        indexes = {
            "name": "(name, created)", "queue": "(queue, created)", "status": "(status, created)",
            "created": "(created)", "expires": "(expires)",
            "labels": "USING gin (labels jsonb_path_ops) WHERE labels IS NOT NULL",
        }  # fmt: skip
        first = [
            f'CREATE TABLE IF NOT EXISTS {records} (id text COLLATE "C" PRIMARY KEY, {texts}, {others}, labels jsonb)',
            *(
                f'CREATE INDEX IF NOT EXISTS "{prefix}records_{name}" ON {records} {what}'
                for name, what in indexes.items()
            ),
        ]
        return (first,)[version]

    async def put(self, connection: AsyncConnection, rows: Sequence[Row], now: float, force: bool) -> set[str]:
        columns = [list(column) for column in zip(*rows, strict=True)]
        written = await connection.exec_driver_sql(self._put, (*columns, now, force))
        return set(written.scalars())

    def among(self, column: ColumnElement[Any], values: Sequence[str]) -> ColumnElement[bool]:
        return column == any_(cast(literal(list(values), ARRAY(Text)), ARRAY(Text)))

    def labelled(self, tokens: str) -> ColumnElement[bool]:
        wanted = cast(literal(tokens, Text), JSONB)
        return self.tables.records.c.labels.op("@>", is_comparison=True)(wanted)


def _put_statement(records: str) -> str:
    """The parameters are the columns, each an array, then the time, then whether to write without asking."""
    names = ", ".join(Row._fields)
    arrays = ", ".join(f"${number}::{_TYPES.get(name, 'text')}[]" for number, name in enumerate(Row._fields, 1))
    values = ", ".join("labels::jsonb" if name == "labels" else name for name in Row._fields)
    changes = ", ".join(f"{name} = excluded.{name}" for name in Row._fields if name != "id")
    now, force = (f"${len(Row._fields) + number}" for number in (1, 2))
    return f"""
INSERT INTO {records} AS old ({names})
SELECT {values} FROM unnest({arrays}) AS new ({names})
ON CONFLICT (id) DO UPDATE SET {changes}
WHERE {force}::boolean OR old.expires <= {now}::float8 OR (
    (excluded.run > old.run OR (
        excluded.run = old.run AND old.stage < 2
        AND (excluded.attempt, excluded.deliveries, excluded.stage) >= (old.attempt, old.deliveries, old.stage)
        AND (old.carries & ~excluded.covers) = 0))
    AND (old.created = excluded.created OR old.created = 0)
    AND (old.labels IS NULL OR old.labels <@ excluded.labels))
RETURNING id"""


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """The error and what it was made of: SQLAlchemy wraps what the driver raised."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or getattr(error, "orig", None)


def _explain_client(error: BaseException) -> Meaning:
    """What the driver found out by itself."""
    for each in _chain(error):
        if isinstance(each, asyncpg.exceptions.DataError):
            return Meaning(Trouble.DATA, "cannot take one of the values")
        if isinstance(each, asyncpg.InternalClientError):
            # Used between the server's farewell, which the driver has read, and the end of the connection.
            return Meaning(Trouble.LOST, _CLOSED)
        if isinstance(each, asyncpg.InterfaceError):
            lost = "closed" in str(each) or "connection" in str(each)
            return Meaning(Trouble.LOST if lost else Trouble.OTHER, f"failed: {each}")
        if isinstance(each, OSError):
            return Meaning(Trouble.LOST, NO_TLS if "rejected SSL" in str(each) else unreachable(each))
    return Meaning(Trouble.OTHER, f"failed: {type(error).__name__}")
