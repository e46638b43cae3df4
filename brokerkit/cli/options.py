"""Options that commands share."""

from __future__ import annotations

import functools
import re
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import click
import msgspec

F = TypeVar("F", bound=Callable[..., Any])

_DIRECTORY = click.Path(exists=True, file_okay=False, path_type=Path)


class Target(msgspec.Struct, frozen=True):
    """Which app or broker a command speaks to.

    Args:
        app: ``module:attr``, or None.
        app_dir: Where modules are looked for first.
        url: The broker's URL, or None.
    """

    app: str | None
    app_dir: Path
    url: str | None


class Span(click.ParamType[float]):
    """A duration: seconds, or a number with its unit."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Seconds."""
        if isinstance(value, float):
            return value
        found = _SPAN.fullmatch(value)
        if found is None:
            self.fail(f"{value!r} is no duration; give it as 90s, 15m, 2h or 7d", param, ctx)
        return float(found[1]) * _SECONDS[found[2]]


_SPAN = re.compile(r"(\d+(?:\.\d+)?)([smhd]?)")
_SECONDS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


class Command(click.Command):
    """A command with ``--traceback``."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params.append(
            click.Option(
                ["--traceback"],
                is_flag=True,
                expose_value=False,
                callback=_remember,
                envvar="BROKERKIT_DEBUG",
                show_envvar=True,
                help="Show where an error came from, before its one line.",
            )
        )

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; show the traceback of what it raises if it was asked for."""
        try:
            return super().invoke(ctx)
        except (click.Abort, click.exceptions.Exit):
            raise
        except Exception as error:
            if ctx.meta.get("brokerkit.traceback"):
                traceback.print_exception(error)
            raise


def _remember(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    context.meta["brokerkit.traceback"] = value


class Group(click.Group):
    """A group of such commands."""

    command_class = Command


def app_dir_option(function: F) -> F:
    """``--app-dir``."""
    return click.option(
        "--app-dir", type=_DIRECTORY, default=".", show_default=True, metavar="DIR",
        help="Look for the app's module here first; no other directory is added to Python's path.",
    )(function)  # fmt: skip


def json_option(function: F) -> F:
    """``--json``, as ``as_json``."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")(function)


def with_target(function: F) -> F:
    """``--app``, ``--app-dir`` and ``--url`` as one ``Target``, the command's first argument."""

    @click.option("--app", metavar="MODULE:ATTR", help="The app, as shop:app; --app shop means shop:app.")
    @app_dir_option
    @click.option(
        "--url", metavar="URL", envvar="BROKERKIT_URL", show_envvar=True,
        help="The broker, where no app is at hand: sqlite:///shop.db.",
    )  # fmt: skip
    @functools.wraps(function)
    def targeted(app: str | None, app_dir: Path, url: str | None, **rest: Any) -> Any:
        return function(_target(app, app_dir, url), **rest)

    return cast(F, targeted)


def _target(app: str | None, app_dir: Path, url: str | None) -> Target:
    context = click.get_current_context()
    given = context.get_parameter_source("url") is click.core.ParameterSource.COMMANDLINE
    if app is not None and given:
        raise click.UsageError("give --app or --url, not both: the app knows its broker", context)
    if app is None and url is None:
        raise click.UsageError("say which app (--app shop:app) or which broker (--url sqlite:///shop.db)", context)
    return Target(app, app_dir, None if app is not None else url)
