"""What the commands share that compare a topology with a broker, or change it."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import click
import msgspec

from brokerkit import App, Topology
from brokerkit.cli.errors import ExitCode, Refusal, explained
from brokerkit.cli.loading import load_app
from brokerkit.cli.opening import app_at
from brokerkit.cli.options import Command, F
from brokerkit.cli.output import plain, show_json
from brokerkit.cli.topology.sources import Source, topology_of
from brokerkit.planning import Options, Plan
from brokerkit.planning.saving import as_data
from brokerkit.planning.showing import lines
from brokerkit.transport import Transport
from brokerkit.transports.memory import MemoryTransport


class PlanCommand(Command):
    """A command whose exit code 2 means that there is something to do, and whose errors are all 1."""

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        try:
            return super().make_context(*args, **kwargs)
        except click.ClickException as error:
            raise _failed(error) from error

    def invoke(self, ctx: click.Context) -> Any:
        """Run it."""
        try:
            return super().invoke(ctx)
        except (click.exceptions.Exit, click.Abort):
            raise
        except Exception as error:
            raise _failed(error) from error


def _failed(error: Exception) -> Refusal:
    text, _ = explained(error)
    return Refusal(text, ExitCode.FAILED)


def with_options(function: F) -> F:
    """``--prune``, ``--replace`` and ``--name``, as ``options`` and ``name``."""

    @click.option("--prune", is_flag=True, help="Also remove what the app owns and no longer declares.")
    @click.option(
        "--replace", type=click.Choice(["refuse", "side-by-side"]), default="refuse", show_default=True,
        help="Queues whose attributes cannot be changed: refuse, or have another queue take over while workers go on.",
    )  # fmt: skip
    @name_option
    @functools.wraps(function)
    def planned(source: Source, prune: bool, replace: Any, **rest: Any) -> Any:
        return function(source, options=Options(prune=prune, replace=replace), **rest)

    return cast(F, planned)


name_option = click.option("--name", metavar="APP", help="The app whose topology it is. Default: as the file says.")


def named_topology(source: Source, name: str | None) -> Topology:
    """The topology, of the app that is named."""
    found = topology_of(source)
    return found if name is None else msgspec.structs.replace(found, name=name)


@asynccontextmanager
async def connected(source: Source, *, create: bool = False) -> AsyncIterator[Transport]:
    """The broker, on which nothing has been declared.

    Args:
        source: Names it.
        create: Create an SQLite file that does not exist. Default: plan for an empty one.

    Raises:
        Refusal: There is none to speak to.
    """
    if source.url is None and source.app is None:
        raise click.UsageError(
            "say which broker: --url amqp://localhost/, sqlite:///shop.db", click.get_current_context()
        )
    if source.url is not None and not create and _missing(source.url):
        async with MemoryTransport() as transport:
            yield transport
        return
    async with _app(source, create).connected() as (transport, _, _):
        if transport.capabilities.name.startswith("memory"):
            raise Refusal("memory:// lives inside the process of its app; name a broker that is shared: --url")
        yield transport


def _missing(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme == "sqlite" and not Path(parts.path[1:]).exists()


def _app(source: Source, create: bool) -> App:
    if source.url is None:
        return load_app(source.app or "", source.app_dir)
    return App(source.url, name="brokerkit-cli") if create else app_at(source.url)


def for_broker(plan: Plan, source: Source) -> Plan:
    """The plan, which may have been made in memory for a file that does not exist yet."""
    if source.url is not None and source.url.startswith("sqlite") and plan.broker == "memory":
        return msgspec.structs.replace(plan, broker="sqlite")
    return plan


def show(plan: Plan, as_json: bool, nothing: str) -> None:
    """Print a plan."""
    if as_json:
        show_json(as_data(plan))
        return
    for line in lines(plan, nothing=nothing):
        click.echo(plain(line))


def code_of(plan: Plan) -> ExitCode:
    """What a plan means for a script."""
    return ExitCode.CHANGES if plan.changes else ExitCode.DONE
