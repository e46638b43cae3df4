"""``brokerkit queue``: how much is where."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import click

from brokerkit import App, QueueStats, TopologyError
from brokerkit.cli.opening import opened, queue_names, run, unknown_queue
from brokerkit.cli.options import Group, Target, json_option, with_target
from brokerkit.cli.output import Cell, show_json, show_lines, table

_HEADS = ("queue", "ready", "in flight", "delayed", "dead", "consumers")


@click.group(cls=Group)
def queue() -> None:
    """Look at queues."""


@queue.command(short_help="Count the messages of queues and groups.")
@click.argument("names", metavar="[QUEUE]...", nargs=-1)
@with_target
@json_option
def stats(target: Target, names: Sequence[str], as_json: bool) -> None:
    """Count the messages of queues and groups (log@group), by lane where there are several; default: all."""
    found = run(_stats(target, names))
    if as_json:
        show_json({"queues": found})
    elif not found:
        click.echo("The app declares no queues.")
    else:
        show_lines(_lines(found))


async def _stats(target: Target, names: Sequence[str]) -> list[QueueStats]:
    async with opened(target) as app:
        return [await _one(app, target, name) for name in names or await queue_names(app, target)]


async def _one(app: App, target: Target, name: str) -> QueueStats:
    try:
        return await app.queue_stats(name)
    except TopologyError as error:
        raise unknown_queue(app, target, name) from error


def _lines(found: Sequence[QueueStats]) -> list[str]:
    rows = [row for stats in found for row in _rows(stats)]
    if all(stats.lost is None for stats in found):
        return table(_HEADS, [row[:-1] for row in rows])
    return table((*_HEADS, "lost"), rows)


def _rows(stats: QueueStats) -> Iterator[Sequence[Cell]]:
    lost = "" if stats.lost is None else stats.lost
    yield (stats.queue, stats.ready, stats.in_flight, stats.delayed, stats.dead, stats.consumers, lost)
    if len(stats.lanes) > 1:
        for level in reversed(range(len(stats.lanes))):
            lane = stats.lanes[level]
            yield (f"  lane {level}", lane.ready, lane.in_flight, lane.delayed, "", "", "")
