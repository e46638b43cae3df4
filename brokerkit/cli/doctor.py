"""``brokerkit doctor``: what is wrong with a broker or a store, and what to do."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence

import click

from brokerkit import App
from brokerkit.checkup import Check, Verdict
from brokerkit.cli import logs
from brokerkit.cli.errors import ExitCode
from brokerkit.cli.loading import load_app
from brokerkit.cli.opening import app_at
from brokerkit.cli.options import Command, Target, json_option, with_target
from brokerkit.cli.output import plain, show_json
from brokerkit.operations.doctor import Findings, examine

_COLOURS = {Verdict.OK: "green", Verdict.UNKNOWN: "cyan", Verdict.WARNING: "yellow", Verdict.PROBLEM: "red"}


@click.command(cls=Command, short_help="What is wrong with a broker or a store; changes nothing.")
@with_target
@click.option("--store", metavar="URL", help="With --url: a store to look at as well, as postgresql://….")
@click.option("--strict", is_flag=True, help="Warnings fail, too.")
@json_option
def doctor(target: Target, store: str | None, strict: bool, as_json: bool) -> ExitCode:
    """Look at a broker and a store: versions, rights, eviction, persistence, queues, TLS, clocks. Changes nothing.

    Exit code 1: something is wrong, or with --strict may be.
    """
    logs.quiet()
    found = asyncio.run(examine(_app(target, store), target.url or "", store or ""))
    if as_json:
        show_json([{"subject": each.subject, "verdict": each.verdict, "checks": each.checks} for each in found])
    else:
        for line in described(found):
            click.echo(line)
    bad = {Verdict.PROBLEM, Verdict.WARNING} if strict else {Verdict.PROBLEM}
    return ExitCode.FAILED if any(each.verdict in bad for each in found) else ExitCode.DONE


def _app(target: Target, store: str | None) -> App:
    if target.app is not None:
        if store is not None:
            raise click.UsageError("--store goes with --url; an app knows its store", click.get_current_context())
        return load_app(target.app, target.app_dir)
    return app_at(target.url or "", store)


def described(found: Sequence[Findings]) -> Iterator[str]:
    """The findings, for people."""
    for each in found:
        yield plain(each.subject)
        width = max((len(check.topic) for check in each.checks), default=0)
        for check in each.checks:
            yield from _check(check, width)


def _check(check: Check, width: int) -> Iterator[str]:
    word = click.style(check.verdict.value.ljust(7), fg=_COLOURS[check.verdict])
    yield f"  {word}  {check.topic.ljust(width)}  {plain(check.text)}"
    if check.fix:
        yield f"  {' ' * 7}  {' ' * width}  -> {plain(check.fix)}"
