"""The tables as SQLAlchemy sees them; the statements that create them are the backends'."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Column, Dialect, Double, Integer, LargeBinary, MetaData, SmallInteger, Table, Text
from sqlalchemy.types import TypeDecorator

VERSION = 1
"""The version of the tables that this code reads and writes: how many of the backends' steps it has."""


class Key(TypeDecorator[str]):
    """Text that is compared byte by byte: no collation takes "a" for "A", or "a" for "a ". MySQL has it as bytes."""

    impl = Text
    cache_ok = True

    def process_result_value(self, value: Any, dialect: Dialect) -> str | None:
        return value.decode() if isinstance(value, bytes) else value


class Tables:
    """The tables of one store.

    Args:
        schema: PostgreSQL's schema, or None for the connection's own.
        prefix: What their names begin with.
    """

    def __init__(self, schema: str | None, prefix: str) -> None:
        metadata = MetaData(schema=schema)
        self.schema = schema
        self.prefix = prefix
        self.version = Table(f"{prefix}schema_version", metadata, Column("version", Integer))
        self.records = Table(
            f"{prefix}records",
            metadata,
            Column("id", Key, primary_key=True),
            *(Column(name, Key) for name in ("name", "queue", "status")),
            Column("stage", SmallInteger),
            *(Column(name, BigInteger) for name in ("run", "attempt", "deliveries")),
            *(Column(name, Double) for name in ("created", "expires")),
            *(Column(name, SmallInteger) for name in ("carries", "covers")),
            Column("stamp", BigInteger),
            Column("labels", Text),
            Column("body", LargeBinary),
        )

    def quoted(self, table: Table, mark: str) -> str:
        """A table's name in a statement. Schema and prefix are identifiers (``options``), so nothing in them needs to
        be escaped."""
        return ".".join(f"{mark}{part}{mark}" for part in (self.schema, table.name) if part)
