"""``brokerkit topology plan`` and ``diff``: what would change."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from brokerkit import planning
from brokerkit.cli import logs
from brokerkit.cli.errors import ExitCode
from brokerkit.cli.options import json_option
from brokerkit.cli.output import plain, show_json
from brokerkit.cli.topology.planning import (
    PlanCommand,
    code_of,
    connected,
    for_broker,
    name_option,
    named_topology,
    show,
    with_options,
)
from brokerkit.cli.topology.sources import Source, with_source
from brokerkit.planning import Options, Plan, to_file
from brokerkit.planning.saving import as_data
from brokerkit.planning.showing import diff_lines

_OUT = click.Path(path_type=Path, dir_okay=False)


@click.command(cls=PlanCommand, short_help="Say what apply would change at a broker.")
@with_source
@with_options
@click.option("--out", type=_OUT, metavar="FILE", help="Save it; brokerkit topology apply FILE carries out just that.")
@json_option
def plan(source: Source, options: Options, name: str | None, out: Path | None, as_json: bool) -> ExitCode:
    """Say what apply would change at a broker, and at what risk. Changes nothing.

    FILE with --url, or --app. Exit codes: 0 nothing to do, 2 changes, 1 an error.
    """
    found = asyncio.run(_planned(source, options, name))
    if out is not None:
        out.write_bytes(to_file(found))
    show(found, as_json, "nothing to do: the broker is as declared")
    return code_of(found)


@click.command(cls=PlanCommand, short_help="Show how a broker differs from what is declared.")
@with_source
@name_option
@json_option
def diff(source: Source, name: str | None, as_json: bool) -> ExitCode:
    """Show all in which a broker differs from what is declared: - what it has, + what is declared.

    Unlike plan, it also shows what only --prune would remove. Exit codes: 0 no difference, 2 differences, 1 an error.
    """
    found = asyncio.run(_planned(source, Options(prune=True), name))
    if as_json:
        show_json(as_data(found))
    else:
        for line in diff_lines(found):
            click.echo(plain(line))
    return code_of(found)


async def _planned(source: Source, options: Options, name: str | None) -> Plan:
    logs.quiet()
    wanted = named_topology(source, name)
    async with connected(source) as transport:
        return for_broker(await planning.plan(transport, wanted, options), source)
