"""``brokerkit dlq redrive``."""

from __future__ import annotations

import re
import sys
from typing import Any

import click

from brokerkit import BrokerkitError
from brokerkit.cli.dlq.choosing import Chosen, looking, with_choice
from brokerkit.cli.dlq.listing import groups_of, show_rehearsal
from brokerkit.cli.errors import ExitCode, Refusal, explained
from brokerkit.cli.opening import run
from brokerkit.cli.options import Span, Target, json_option, with_target
from brokerkit.cli.output import count, show_json


class Rate(click.ParamType[float]):
    """Messages in a time, as messages a second."""

    name = "rate"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Messages a second."""
        found = _RATE.fullmatch(value)
        if found is None or not float(found[1]):
            self.fail(f"{value!r} is no rate; give it as 50/s, 600/m or 1000/h", param, ctx)
        return float(found[1]) / _SECONDS[found[2] or "s"]


_RATE = re.compile(r"(\d+(?:\.\d+)?)(?:/([smh]))?")
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0}


class _Sent:
    """Counts what has been sent back, and shows it on a terminal."""

    def __init__(self) -> None:
        self.count = 0
        self._shows = sys.stderr.isatty()

    def __call__(self, done: int, total: int) -> None:
        self.count = done
        if self._shows:
            click.echo(f"\r\x1b[K{done:,} of {total:,} sent back", nl=False, err=True)

    def clear(self) -> None:
        if self._shows and self.count:
            click.echo("\r\x1b[K", nl=False, err=True)


@click.command()
@click.argument("queue")
@with_choice
@click.option("--dry-run", is_flag=True, help="Only say what would be sent back.")
@click.option("--canary", is_flag=True, help="Send one back first, and the others only when it has succeeded.")
@click.option(
    "--canary-timeout", type=Span(), default="60s", show_default=True, metavar="TIME", help="How long to wait for it."
)
@click.option("--rate", type=Rate(), metavar="RATE", help="As 50/s, 600/m or 1000/h; default: as fast as it goes.")
@with_target
@json_option
def redrive(
    target: Target,
    queue: str,
    chosen: Chosen,
    dry_run: bool,
    as_json: bool,
    canary: bool,
    canary_timeout: float,
    rate: float | None,
) -> None:
    """Send dead letters back to QUEUE, each as a new run at attempt 1, the oldest first."""
    if dry_run:
        show_rehearsal(queue, run(groups_of(target, queue, chosen)), f"would be sent back to {queue}", as_json)
        return
    sent = _Sent()
    try:
        run(_redrive(target, queue, chosen, sent, canary=canary_timeout if canary else None, rate=rate))
    except KeyboardInterrupt:
        raise Refusal(
            f"stopped: {_told(queue, sent.count)}; the others are still dead letters", ExitCode.INTERRUPTED
        ) from None
    except BrokerkitError as error:
        if not sent.count:
            raise
        text, code = explained(error)
        raise Refusal(f"{_told(queue, sent.count)}, then: {text}", ExitCode(code)) from error
    finally:
        sent.clear()
    if as_json:
        show_json({"queue": queue, "redriven": sent.count})
    else:
        click.echo(f"{_told(queue, sent.count)}.")
    refuse_missing(queue, chosen, sent.count)


def refuse_missing(queue: str, chosen: Chosen, done: int) -> None:
    """Fail when some of the ids that were named are no dead letters."""
    wanted = min(len(chosen.ids), chosen.limit or len(chosen.ids))
    if chosen.ids and chosen == Chosen(ids=chosen.ids, limit=chosen.limit) and done < wanted:
        missing = f"{wanted - done} of the {wanted} ids are no dead letters of {queue}"
        raise Refusal(f"{missing}; see: brokerkit dlq list {queue} --each")


def _told(queue: str, sent: int) -> str:
    return f"{count(sent, 'message')} sent back to {queue}"


async def _redrive(
    target: Target, queue: str, chosen: Chosen, sent: _Sent, *, canary: float | None, rate: float | None
) -> None:
    async with looking(target, queue) as app:
        await app.redrive(
            queue, chosen.ids or None, limit=chosen.limit, canary=canary, rate=rate, progress=sent, **chosen.which
        )
