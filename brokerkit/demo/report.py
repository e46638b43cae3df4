"""The result of the demo: a value, and the table made of it."""

from __future__ import annotations

import msgspec

from brokerkit.cli.output import table
from brokerkit.demo.findings import Row


class Result(msgspec.Struct, kw_only=True):
    """What ``brokerkit demo --json`` prints.

    Args:
        ok: Everything is as it should be.
        problems: What is not.
        seconds: How long it took.
        counts: The sums.
        parts: The rows.
        unexplained: Repeated runs that no crash explains.
        early: Delayed tasks that started early.
        latest: Seconds the latest delayed task started after it was due.
        killed: Workers killed by the demo itself.
        crashed: Workers that the poison task killed.
        vanished: Workers that died for no known reason.
        reason: Why the poison task was dead-lettered.
        records: Records of tasks by status, as the store has them.
        waiting: Messages left in queues.
        directory: Where the files are kept, "" when they were removed.
    """

    ok: bool
    problems: list[str]
    seconds: float
    counts: Row
    parts: list[Row]
    unexplained: int
    early: int
    latest: float
    killed: int
    crashed: int
    vanished: int
    reason: str
    records: dict[str, int]
    waiting: int
    directory: str = ""


def lines(result: Result) -> list[str]:
    """The table and what it means."""
    heads = ("what", "sent", "succeeded", "retried", "run again", "dead-lettered", "lost")
    rows = [
        (row.title, row.sent, row.succeeded, row.retried, row.run_again, row.dead_lettered, row.lost)
        for row in (*result.parts, result.counts)
    ]
    made = table(heads, rows)
    return ["", *made[:-1], made[1], made[-1], "", *_notes(result), "", _verdict(result)]


def _notes(result: Result) -> list[str]:
    low, normal, high = (round(row.position) for row in result.parts[:3])
    again = result.counts.run_again
    why = "each because its worker had died" if not result.unexplained else f"{result.unexplained} WITHOUT a crash"
    records = ", ".join(f"{number:,} {status}" for status, number in sorted(result.records.items()))
    return [
        f"Priorities     sent low first; started on average as number {high} (high), {normal} (normal), {low} (low).",
        f"Delays         {result.early} started early; the latest started {result.latest:.2f} s after it was due.",
        f"Crashes        the poison task killed {result.crashed} workers, the demo {result.killed}; others took over.",
        f"Run again      {again} runs, {why}.",
        f"Dead letters   {result.counts.dead_lettered}, reason {result.reason or 'none'}.",
        f"Records        {records}; {result.waiting} messages left in queues.",
    ]


def _verdict(result: Result) -> str:
    counts = result.counts
    text = (
        f"{counts.sent:,} sent, {counts.succeeded:,} succeeded, {counts.retried:,} retried, "
        f"{counts.dead_lettered:,} dead-lettered, {counts.lost:,} lost, in {result.seconds:.1f} s."
    )
    if result.ok:
        return text
    kept = f" The files are in {result.directory}." if result.directory else ""
    return f"{text} NOT as it should be: {'; '.join(result.problems)}.{kept}"
