"""Where a command gets its topology from: a file, an app, or the broker that remembers what was declared."""

from __future__ import annotations

import asyncio
import functools
from pathlib import Path
from typing import Any, cast

import click
import msgspec

from brokerkit import App, Topology
from brokerkit.abilities import Listing
from brokerkit.cli.errors import ExitCode, Refusal
from brokerkit.cli.loading import load_app
from brokerkit.cli.opening import opened
from brokerkit.cli.options import F, Target, app_dir_option
from brokerkit.cli.output import count, plain
from brokerkit.dialect import Dialect
from brokerkit.operations.dialects import dialect_for, dialect_of_scheme
from brokerkit.operations.files import read

FILE = click.Path(path_type=Path)


class Source(msgspec.Struct, frozen=True):
    """Where the topology is.

    Args:
        file: A YAML or TOML file, or None.
        env: The overlay of the file to apply, or None.
        app: ``module:attr``, or None.
        app_dir: Where modules are looked for first.
        url: The broker's URL, or None.
    """

    file: Path | None
    env: str | None
    app: str | None
    app_dir: Path
    url: str | None

    @property
    def target(self) -> Target:
        """What is opened for live figures."""
        return Target(self.app, self.app_dir, self.url)


env_option = click.option("--env", metavar="NAME", help="Apply this overlay of the file.")


def with_source(function: F) -> F:
    """A file, ``--app`` or ``--url`` as one ``Source``, the command's first argument."""

    @click.argument("file", type=FILE, required=False)
    @env_option
    @click.option("--app", metavar="MODULE:ATTR", help="The app, as shop:app; --app shop means shop:app.")
    @app_dir_option
    @click.option("--url", metavar="URL", help="The broker; alone, what Redis or SQLite remembers.")
    @functools.wraps(function)
    def sourced(
        file: Path | None, env: str | None, app: str | None, app_dir: Path, url: str | None, **rest: Any
    ) -> Any:
        return function(checked(Source(file, env, app, app_dir, url)), **rest)

    return cast(F, sourced)


def checked(source: Source) -> Source:
    """The source, if it says where the topology is, once."""
    context = click.get_current_context()
    if source.file is not None and source.app is not None:
        raise click.UsageError("give a file or --app, not both", context)
    if source.file is None and source.app is None and source.url is None:
        raise click.UsageError("name a file (topologies/shop.yaml), or say which app (--app shop:app)", context)
    if source.env is not None and source.file is None:
        raise click.UsageError("--env is for a file; an app says topology_env= itself", context)
    return source


def topology_of(source: Source) -> Topology:
    """The topology; what is wrong with a file is printed line by line.

    Raises:
        Refusal: It is wrong, or cannot be had.
    """
    if source.file is not None:
        return _of_file(source.file, source.env)
    if source.app is not None:
        return load_app(source.app, source.app_dir).topology()
    return asyncio.run(_declared(source))


def dialect_of(source: Source, broker: str | None) -> Dialect | None:
    """What is known of the broker that is named; else of the app's or the URL's kind, else nothing."""
    if broker is not None:
        return dialect_for(broker)
    if source.app is not None:
        return dialect_of_scheme(load_app(source.app, source.app_dir).scheme)
    return dialect_of_scheme(source.url.partition(":")[0]) if source.url is not None else None


def _of_file(file: Path, env: str | None) -> Topology:
    loaded = read(file, env)
    if loaded.problems:
        for problem in loaded.problems:
            click.echo(plain(str(problem)), err=True)
        many = count(len(loaded.problems), "problem")
        raise Refusal(f"{many} in {file}; brokerkit topology lint --explain CODE explains a rule", ExitCode.USAGE)
    return loaded.topology


async def _declared(source: Source) -> Topology:
    async with opened(source.target) as app:
        return await declared_at(app)


async def declared_at(app: App) -> Topology:
    """What the broker of an open app remembers."""
    if not isinstance(app.transport, Listing):
        raise Refusal(
            f"{app.transport.capabilities.name} keeps no list of what was declared; name a file or --app",
            ExitCode.USAGE,
        )
    return await app.transport.declared()
