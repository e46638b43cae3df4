"""Which dead letters a command is about."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

import click
import msgspec

from brokerkit import App, TopologyError
from brokerkit.cli.opening import opened, unknown_queue
from brokerkit.cli.options import F, Span, Target


class Chosen(msgspec.Struct, frozen=True, kw_only=True):
    """What the options say.

    Args:
        ids: Only these; () for all.
        error: A type, a reason or a fingerprint.
        task: A wire name.
        older: Seconds.
        newer: Seconds.
        headers: Names and values.
        limit: Only the oldest so many.
    """

    ids: tuple[str, ...] = ()
    error: str = ""
    task: str = ""
    older: float | None = None
    newer: float | None = None
    headers: dict[str, str] = {}
    limit: int | None = None

    @property
    def which(self) -> dict[str, Any]:
        """As the app's methods take it, but for ``ids`` and ``limit``."""
        given = msgspec.structs.asdict(self)
        return {name: given[name] for name in ("error", "task", "older", "newer", "headers")}


def _ids(context: click.Context, parameter: click.Parameter, value: str | None) -> tuple[str, ...]:
    return tuple(dict.fromkeys(part.strip() for part in (value or "").split(",") if part.strip()))


def _headers(context: click.Context, parameter: click.Parameter, values: Sequence[str]) -> dict[str, str]:
    parts = [value.partition("=") for value in values]
    wrong = [value for value, (name, equals, _) in zip(values, parts, strict=True) if not name or not equals]
    if wrong:
        raise click.BadParameter(f"{wrong[0]!r} is not NAME=VALUE", context, parameter)
    return {name: value for name, _, value in parts}


def with_choice(function: F) -> F:
    """The options that choose dead letters, as one ``Chosen``."""

    @click.option("--error", default="", metavar="ERROR", help="Only this type of error, reason, or fingerprint.")
    @click.option("--task", default="", metavar="NAME", help="Only this task or event.")
    @click.option("--older", type=Span(), metavar="TIME", help="Only those that died more than 90s, 15m, 2h or 7d ago.")
    @click.option("--newer", type=Span(), metavar="TIME", help="Only those that died less than so long ago.")
    @click.option(
        "--header",
        "headers",
        callback=_headers,
        multiple=True,
        metavar="NAME=VALUE",
        help="Only with this header; several times for several.",
    )
    @click.option("--ids", callback=_ids, metavar="ID,ID", help="Only these.")
    @click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Only the oldest N.")
    @functools.wraps(function)
    def choosing(*args: Any, **given: Any) -> Any:
        chosen = Chosen(**{name: given.pop(name) for name in Chosen.__struct_fields__})
        return function(*args, chosen=chosen, **given)

    return cast(F, choosing)


@asynccontextmanager
async def looking(target: Target, queue: str) -> AsyncIterator[App]:
    """The app, open; a queue it does not know is one line."""
    async with opened(target) as app:
        try:
            yield app
        except TopologyError as error:
            raise unknown_queue(app, target, queue) from error
