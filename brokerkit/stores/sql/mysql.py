"""MariaDB and MySQL, through aiomysql."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from hashlib import blake2b
from typing import Any

import aiomysql
from sqlalchemy import ColumnElement, Text, func, literal
from sqlalchemy.ext.asyncio import AsyncConnection

from brokerkit.errors import StoreError
from brokerkit.stores.sql.backend import Meaning, Trouble
from brokerkit.stores.sql.options import Target
from brokerkit.stores.sql.rows import LONGEST_KEY, Row
from brokerkit.stores.sql.tables import Tables
from brokerkit.stores.sql.tls import NO_TLS, context_of, unreachable
from brokerkit.stores.sql.transaction import transaction

_ROOM = 64 << 10
"""Bytes of a statement that are not a record's body."""

_SQL_MODE = "STRICT_TRANS_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION"
"""Nothing is cut off in silence, and backslashes mean what the driver takes them for."""

_TYPES = {
    "id": f"VARBINARY({LONGEST_KEY})", "name": f"VARBINARY({LONGEST_KEY})", "queue": f"VARBINARY({LONGEST_KEY})",
    "status": "VARBINARY(16)", "stage": "SMALLINT", "run": "BIGINT", "attempt": "BIGINT", "deliveries": "BIGINT",
    "created": "DOUBLE", "expires": "DOUBLE", "carries": "SMALLINT", "covers": "SMALLINT", "stamp": "BIGINT",
    "body": "LONGBLOB",
}  # fmt: skip
"""The columns' types; ``labels`` may be NULL."""

_AGAIN = {1205, 1213}
_LOST = {1053, 1080, 1152, 1158, 1159, 1160, 1161, 1927, 2003, 2006, 2013, 2014, 2055, 4031}
_MISSING = {1146}
_DATA = {1153, 1264, 1292, 1366, 1367, 1406, 3140, 3819, 4025}
_TEXTS = {
    1045: "refused the user or the password; check both in the store's URL (%40 stands for @ in a password)",
    1698: "refused the user or the password; check both in the store's URL (%40 stands for @ in a password)",
    1044: "does not let this user into the database, or has none of that name; grant the right, or name another",
    1049: "has no such database; create it, or name another in the store's URL",
    1130: "does not let anybody in from this host; grant the user access from here",
    1142: "does not permit that; grant this user CREATE, SELECT, INSERT, UPDATE and DELETE on the database, or let "
    "somebody who may create the tables open the store once",
    1040: "takes no more connections; lower pool_size= or raise its max_connections",
    1203: "takes no more connections of this user; lower pool_size=",
    1226: "takes no more connections of this user; lower pool_size=",
    1021: "has no room left on its disk; free some space",
    1114: "has no room left on its disk; free some space",
    1290: "takes no writes, it is read-only; name the primary in the store's URL",
    1836: "takes no writes, it is read-only; name the primary in the store's URL",
    1146: "has lost the tables of records while they were in use; open the store again to create them",
    1153: "takes no statement of this size; raise its max_allowed_packet",
    1969: "stopped the statement, which took longer than timeout= allows",
    2026: NO_TLS,
    1205: "waited too long for another transaction that has locked the records",
}
"""By number, see https://mariadb.com/kb/en/mariadb-error-code-reference/."""


_TLS = 0x800
"""What a server that can encrypt says so with, https://mariadb.com/kb/en/connection/#capabilities."""


class _Connection(aiomysql.Connection):  # type: ignore[misc]
    """Refuses a server without TLS before the password is sent. aiomysql would go on unencrypted."""

    async def _request_authentication(self) -> None:
        if self._ssl_context and not self.server_capabilities & _TLS:
            raise aiomysql.OperationalError(2026, "no TLS")
        await super()._request_authentication()


class Mysql:
    """A ``Backend``."""

    dialect = "mysql+aiomysql"
    begin = "START TRANSACTION"  # at READ COMMITTED, see ``connect``

    def __init__(self, target: Target) -> None:
        self._target = target
        self._ssl: Any = None
        self.tables = Tables(None, target.options.prefix)
        self.largest = 0
        self.returning = False
        self._maria = False
        self._records = self.tables.quoted(self.tables.records, "`")
        self.version_table = self.tables.quoted(self.tables.version, "`")

    async def connect(self) -> Any:
        target = self._target
        if self._ssl is None:
            self._ssl = await asyncio.to_thread(context_of, target.options) or False
        connection = _Connection(
            host=target.host,
            port=target.port,
            user=target.user,
            password=target.password or "",
            db=target.database,
            ssl=self._ssl or None,
            charset="utf8mb4",
            autocommit=True,
            program_name="brokerkit",
        )
        await connection._connect()
        try:
            await self._prepare(connection)
        except BaseException:
            self.abort(connection)
            raise
        return connection

    async def _prepare(self, connection: Any) -> None:
        seconds = self._target.options.timeout
        self._maria = maria = "mariadb" in connection.get_server_info().lower()
        async with connection.cursor() as cursor:
            await cursor.execute("SET SESSION sql_mode = %s", (_SQL_MODE,))
            await cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
            # The server gives up, too: a statement whose client has gone must not wait for a lock and then write.
            await cursor.execute("SET SESSION innodb_lock_wait_timeout = %s", (max(1, int(seconds)),))
            if maria:
                await cursor.execute("SET SESSION max_statement_time = %s", (seconds,))
                await cursor.execute("SET SESSION idle_transaction_timeout = %s", (max(1, int(seconds)),))
            await cursor.execute("SELECT @@max_allowed_packet, VERSION()")
            packet, version = await cursor.fetchone()
        # https://mariadb.com/kb/en/insertreturning/: since 10.5. MySQL has nothing of the kind.
        numbers = version.partition("-")[0].split(".")
        self.returning = maria and [int(part) for part in numbers[:2]] >= [10, 5]
        self.largest = max(1, (int(packet) - _ROOM) // 2)  # as hexadecimal digits

    def abort(self, connection: Any) -> None:
        # Its own close() first waits until all is sent. A stopped server never reads it.
        writer = connection._writer
        if writer is not None:
            writer.transport.abort()

    def ended(self, connection: Any) -> bool:
        writer = connection._writer
        return writer is None or bool(writer.transport.is_closing())

    def explain(self, error: BaseException) -> Meaning:
        cause = getattr(error, "orig", None) or error
        if not isinstance(cause, aiomysql.Error):
            if isinstance(cause, OSError):
                return Meaning(Trouble.LOST, unreachable(cause))
            return Meaning(Trouble.OTHER, f"failed: {type(cause).__name__}")
        number = cause.args[0] if cause.args and isinstance(cause.args[0], int) else 0
        text = _TEXTS.get(number, f"failed: {cause.args[-1] if cause.args else cause} (error {number})")
        if number == 2003:
            text = unreachable(cause.__cause__ or cause)
        if number in _AGAIN:
            return Meaning(Trouble.AGAIN, text)
        # Without a number the driver itself complains: it does not understand what came, such as a server's farewell.
        if number in _LOST or (not number and isinstance(cause, aiomysql.InterfaceError | aiomysql.InternalError)):
            return Meaning(
                Trouble.LOST, text if number == 2003 else "closed the connection; see its log for the reason"
            )
        if number in _MISSING:
            return Meaning(Trouble.MISSING, text)
        return Meaning(
            Trouble.DATA if number in _DATA or isinstance(cause, aiomysql.DataError) else Trouble.OTHER, text
        )

    @asynccontextmanager
    async def schema_lock(self, connection: AsyncConnection, seconds: float) -> AsyncIterator[None]:
        name = "brokerkit " + blake2b(f"{self._target.database} {self._records}".encode(), digest_size=16).hexdigest()
        if self._maria:  # a step on large tables may take longer than the statements of every day
            await connection.exec_driver_sql("SET SESSION max_statement_time = %s", (seconds,))
        got = (await connection.exec_driver_sql("SELECT GET_LOCK(%s, %s)", (name, seconds))).scalar()
        if got != 1:
            raise StoreError(
                f"{self._target}: another process has been creating the tables for {seconds:g} s; try again"
            )
        try:
            yield
        except BaseException:  # the lock is the connection's, and goes with it
            if not connection.invalidated:
                await connection.invalidate()
            raise
        await connection.exec_driver_sql("SELECT RELEASE_LOCK(%s)", (name,))
        if self._maria:
            await connection.exec_driver_sql("SET SESSION max_statement_time = %s", (self._target.options.timeout,))

    def step(self, version: int) -> Sequence[str]:
        columns = ", ".join(f"`{name}` {kind} NOT NULL" for name, kind in _TYPES.items())
        keys = {
            "name": "name, created", "queue": "queue, created", "status": "status, created",
            "created": "created", "expires": "expires",
        }  # fmt: skip
        indexes = ", ".join(f"KEY `records_{name}` ({what})" for name, what in keys.items())
        # Neither has an index for labels that both know: they are compared among what the other conditions leave.
        first = (
            f"CREATE TABLE IF NOT EXISTS {self._records} ({columns}, `labels` JSON NULL, PRIMARY KEY (id), {indexes}) "
            "ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4"
        )
        return ([first],)[version]

    async def put(self, connection: AsyncConnection, rows: Sequence[Row], now: float, force: bool) -> set[str]:
        values = (*(value for row in rows for value in (*row[:-1], row.body.hex())), force, now)
        if self.returning:
            statement = _put_statement(self._records, len(rows)) + " RETURNING id, stamp"
            found = await connection.exec_driver_sql(statement, values)
        else:  # a transaction keeps others from replacing what was written before it is read
            async with transaction(connection, self.begin):
                await connection.exec_driver_sql(_put_statement(self._records, len(rows)), values)
                keys = [row.id for row in rows]
                marks = ", ".join(["%s"] * len(keys))
                query = f"SELECT id, stamp FROM {self._records} WHERE id IN ({marks})"
                found = await connection.exec_driver_sql(query, tuple(keys))
        stamps = {each.id: each.stamp for each in found}
        return {row.id for row in rows if stamps.get(row.id.encode()) == row.stamp}

    def among(self, column: ColumnElement[Any], values: Sequence[str]) -> ColumnElement[bool]:
        return column.in_(values)

    def labelled(self, tokens: str) -> ColumnElement[bool]:
        return func.json_contains(self.tables.records.c.labels, literal(tokens, Text)) == 1


def _put_statement(records: str, count: int) -> str:
    """The parameters are the rows, then whether to write without asking, then the time.

    Assignments are made from left to right and see what those before them have assigned: the first one decides and
    takes the new stamp, the others follow where the stamp is the new one.
    """
    names = ", ".join(f"`{name}`" for name in Row._fields)
    # The body travels as digits: PyMySQL 1.2 has dropped what aiomysql calls to write bytes.
    row = "(" + ", ".join("UNHEX(%s)" if name == "body" else "%s" for name in Row._fields) + ")"
    rest = (name for name in Row._fields if name not in {"id", "stamp"})
    followers = ", ".join(f"`{name}` = IF(stamp = VALUES(stamp), VALUES(`{name}`), `{name}`)" for name in rest)
    return f"""
INSERT INTO {records} ({names}) VALUES {", ".join([row] * count)}
ON DUPLICATE KEY UPDATE stamp = IF(%s OR expires <= %s OR (
    (VALUES(run) > run OR (
        VALUES(run) = run AND stage < 2
        AND (VALUES(attempt), VALUES(deliveries), VALUES(stage)) >= (attempt, deliveries, stage)
        AND (carries & ~VALUES(covers)) = 0))
    AND (created = VALUES(created) OR created = 0)
    AND (labels IS NULL OR JSON_CONTAINS(VALUES(labels), labels))), VALUES(stamp), stamp), {followers}"""
