"""The SQLite transport: one file is the broker, for all processes of one host.

A claim, a publish, a report and a settlement are rows of one transaction, written by one thread per process; processes
wake each other through sockets beside the file. ``mode="verify"`` and ``"trust"`` create what is missing, too: nobody
but brokerkit could have created it.
"""

from brokerkit.transports.sqlite.transport import SqliteTransport

__all__ = ["SqliteTransport"]
