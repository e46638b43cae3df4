"""``brokerkit dlq purge``."""

from __future__ import annotations

import sys

import click

from brokerkit.cli.dlq.choosing import Chosen, looking, with_choice
from brokerkit.cli.dlq.listing import groups_of, show_groups, show_rehearsal
from brokerkit.cli.dlq.redriving import refuse_missing
from brokerkit.cli.errors import ExitCode, Refusal
from brokerkit.cli.opening import run
from brokerkit.cli.options import Target, json_option, with_target
from brokerkit.cli.output import count, show_json


@click.command()
@click.argument("queue")
@with_choice
@click.option("--dry-run", is_flag=True, help="Only say what would be deleted.")
@click.option(
    "--count",
    "expected",
    type=click.IntRange(min=0),
    metavar="N",
    help="Delete only if there are exactly N; needed where there is no terminal to ask on.",
)
@with_target
@json_option
def purge(target: Target, queue: str, chosen: Chosen, dry_run: bool, as_json: bool, expected: int | None) -> None:
    """Delete dead letters of QUEUE for good; their number has to be given, or confirmed."""
    if dry_run:
        show_rehearsal(queue, run(groups_of(target, queue, chosen)), "would be deleted; --count says so", as_json)
        return
    if expected is None:
        expected = _asked(target, queue, chosen)
    done = run(_purge(target, queue, chosen, expected))
    if as_json:
        show_json({"queue": queue, "purged": done})
    else:
        click.echo(f"{count(done, 'message')} deleted.")
    refuse_missing(queue, chosen, done)


def _asked(target: Target, queue: str, chosen: Chosen) -> int:
    """The number that the user has confirmed."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise Refusal(
            "purge deletes for good; give the number of what is to be deleted with --count, --dry-run tells it",
            ExitCode.USAGE,
        )
    found = run(groups_of(target, queue, chosen))
    if not found.count:
        raise Refusal(f"{queue} has none; nothing was deleted")
    show_groups(found)
    if not click.confirm(f"Delete {count(found.count, 'dead letter')} of {queue} for good?", err=True):
        raise Refusal("nothing was deleted")
    return found.count


async def _purge(target: Target, queue: str, chosen: Chosen, expected: int) -> int:
    async with looking(target, queue) as app:
        return await app.purge(queue, chosen.ids or None, limit=chosen.limit, expect=expected, **chosen.which)
