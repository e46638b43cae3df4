"""``brokerkit topology explain``: where a message goes, and why."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import click
import msgspec

from brokerkit.cli.errors import ExitCode, Refusal
from brokerkit.cli.options import Command, json_option
from brokerkit.cli.output import count, plain, show_json
from brokerkit.cli.topology.sources import Source, dialect_of, topology_of, with_source
from brokerkit.operations.explain import Destination, Explanation, Question, Step
from brokerkit.operations.explain import explain as explained
from brokerkit.topology.units import duration_text, parse_duration


def _headers(context: click.Context, parameter: click.Parameter, given: Sequence[str]) -> dict[str, object]:
    found: dict[str, object] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise click.BadParameter(f"takes name=value, not {text!r}", context, parameter)
        found[name] = _scalar(value)
    return found


def _scalar(text: str) -> object:
    try:
        value: Any = msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text
    return value if isinstance(value, str | int | float | bool) or value is None else text


def _delay(context: click.Context, parameter: click.Parameter, text: str | None) -> float:
    if text is None:
        return 0.0
    try:
        return float(text)
    except ValueError:
        pass
    try:
        return parse_duration(text)
    except ValueError as error:
        raise click.BadParameter(str(error), context, parameter) from error


@click.command(cls=Command, short_help="Say where a message goes, and what becomes of it.")
@with_source
@click.option("--exchange", metavar="NAME", help="Where it is published.")
@click.option("--key", default="", metavar="KEY", help="Its routing key.")
@click.option("--queue", metavar="NAME", help="Instead of an exchange: the queue it is sent to.")
@click.option(
    "--header", "headers", multiple=True, callback=_headers, metavar="NAME=VALUE",
    help='A header; 1, true and "1" mean what they mean in JSON, anything else is text.',
)  # fmt: skip
@click.option("--priority", default="normal", show_default=True, metavar="0-9", help="Or low, normal, high, critical.")
@click.option("--delay", callback=_delay, metavar="TIME", help="As 90s, 15m, 7d.")
@click.option("--broker", metavar="NAME", help="Also what it is called there: rabbitmq:4.3, redis:7, sqlite.")
@json_option
def explain(
    source: Source,
    exchange: str | None,
    key: str,
    queue: str | None,
    headers: dict[str, object],
    priority: str,
    delay: float,
    broker: str | None,
    as_json: bool,
) -> ExitCode:
    """Say where a message goes, exchange by exchange, and what becomes of it. Exit code 1: it reaches nothing."""
    if (exchange is None) == (queue is None):
        raise click.UsageError("say where it is sent: --exchange or --queue", click.get_current_context())
    question = Question(
        exchange=exchange or "",
        key=queue if queue is not None else key,
        headers=headers,
        priority=int(priority) if priority.isdecimal() else priority,
        delay=delay,
    )
    try:
        found = explained(topology_of(source), question, dialect_of(source, broker))
    except ValueError as error:
        raise Refusal(f"--priority: {error}", ExitCode.USAGE) from error
    if as_json:
        show_json(found)
    else:
        for line in described(question, found):
            click.echo(plain(line))
    return ExitCode.DONE if found.destinations else ExitCode.FAILED


def described(question: Question, found: Explanation) -> Iterator[str]:
    """The answer, for people."""
    for step in found.steps:
        yield from _step(step)
    if not found.destinations:
        yield "unroutable: it reaches no queue and no log"
        return
    if question.delay > 0:
        yield f"due in {duration_text(question.delay)}{_waiting(found)}"
    yield "delivered to"
    for destination in found.destinations:
        yield _destination(destination)


def _step(step: Step) -> Iterator[str]:
    yield f"exchange {step.exchange or '(default)'} ({step.type})"
    for match in step.matches:
        yield f"  -> {match.kind} {match.target}{f'  by {match.reason}' if match.reason else ''}"
    if step.alternate is not None:
        yield f"  -> exchange {step.alternate}  its alternate, because nothing matches"
    elif not step.matches:
        yield "  nothing matches"
    if step.others and step.matches:
        yield f"  {count(step.others, 'other binding')} {'does' if step.others == 1 else 'do'} not match"


def _waiting(found: Explanation) -> str:
    if not found.waits:
        return ""
    return f"; on {found.broker} it waits in {', '.join(found.waits)}"


def _destination(destination: Destination) -> str:
    lane = f", lane {destination.lane} of 0..{destination.lanes - 1}" if destination.lanes > 1 else ""
    place = f" = {destination.place}" if destination.place and destination.place != destination.name else ""
    if destination.kind == "log":
        return f"  log {destination.name}"
    name = f"  {destination.kind} {destination.name}{lane}{place}"
    if destination.grave and not destination.dead_letters:
        return f"{name}, a dead-letter queue"
    return f"{name}; when given up -> {' -> '.join(destination.dead_letters) or 'nothing: it is discarded'}"
