"""What differs between the databases: how to connect, what their errors mean, and the statements that have no common
form."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, NamedTuple, Protocol

from sqlalchemy import ColumnElement
from sqlalchemy.ext.asyncio import AsyncConnection

from brokerkit.errors import StoreError
from brokerkit.stores.sql.rows import Row
from brokerkit.stores.sql.tables import Tables


class Trouble(enum.Enum):
    """What may be done about an error."""

    LOST = "lost"
    """The connection has gone; another one may do."""
    AGAIN = "again"
    """A deadlock or the like: nothing was done, the same may succeed now."""
    MISSING = "missing"
    """There is no such table."""
    DATA = "data"
    """One of the values was refused."""
    OTHER = "other"
    """Trying again, or something else, will not do."""


class Meaning(NamedTuple):
    """An error explained.

    Args:
        trouble: What may be done about it.
        text: What it says of the database, with the fix.
    """

    trouble: Trouble
    text: str


class Refused(StoreError):
    """The database refused a value, not the call."""


class Missing(StoreError):
    """The tables are not there."""


class Backend(Protocol):
    """One kind of database.

    Attributes:
        dialect: SQLAlchemy's dialect and driver.
        tables: The tables.
        begin: Begins a transaction that sees what others have committed meanwhile.
        version_table: The name, as statements write it, of the table that holds the schema's version.
        largest: Bytes of a record at most, because of the server's limit on statements; known once connected.
    """

    dialect: str
    tables: Tables
    begin: str
    version_table: str
    largest: int

    async def connect(self) -> Any:
        """A driver's connection, ready to be used. Raises what the driver raises."""
        ...

    def abort(self, connection: Any) -> None:
        """End a driver's connection at once, whatever it waits for."""
        ...

    def ended(self, connection: Any) -> bool:
        """Whether a driver's connection cannot be used any more."""
        ...

    def explain(self, error: BaseException) -> Meaning:
        """What the driver's error means."""
        ...

    def schema_lock(self, connection: AsyncConnection, seconds: float) -> AbstractAsyncContextManager[None]:
        """While inside, no other process changes the tables; what was changed is committed on the way out."""
        ...

    def step(self, version: int) -> Sequence[str]:
        """The statements that lead from a version of the tables to the next; 0 is no tables. They may be repeated
        after they were interrupted, because MySQL commits every one by itself."""
        ...

    async def put(self, connection: AsyncConnection, rows: Sequence[Row], now: float, force: bool) -> set[str]:
        """Write rows in one statement where the fence allows and nothing is to be merged, or all with ``force``;
        returns the keys of those written. The rows are in the order of their keys, each key once."""
        ...

    def among(self, column: ColumnElement[Any], values: Sequence[str]) -> ColumnElement[bool]:
        """The condition that a column has one of these values."""
        ...

    def labelled(self, tokens: str) -> ColumnElement[bool]:
        """The condition that a record has all these labels, given as ``rows.label_tokens`` writes them."""
        ...
