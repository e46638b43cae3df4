"""``brokerkit topology drift``: what somebody has changed by hand."""

from __future__ import annotations

import asyncio

import click

from brokerkit import planning
from brokerkit.cli import logs
from brokerkit.cli.errors import ExitCode
from brokerkit.cli.loading import load_app
from brokerkit.cli.options import json_option
from brokerkit.cli.topology.planning import PlanCommand, code_of, connected, name_option, named_topology, show
from brokerkit.cli.topology.sources import Source, with_source
from brokerkit.planning import Plan


@click.command(cls=PlanCommand, short_help="Say what was changed since the last apply.")
@with_source
@name_option
@json_option
def drift(source: Source, name: str | None, as_json: bool) -> ExitCode:
    """Say what has been changed at a broker since the last apply of an app. Changes nothing.

    The app is that of FILE, --app or --name. Exit codes: 0 nothing, 2 the broker has drifted, 1 an error.
    """
    app = name or _name(source)
    found = asyncio.run(_drifted(source, app))
    show(found, as_json, f"no drift: the broker is as the last apply of {app} has left it")
    return code_of(found)


def _name(source: Source) -> str:
    if source.app is not None:
        return load_app(source.app, source.app_dir).name
    if source.file is None:
        raise click.UsageError("say which app: --name shop, a FILE, or --app", click.get_current_context())
    return named_topology(source, None).name


async def _drifted(source: Source, app: str) -> Plan:
    logs.quiet()
    async with connected(source) as transport:
        return await planning.drift(transport, app)
