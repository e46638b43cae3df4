"""A transaction on a connection that otherwise commits every statement by itself."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection


@asynccontextmanager
async def transaction(connection: AsyncConnection, begin: str) -> AsyncIterator[None]:
    """Commit what is done inside, all or nothing. A connection that cannot even roll back is thrown away."""
    await connection.exec_driver_sql(begin)
    try:
        yield
    except Exception:
        await _roll_back(connection)
        raise
    except BaseException:  # cancelled: there is no time to ask the server, and closing the connection rolls back, too
        if not connection.invalidated:
            await connection.invalidate()
        raise
    await connection.exec_driver_sql("COMMIT")


async def _roll_back(connection: AsyncConnection) -> None:
    if connection.invalidated:
        return
    try:
        await connection.exec_driver_sql("ROLLBACK")
    except (SQLAlchemyError, OSError):  # the error that led here says more
        if not connection.invalidated:
            await connection.invalidate()
