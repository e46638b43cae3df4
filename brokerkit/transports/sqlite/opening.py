"""Opening the file: what can be wrong with it is said here, once, with the fix."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from brokerkit.errors import ConnectFailed
from brokerkit.transports.sqlite.errors import BUSY, code_of, while_opening
from brokerkit.transports.sqlite.schema import APPLICATION_ID, TABLES, VERSION, statements

T = TypeVar("T")

OLDEST_SQLITE = (3, 35, 0)
PATIENCE = 10.0
"""Seconds to wait for another process that is creating or recovering the file."""
_NETWORK = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "ncpfs", "afs", "ceph", "fuse.sshfs", "fuse.glusterfs"})
"""File systems without the shared memory and the locks that WAL needs, see https://www.sqlite.org/wal.html."""


def open_writer(path: Path) -> sqlite3.Connection:
    """Open the file for writing, creating it and its tables where they are missing.

    Raises:
        ConnectFailed: In one line, with the fix.
    """
    _check_place(path)
    try:
        _create(path)
        return _patiently(lambda: _prepared(path))
    except sqlite3.Error as error:
        raise while_opening(str(path), error) from error
    except OSError as error:
        raise ConnectFailed(f"the file {path} cannot be created: {error.strerror}; choose another place") from error


def open_reader(path: Path) -> sqlite3.Connection:
    """A second connection, which can only read."""
    try:
        connection = _connect(path)
        connection.execute("PRAGMA query_only = ON")
        return connection
    except sqlite3.Error as error:
        raise while_opening(str(path), error) from error


def _check_place(path: Path) -> None:
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        wanted = ".".join(map(str, OLDEST_SQLITE))
        raise ConnectFailed(f"SQLite {sqlite3.sqlite_version} is too old; Python needs one from {wanted} on")
    if str(path) == ":memory:":
        raise ConnectFailed("SQLite's :memory: cannot be shared by two connections; use memory:// instead")
    if path.is_dir():
        raise ConnectFailed(f"{path} is a directory; name a file in it, as {path / 'broker.db'}")
    if not path.parent.is_dir():
        raise ConnectFailed(f"the directory {path.parent} does not exist; create it first")
    if (kind := _file_system(path)) in _NETWORK:
        raise ConnectFailed(
            f"{path} lies on a network file system ({kind}), which SQLite cannot share; use a local disk"
        )
    for place in (path, path.parent):
        if place.exists() and not os.access(place, os.W_OK):
            raise ConnectFailed(
                f"{place} cannot be written; give this user the right to write it, or name another file"
            )


def _file_system(path: Path) -> str:
    """The kind of file system, "" where the platform does not tell."""
    try:
        mounts = Path("/proc/self/mounts").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    place, best, kind = f"{path.parent.resolve()}/", -1, ""
    for line in mounts:
        fields = line.split(" ")
        mount = fields[1].replace("\\040", " ").rstrip("/") + "/"
        if place.startswith(mount) and len(mount) >= best:
            best, kind = len(mount), fields[2]
    return kind


def _create(path: Path) -> None:
    # Made here, not by SQLite, which would let everybody read it; its -wal and -shm take over these rights.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=PATIENCE, isolation_level=None, cached_statements=256)
    connection.execute("PRAGMA cache_size = -8000")
    connection.execute("PRAGMA temp_store = MEMORY")
    # What a burst has let the write-ahead log grow to is given back to the disk afterwards.
    connection.execute("PRAGMA journal_size_limit = 67108864")
    return connection


def _patiently(attempt: Callable[[], T]) -> T:
    """Try again while another process holds the file: switching to WAL does not wait by itself."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return attempt()
        except sqlite3.OperationalError as error:
            if code_of(error) not in BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def _prepared(path: Path) -> sqlite3.Connection:
    connection = _connect(path)
    try:
        _check_identity(path, connection)
        mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
        if mode != "wal":
            raise ConnectFailed(f"{path} cannot use SQLite's write-ahead log (WAL) where it lies; use a local disk")
        _create_tables(path, connection)
        # From here on BEGIN is retried by the writer, which is quicker and fairer than SQLite's own waiting.
        connection.execute("PRAGMA busy_timeout = 0")
        return connection
    except BaseException:
        connection.close()
        raise


def _check_identity(path: Path, connection: sqlite3.Connection) -> None:
    application, version, tables = connection.execute(
        "SELECT (SELECT * FROM pragma_application_id), (SELECT * FROM pragma_user_version),"
        " (SELECT count(*) FROM sqlite_master)"
    ).fetchone()
    if not tables:
        return
    if application != APPLICATION_ID:
        raise ConnectFailed(f"{path} is the SQLite database of another program; name another file")
    if version > VERSION:
        raise ConnectFailed(
            f"{path} was written by a newer brokerkit (schema {version}, this one knows {VERSION}); upgrade brokerkit"
        )


def _create_tables(path: Path, connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("BEGIN IMMEDIATE")
    _check_identity(path, connection)
    if not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        for statement in statements(TABLES):
            connection.execute(statement)
        connection.execute("INSERT INTO meta (key, value) VALUES ('topology', 0)")
        # Pragmas take no parameters; both numbers are constants of this package.
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {VERSION}")
    connection.execute("COMMIT")
