"""``brokerkit topology apply``: changing a broker."""

from __future__ import annotations

import asyncio

import click

from brokerkit import planning
from brokerkit.cli import logs
from brokerkit.cli.errors import ExitCode, Refusal
from brokerkit.cli.options import json_option
from brokerkit.cli.output import plain, show_json
from brokerkit.cli.topology.planning import PlanCommand, connected, named_topology, with_options
from brokerkit.cli.topology.sources import Source, with_source
from brokerkit.planning import Applied, Options, Plan, from_file
from brokerkit.planning.saving import as_data
from brokerkit.planning.showing import lines


@click.command(cls=PlanCommand, short_help="Make a broker as declared.")
@with_source
@with_options
@click.option(
    "--allow-data-loss", "allow_loss", type=click.IntRange(0), default=0, metavar="N",
    help="Delete up to N messages, all queues together. Default none.",
)  # fmt: skip
@click.option("--wait", type=click.FloatRange(0), default=planning.WAIT, help="Seconds to wait for another apply.")
@json_option
def apply(source: Source, options: Options, name: str | None, allow_loss: int, wait: float, as_json: bool) -> ExitCode:
    """Make a broker as declared, or carry out a saved plan: FILE is a topology, or a plan (*.json).

    It goes on where an interrupted one ended, and changes nothing where nothing is to do. A saved plan is refused if
    the broker has changed since. Exit codes: 0 done, 1 not.
    """
    given = _saved(source)
    if given is not None and options != Options():
        raise click.UsageError("a plan says itself how it was made; give --prune and --replace to topology plan")
    done = asyncio.run(_applied(source, given, options, name, allow_loss, wait, as_json))
    if as_json:
        show_json({"applied": as_data(done.plan), "left": as_data(done.left)})
    if done.left.changes:
        text = "; ".join(lines(done.left))
        raise Refusal(f"somebody else has changed the broker meanwhile, and now there is again: {text}")
    return ExitCode.DONE


def _saved(source: Source) -> Plan | None:
    if source.file is None or source.file.suffix != ".json":
        return None
    return from_file(source.file.read_bytes())


async def _applied(
    source: Source,
    given: Plan | None,
    options: Options,
    name: str | None,
    allow_loss: int,
    wait: float,
    as_json: bool,
) -> Applied:
    logs.quiet()
    wanted = named_topology(source, name) if given is None else given.wanted
    async with connected(source, create=True) as transport:
        made = given or await planning.plan(transport, wanted, options)
        if not as_json:
            for line in lines(made, nothing="nothing to do: the broker is as declared"):
                click.echo(plain(line))

        def tell(step: str) -> None:
            if not as_json and made.changes:
                click.echo(plain(f"done: {step}"))

        return await planning.apply(transport, made, allow_loss=allow_loss, done=tell, wait=wait)
