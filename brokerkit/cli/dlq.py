"""``brokerkit dlq``: what was given up, and what to do with it."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import click

from brokerkit import App, DeadMessage, TopologyError
from brokerkit.cli.errors import ExitCode, Refusal
from brokerkit.cli.letters import described, entry, shown
from brokerkit.cli.opening import opened, run, unknown_queue
from brokerkit.cli.options import F, Group, Target, json_option, with_target
from brokerkit.cli.output import count, show_json, show_lines

_ALL = 1_000_000
"""More entries than anybody lists: what ``show`` and ``--limit`` search through."""


@click.group(cls=Group)
def dlq() -> None:
    """List, show, send back and delete dead letters. QUEUE is a queue's name or a group's (log@group)."""


def _ids(context: click.Context, parameter: click.Parameter, value: str | None) -> tuple[str, ...]:
    return tuple(dict.fromkeys(part.strip() for part in (value or "").split(",") if part.strip()))


def _which(function: F) -> F:
    """``--ids`` and ``--limit``: what to take."""
    function = click.option("--limit", type=click.IntRange(min=1), help="Only the oldest N.")(function)
    return click.option("--ids", callback=_ids, metavar="ID,ID", help="Only these. Default: all.")(function)


@dlq.command("list")
@click.argument("queue")
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True, help="The oldest N.")
@with_target
@json_option
def list_(target: Target, queue: str, limit: int, as_json: bool) -> None:
    """List the dead letters of QUEUE, oldest first, without their payload."""
    found, total = run(_list(target, queue, limit))
    if as_json:
        show_json({"queue": queue, "total": total, "entries": [entry(dead) for dead in found]})
        return
    if not found:
        click.echo(f"{queue} has no dead letters.")
        return
    show_lines(described(found))
    if total is not None and total > len(found):
        click.echo(f"... the oldest {len(found):,} of {total:,}; --limit shows more")


@dlq.command()
@click.argument("queue")
@click.argument("id")
@with_target
@json_option
def show(target: Target, queue: str, id: str, as_json: bool) -> None:  # noqa: A002 - the command's word
    """Show one dead letter of QUEUE with its headers, error and payload."""
    dead = run(_show(target, queue, id))
    if as_json:
        show_json(entry(dead, payload=True))
    else:
        show_lines(shown(dead))


@dlq.command()
@click.argument("queue")
@_which
@with_target
@json_option
def redrive(target: Target, queue: str, ids: tuple[str, ...], limit: int | None, as_json: bool) -> None:
    """Send dead letters back to QUEUE, each as a new run at attempt 1."""
    done, wanted = run(_move(target, queue, ids, limit, again=True))
    _report(queue, "redriven", f"{count(done, 'message')} sent back to {queue}", done, wanted, as_json)


@dlq.command()
@click.argument("queue")
@_which
@click.option("--yes", is_flag=True, help="Do not ask; needed where there is no terminal.")
@with_target
@json_option
def purge(target: Target, queue: str, ids: tuple[str, ...], limit: int | None, yes: bool, as_json: bool) -> None:
    """Delete dead letters of QUEUE for good."""
    if not yes:
        _confirm(queue, len(ids), limit)
    done, wanted = run(_move(target, queue, ids, limit, again=False))
    _report(queue, "purged", f"{count(done, 'message')} deleted", done, wanted, as_json)


def _confirm(queue: str, ids: int, limit: int | None) -> None:
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise Refusal("purge deletes for good; add --yes where there is no terminal to ask on", ExitCode.USAGE)
    what = count(ids, "dead letter") if ids else f"the oldest {limit}" if limit else "ALL dead letters"
    if not click.confirm(f"Delete {what} of {queue} for good?", err=True):
        raise Refusal("nothing was deleted")


def _report(queue: str, word: str, text: str, done: int, wanted: int | None, as_json: bool) -> None:
    if as_json:
        show_json({"queue": queue, word: done})
    else:
        click.echo(f"{text}.")
    if wanted is not None and done < wanted:
        missing = f"{wanted - done} of the {wanted} ids are no dead letters of {queue}"
        raise Refusal(f"{missing}; see: brokerkit dlq list {queue}")


async def _list(target: Target, queue: str, limit: int) -> tuple[list[DeadMessage], int | None]:
    async with _looking(target, queue) as app:
        found = await app.dead_letters(queue, limit=limit)
        total = (await app.queue_stats(queue)).dead if len(found) == limit else len(found)
        return found, total


async def _show(target: Target, queue: str, wanted: str) -> DeadMessage:
    async with _looking(target, queue) as app:
        for dead in await app.dead_letters(queue, limit=1, ids=[wanted]):
            return dead
    raise Refusal(f"{queue} has no dead letter {wanted!r}; see: brokerkit dlq list {queue}")


async def _move(
    target: Target, queue: str, ids: Sequence[str], limit: int | None, *, again: bool
) -> tuple[int, int | None]:
    """Redrive or purge; how many, and of how many ids the user named."""
    async with _looking(target, queue) as app:
        chosen: Sequence[str] | None = ids or None
        if limit is not None:
            chosen = await _oldest(app, queue, ids, limit)
        work = app.redrive if again else app.purge
        done = await work(queue, chosen) if chosen is None or chosen else 0
        return done, min(len(ids), limit or len(ids)) if ids else None


async def _oldest(app: App, queue: str, ids: Sequence[str], limit: int) -> list[str]:
    return [dead.message.id for dead in await app.dead_letters(queue, limit=limit, ids=ids or None)]


@asynccontextmanager
async def _looking(target: Target, queue: str) -> AsyncIterator[App]:
    async with opened(target) as app:
        try:
            yield app
        except TopologyError as error:
            raise unknown_queue(app, target, queue) from error
