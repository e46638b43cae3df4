"""The SQLite transport: one file is the broker, for all processes of one host.

A claim, a publish, a report and a settlement are rows of one transaction, written by one thread per process; processes
wake each other through sockets beside the file. ``mode="verify"`` and ``"trust"`` create what is missing, too: nobody
but brokerkit could have created it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from brokerkit.transports.sqlite.transport import SqliteTransport

__all__ = ["SqliteTransport"]


def __getattr__(name: str) -> Any:
    # Loaded on first use: ``compile`` beside it serves where SQLite is not needed.
    if name == "SqliteTransport":
        from brokerkit.transports.sqlite.transport import SqliteTransport

        return SqliteTransport
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
