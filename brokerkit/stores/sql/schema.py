"""Creating the tables, and bringing older ones up to date."""

from __future__ import annotations

from sqlalchemy import delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from brokerkit.errors import StoreError
from brokerkit.stores.sql.backend import Missing
from brokerkit.stores.sql.database import Database
from brokerkit.stores.sql.tables import VERSION

_LONGEST = 60.0
"""Seconds that creating the tables may take, waiting for another process that does so included."""


async def prepare(database: Database) -> None:
    """Make the tables those of this version. Any number of processes may do so at once.

    Nothing is written when they already are, so a user without the right to create tables can use them.

    Raises:
        StoreError: They are newer than this version, or may not be created.
    """
    tables = database.backend.tables

    async def upgrade(connection: AsyncConnection) -> None:
        async with database.backend.schema_lock(connection, _LONGEST / 2):
            for version in range(await _begin(database, connection), VERSION):
                for statement in database.backend.step(version):
                    await connection.exec_driver_sql(statement)
            await connection.execute(delete(tables.version))
            await connection.execute(insert(tables.version).values(version=VERSION))

    if await _current(database) < VERSION:
        await database.run(upgrade, seconds=_LONGEST)


async def _current(database: Database) -> int:
    """The version that is there, 0 for none."""
    try:
        found = await database.run(lambda connection: _read(database, connection))
    except Missing:
        return 0
    return found


async def _begin(database: Database, connection: AsyncConnection) -> int:
    """The version that is there once nobody else changes it."""
    name = database.backend.version_table
    await connection.exec_driver_sql(f"CREATE TABLE IF NOT EXISTS {name} (version INTEGER NOT NULL)")
    return await _read(database, connection)


async def _read(database: Database, connection: AsyncConnection) -> int:
    version = (await connection.execute(select(database.backend.tables.version.c.version))).scalar() or 0
    if version > VERSION:
        raise StoreError(
            f"{database.target} holds records of schema version {version}, and this brokerkit knows {VERSION}: "
            "upgrade brokerkit here, or use another prefix="
        )
    return version
