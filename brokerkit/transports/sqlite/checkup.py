"""What should be known of an SQLite file and the disk it lies on."""

from __future__ import annotations

import shutil
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path

from brokerkit.checkup import Check, Verdict

_LEAST_FREE = 200 * 1024**2
"""Bytes of free disk below which it is worth a warning."""
_LONG_LOG = 128 * 1024**2
"""Bytes of the write-ahead log above which a reader is holding it up."""
_QUICK = 256 * 1024**2
"""Bytes of a file that is checked in whole; larger ones would take long."""


def checkup(connection: sqlite3.Connection, path: Path) -> list[Check]:
    """Everything worth knowing of a file; for a connection that reads."""
    return [
        Check("version", Verdict.OK, f"SQLite {sqlite3.sqlite_version}"),
        *_file(path),
        _disk(path),
        _journal(connection, path),
        _integrity(connection, path),
        Check("clock", Verdict.OK, "the file is shared on this machine only, which has one"),
    ]


def _file(path: Path) -> Iterator[Check]:
    found = path.stat()
    yield Check("file", Verdict.OK, f"{path}, {found.st_size / 2**20:,.1f} MiB")
    if found.st_mode & (stat.S_IROTH | stat.S_IWOTH):
        text = f"everybody on this machine may {'write' if found.st_mode & stat.S_IWOTH else 'read'} it"
        yield Check("permissions", Verdict.WARNING, text, f"chmod o-rw {path}")
    else:
        yield Check("permissions", Verdict.OK, "only its owner and group may read it")


def _disk(path: Path) -> Check:
    free = shutil.disk_usage(path.parent).free
    text = f"{free / 2**30:,.1f} GiB free"
    if free < _LEAST_FREE:
        return Check("disk", Verdict.WARNING, text, "make room: a full disk refuses every publish")
    return Check("disk", Verdict.OK, text)


def _journal(connection: sqlite3.Connection, path: Path) -> Check:
    mode = connection.execute("PRAGMA journal_mode").fetchone()[0]
    log = path.with_name(f"{path.name}-wal")
    size = log.stat().st_size if log.exists() else 0
    text = f"{mode}, {size / 2**20:,.1f} MiB of write-ahead log; confirmed messages are on disk"
    if size > _LONG_LOG:
        fix = "end the program that has had a transaction open for long: it keeps the log from being emptied"
        return Check("persistence", Verdict.WARNING, text, fix)
    return Check("persistence", Verdict.OK, text)


def _integrity(connection: sqlite3.Connection, path: Path) -> Check:
    if path.stat().st_size > _QUICK:
        return Check(
            "integrity", Verdict.UNKNOWN, "too large to check in passing", f"sqlite3 {path} 'PRAGMA quick_check'"
        )
    said = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if said != "ok":
        return Check("integrity", Verdict.PROBLEM, str(said), f"stop the workers, then: sqlite3 {path} .recover")
    return Check("integrity", Verdict.OK, "every page is sound")
