"""What handlers write down outside the broker, so that a loss would be seen and not assumed away.

One line per event, appended with one ``write``: POSIX puts lines of several processes one after the other.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from brokerkit import Context

ENVIRONMENT_JOURNAL = "BROKERKIT_DEMO_JOURNAL"


class Line(NamedTuple):
    """One event of one run of a handler.

    Args:
        event: "start", "done" or "fail".
        source: The queue or group.
        id: The message.
        attempt: The attempt.
        pid: The process.
        at: Seconds since the epoch.
        due: When the message was due, 0 for at once.
    """

    event: str
    source: str
    id: str
    attempt: int
    pid: int
    at: float
    due: float


@contextmanager
def journaled(context: Context) -> Iterator[None]:
    """Write down that a handler starts, and that it is done or has failed."""
    _append("start", context)
    try:
        yield
    except Exception:
        _append("fail", context)
        raise
    _append("done", context)


def _append(event: str, context: Context) -> None:
    due = context.message.due or 0.0
    text = f"{event} {context.source} {context.id} {context.attempt} {os.getpid()} {time.time():.6f} {due:.6f}\n"
    journal = os.open(os.environ[ENVIRONMENT_JOURNAL], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(journal, text.encode())
    finally:
        os.close(journal)


class Reader:
    """Reads what was appended since the last time.

    Args:
        path: The file; it may not exist yet.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._position = 0

    def new(self) -> list[Line]:
        """The complete lines not returned before."""
        if not self._path.exists():
            return []
        with self._path.open("rb") as journal:
            journal.seek(self._position)
            text, newline, _ = journal.read().rpartition(b"\n")
        self._position += len(text) + len(newline)
        return [_parsed(line) for line in text.decode().splitlines()]


def _parsed(line: str) -> Line:
    event, source, message_id, attempt, pid, at, due = line.split(" ")
    return Line(event, source, message_id, int(attempt), int(pid), float(at), float(due))
