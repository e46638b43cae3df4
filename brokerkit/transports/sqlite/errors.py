"""What SQLite's errors mean here: one table."""

from __future__ import annotations

import sqlite3

from brokerkit.errors import ConnectFailed, TransportError

_FULL = 13
_FULL_WAL_INDEX = 4874
"""SQLITE_IOERR_SHMSIZE: no room for the file beside the database that holds the WAL's index."""
BUSY = frozenset({5, 6})
"""SQLITE_BUSY and SQLITE_LOCKED: somebody else writes."""

_MEANING = {
    3: "may not be opened; give this user the right to read and write it",
    5: "is locked by another program; end the one that holds it open in a transaction",
    6: "is locked by another program; end the one that holds it open in a transaction",
    8: "cannot be written; give this user the right to write the file and its directory",
    10: "cannot be read or written (an input/output error); check the disk",
    11: "is damaged; restore a copy, or move it away to start with an empty one",
    13: "does not fit on its disk any more; free some space",
    14: "cannot be opened; give this user the right to read and write the file and its directory",
    26: "is not an SQLite database; name another file",
}
"""By primary result code, see https://www.sqlite.org/rescode.html."""


class DiskFull(TransportError):
    """Nothing was written, because the disk is full."""


class Locked(TransportError):
    """Nothing was written, because another process held the file for too long."""


def code_of(error: sqlite3.Error) -> int:
    """The primary result code, 0 if there is none."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def explain(path: str, error: sqlite3.Error) -> str:
    """One line that names the file and the fix."""
    return f"the file {path} {_MEANING.get(code_of(error), f'cannot be used: {error}')}"


def while_running(path: str, error: sqlite3.Error) -> TransportError:
    """The error of an operation."""
    code = getattr(error, "sqlite_errorcode", 0)
    text = explain(path, error)
    if code & 0xFF == _FULL or code == _FULL_WAL_INDEX:
        return DiskFull(text)
    return Locked(text) if code & 0xFF in BUSY else TransportError(text)


def while_opening(path: str, error: sqlite3.Error) -> ConnectFailed:
    """The error of opening the file."""
    return ConnectFailed(explain(path, error))
