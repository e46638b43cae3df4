"""``brokerkit dlq list`` and ``show``."""

from __future__ import annotations

from typing import Any

import click
import msgspec

from brokerkit import DeadLetterGroups, DeadMessage, MissingCapability, TaskRecord
from brokerkit.cli.dlq.choosing import Chosen, looking, with_choice
from brokerkit.cli.dlq.letters import described, entry, grouped, shown
from brokerkit.cli.errors import Refusal
from brokerkit.cli.opening import run
from brokerkit.cli.options import Target, json_option, with_target
from brokerkit.cli.output import count, show_json, show_lines
from brokerkit.cli.records import traced

_MOST = 100
"""Messages that ``--each`` lists, and groups that are listed, unless more are asked for."""
INCOMPLETE = "... and more behind them: the broker does not let so many be held in one look"


@click.command("list")
@click.argument("queue")
@with_choice
@click.option("--each", is_flag=True, help="List single messages, oldest first, at most 100 unless --limit says more.")
@with_target
@json_option
def list_(target: Target, queue: str, chosen: Chosen, each: bool, as_json: bool) -> None:
    """List the dead letters of QUEUE by what failed, the most frequent first, or --each of them."""
    if each:
        _list_each(target, queue, chosen, as_json)
        return
    found = run(groups_of(target, queue, chosen))
    if as_json:
        show_json({"queue": queue, **groups_entry(found)})
    elif not found.count:
        click.echo(f"{queue} has no {_such(chosen)}dead letters.")
    else:
        show_groups(found)


def show_groups(found: DeadLetterGroups) -> None:
    """A table of groups, and what it leaves out."""
    show_lines(grouped(found.groups[:_MOST]))
    if len(found.groups) > _MOST:
        left = found.count - sum(group.count for group in found.groups[:_MOST])
        click.echo(f"... and {count(left, 'dead letter')} in smaller groups; --json prints them")
    if not found.complete:
        click.echo(INCOMPLETE)


def show_rehearsal(queue: str, found: DeadLetterGroups, what: str, as_json: bool) -> None:
    """What would be done, without doing it."""
    if as_json:
        show_json({"queue": queue, "dry_run": True, **groups_entry(found)})
        return
    if found.count:
        show_groups(found)
    click.echo(f"{count(found.count, 'message')} {what}.")


def groups_entry(found: DeadLetterGroups) -> dict[str, Any]:
    """Groups for JSON."""
    groups = [msgspec.to_builtins(group) for group in found.groups]
    return {"total": found.count, "complete": found.complete, "groups": groups}


def _such(chosen: Chosen) -> str:
    return "" if chosen == Chosen() else "such "


def _list_each(target: Target, queue: str, chosen: Chosen, as_json: bool) -> None:
    found, total = run(_each(target, queue, chosen))
    if as_json:
        show_json({"queue": queue, "total": total, "entries": [entry(dead) for dead in found]})
    elif not found:
        click.echo(f"{queue} has no {_such(chosen)}dead letters.")
    else:
        show_lines(described(found))
        if len(found) == (chosen.limit or _MOST) and (total is None or total > len(found)):
            of = "" if total is None else f" of {total:,}"
            click.echo(f"... the oldest {len(found):,}{of}; --limit shows more")


@click.command()
@click.argument("queue")
@click.argument("id")
@with_target
@json_option
def show(target: Target, queue: str, id: str, as_json: bool) -> None:  # noqa: A002 - the command's word
    """Show one dead letter of QUEUE with its headers, error, payload and, if a store has its record, its traceback."""
    dead, record = run(_show(target, queue, id))
    if as_json:
        error = record.error if record is not None else None
        show_json({**entry(dead, payload=True), "traceback": error.traceback if error is not None else ""})
    else:
        show_lines([*shown(dead), *traced(record)])


async def groups_of(target: Target, queue: str, chosen: Chosen) -> DeadLetterGroups:
    """What is chosen, by what failed."""
    async with looking(target, queue) as app:
        return await app.dead_letter_groups(queue, ids=chosen.ids or None, limit=chosen.limit, **chosen.which)


async def _each(target: Target, queue: str, chosen: Chosen) -> tuple[list[DeadMessage], int | None]:
    """The entries, and how many there are in the queue if nothing but the limit was asked for."""
    limit = chosen.limit or _MOST
    async with looking(target, queue) as app:
        found = await app.dead_letters(queue, ids=chosen.ids or None, limit=limit, **chosen.which)
        if len(found) < limit:
            return found, len(found)
        everything = Chosen(limit=chosen.limit) == chosen
        return found, (await app.queue_stats(queue)).dead if everything else None


async def _show(target: Target, queue: str, wanted: str) -> tuple[DeadMessage, TaskRecord | None]:
    async with looking(target, queue) as app:
        for dead in await app.dead_letters(queue, limit=1, ids=[wanted]):
            try:
                return dead, await app.handle(dead.message.id).record()
            except MissingCapability:  # there is no store
                return dead, None
    raise Refusal(f"{queue} has no dead letter {wanted!r}; see: brokerkit dlq list {queue} --each")
