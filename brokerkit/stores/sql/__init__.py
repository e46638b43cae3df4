"""Records in PostgreSQL, MariaDB or MySQL, through SQLAlchemy. ``options`` and ``rows`` need no client library."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from brokerkit.stores.sql.store import SqlStore

__all__ = ["SqlStore"]


def __getattr__(name: str) -> Any:
    # Loaded on first use, and SQLAlchemy with it.
    if name == "SqlStore":
        from brokerkit.stores.sql.store import SqlStore

        return SqlStore
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
