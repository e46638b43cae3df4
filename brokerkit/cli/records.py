"""How records look, as text and as JSON. Results are not shown: they may be secret."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from typing import Any

import click
import msgspec

from brokerkit import TaskRecord, TaskStatus
from brokerkit.cli.output import cut, fields, plain, table, time_of

_COLOURS = {TaskStatus.SUCCESS: "green", TaskStatus.FAILURE: "red", TaskStatus.RETRY: "yellow"}
_WIDEST = max(len(status.value) for status in TaskStatus)


def status_of(record: TaskRecord) -> str:
    """Its status, coloured."""
    return click.style(record.status.value, fg=_COLOURS.get(record.status), bold=True)


def entry(record: TaskRecord) -> dict[str, Any]:
    """A record for JSON."""
    shown = msgspec.structs.asdict(record)
    del shown["followups"], shown["labelled"], shown["result"]
    return shown | {"result_size": None if record.result is None else len(record.result)}


def described(record: TaskRecord) -> list[str]:
    """Everything there is to tell."""
    pairs = [
        ("id", record.id),
        ("task", record.name),
        ("queue", record.queue),
        ("attempt", f"{record.attempt} of run {record.run}"),
        ("sent", time_of(record.created)),
        ("started", time_of(record.started)),
        ("finished", time_of(record.finished)),
        ("worker", record.worker),
        ("progress", _progress(record)),
        ("result", "" if record.result is None else f"{len(record.result):,} bytes"),
        ("error", _error(record)),
        ("parent", record.parent or ""),
        *((f"label {name}", str(value)) for name, value in record.metadata.items()),
    ]
    earlier = [
        f"  attempt {each.number}  {time_of(each.finished)}  {plain(each.error.type)}: {plain(each.error.message)}"
        for each in record.attempts
    ]
    return [*fields(pairs), *(["failed attempts", *earlier] if earlier else []), *traced(record)]


def traced(record: TaskRecord | None) -> list[str]:
    """The traceback of its last failure, if it is known."""
    trace = record.error.traceback.rstrip().splitlines() if record is not None and record.error is not None else []
    return ["the last one's traceback", *(f"  {plain(line)}" for line in trace)] if trace else []


def listed(found: Sequence[TaskRecord]) -> list[str]:
    """A table."""
    heads = ("id", "task", "queue", "status", "attempt", "sent", "progress or error")
    rows = [
        (record.id, record.name, record.queue, record.status.value, record.attempt, time_of(record.created), "")
        for record in found
    ]
    used = len(table(heads[:-1], [row[:-1] for row in rows])[1])
    width = max(20, shutil.get_terminal_size().columns - used - 2) if sys.stdout.isatty() else 500
    rest = [cut(_error(record) or _progress(record), width) for record in found]
    return table(heads, [(*row[:-1], more) for row, more in zip(rows, rest, strict=True)])


def ended(record: TaskRecord) -> str:
    """One line of a task that has ended."""
    took = "" if record.started is None or record.finished is None else f"{record.finished - record.started:.2f} s"
    rest = cut(_error(record), 500) or took
    padding = " " * (_WIDEST - len(record.status.value))
    return f"{status_of(record)}{padding}  {plain(record.id)}  {plain(record.name)}  {rest}".rstrip()


def _progress(record: TaskRecord) -> str:
    return "" if record.progress is None else f"{record.progress:.0%} {record.note}"


def _error(record: TaskRecord) -> str:
    return "" if record.error is None else f"{record.error.type}: {record.error.message}"
