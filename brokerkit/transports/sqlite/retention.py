"""What a log lets go of: its history, and what groups have not read in time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from brokerkit.transports.sqlite import sql
from brokerkit.transports.sqlite.compile import LogPlan
from brokerkit.transports.sqlite.routes import Routes
from brokerkit.transports.sqlite.transaction import Transaction

AT_ONCE = 1000
"""Rows removed in one transaction at most; the rest waits for the next one."""
_sizes = msgspec.json.Decoder(list[int]).decode


def trim(tx: Transaction, routes: Routes, plan: LogPlan) -> None:
    """Bring a log within its limits, in bounded steps."""
    log = plan.log
    if log.history:
        _trim_history(tx, routes.ids[log.name], plan)
    if not log.hold_for_groups:
        for group in plan.groups:
            _trim_backlog(tx, routes.ids[group.key], plan)


def _trim_history(tx: Transaction, source: int, plan: LogPlan) -> None:
    if plan.log.retention is not None:
        tx.run(sql.OLD_ENTRIES, source, tx.now - plan.log.retention, AT_ONCE)
    length, size = tx.row(sql.BOUND, source)
    surplus = _surplus(tx, plan, length, size, sql.ENTRY_SIZES, source)
    if surplus:
        tx.run(sql.FIRST_ENTRIES, source, surplus)


def _trim_backlog(tx: Transaction, source: int, plan: LogPlan) -> None:
    lost = 0
    if plan.log.retention is not None:
        lost = tx.run(sql.OLD_BACKLOG, source, tx.now - plan.log.retention, AT_ONCE)
    length, size = tx.row(sql.BOUND, source)
    if _over(plan, length, size):
        length, size = tx.row(sql.UNREAD, source)
    surplus = _surplus(tx, plan, length, size, sql.BACKLOG_SIZES, source)
    if surplus:
        lost += tx.run(sql.FIRST_BACKLOG, source, surplus)
    if lost:
        tx.run(sql.ADD_LOST, lost, source)


def _over(plan: LogPlan, length: int, size: int) -> bool:
    limits = plan.log.max_length, plan.log.max_bytes
    return any(limit is not None and value > limit for limit, value in zip(limits, (length, size), strict=True))


def _surplus(tx: Transaction, plan: LogPlan, length: int, size: int, sizes: str, *values: Any) -> int:
    """How many of the oldest have to go."""
    if not _over(plan, length, size):
        return 0
    most, largest = plan.log.max_length, plan.log.max_bytes
    count = 0 if most is None else max(0, length - most)
    if largest is not None and size > largest:
        count = max(count, _first(_sizes(tx.row(sizes, *values, AT_ONCE)[0]), size - largest))
    return min(count, AT_ONCE)


def _first(sizes: Sequence[int], excess: int) -> int:
    """How many of the first are at least so many bytes together."""
    for index, size in enumerate(sizes):
        if excess <= 0:
            return index
        excess -= size
    return len(sizes)
