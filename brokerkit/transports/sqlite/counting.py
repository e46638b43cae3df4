"""How much is where."""

from __future__ import annotations

import sqlite3
import time

from brokerkit.transport import LaneStats, QueueStats
from brokerkit.transports.sqlite import sql
from brokerkit.transports.sqlite.compile import Target


def stats(
    connection: sqlite3.Connection, target: Target, source: int, grave: int | None, now: float, *, group: bool
) -> QueueStats:
    """Count one queue or group, at one moment."""
    connection.execute("BEGIN")
    try:
        ready, held, delayed = (
            dict(connection.execute(query, (source,)).fetchall())
            for query in (sql.COUNT_READY, sql.COUNT_HELD, sql.COUNT_DELAYED)
        )
        dead = connection.execute(sql.COUNT_DEAD, (grave, target.key, now)).fetchone()[0] if grave is not None else 0
        consumers = connection.execute(sql.COUNT_CONSUMERS, (time.monotonic(), source)).fetchone()[0]
        lost = connection.execute(sql.LOST, (source,)).fetchone() or (0,)
    finally:
        connection.execute("COMMIT")
    lanes = tuple(
        LaneStats(ready.get(level, 0), held.get(level, 0), delayed.get(level, 0)) for level in range(target.lanes)
    )
    return QueueStats(
        target.key,
        sum(ready.values()),
        sum(held.values()),
        sum(delayed.values()),
        dead,
        consumers,
        lanes,
        lost[0] if group else None,
    )
