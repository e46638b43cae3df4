"""``brokerkit task``: where tasks stand, waiting for them, and stopping one."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import click
import msgspec

from brokerkit import Cancel, MissingCapability, TaskRecord, TaskStatus
from brokerkit.cli.errors import ExitCode, Refusal
from brokerkit.cli.opening import opened, run
from brokerkit.cli.options import Group, Span, Target, json_option, with_target
from brokerkit.cli.output import count, show_json, show_lines
from brokerkit.cli.records import described, ended, entry, listed, status_of

_ANSWERS = {
    Cancel.CANCELLED: "cancelled: it had not started and never will",
    Cancel.REQUESTED: "requested: the worker that runs it was asked to stop",
}
_STATUSES = click.Choice([status.value for status in TaskStatus], case_sensitive=False)


@click.group(cls=Group)
def task() -> None:
    """Look at tasks, wait for them, or cancel one."""


@task.command()
@click.argument("id")
@with_target
@json_option
def status(target: Target, id: str, as_json: bool) -> None:  # noqa: A002 - the command's word
    """Show what is known of the task ID. Its result is not shown: it may be secret."""
    record = run(_record(target, id))
    if as_json:
        show_json(entry(record))
        return
    click.echo(status_of(record))
    show_lines(described(record))


def _labels(context: click.Context, parameter: click.Parameter, values: Sequence[str]) -> dict[str, Any]:
    return dict(_label(context, parameter, value) for value in values)


def _label(context: click.Context, parameter: click.Parameter, text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise click.BadParameter(f"{text!r} is not NAME=VALUE", context, parameter)
    try:
        return name, msgspec.json.decode(value, type=str | int | float | bool)
    except msgspec.MsgspecError:
        return name, value


@task.command("list")
@click.option("--name", help="Only this task.")
@click.option("--queue", help="Only tasks of this queue.")
@click.option("--status", "statuses", type=_STATUSES, multiple=True, help="Only these; may be given several times.")
@click.option(
    "--label", "labels", callback=_labels, multiple=True, metavar="NAME=VALUE",
    help="Only with this label; several times for several. 3 and true are no texts, '\"3\"' is one.",
)  # fmt: skip
@click.option("--since", type=Span(), metavar="TIME", help="Only those sent within 90s, 15m, 2h or 7d.")
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True, help="The newest N.")
@with_target
@json_option
def list_(
    target: Target, labels: Mapping[str, Any], since: float | None, limit: int, as_json: bool, **wanted: Any
) -> None:
    """List tasks by what their records say, newest first."""
    after = None if since is None else time.time() - since
    found = run(_find(target, {**wanted, "metadata": labels, "created_after": after, "limit": limit}))
    if as_json:
        show_json({"tasks": [entry(record) for record in found]})
    elif not found:
        click.echo("No task is known of which all this is true.")
    else:
        show_lines(listed(found))
        if len(found) == limit:
            click.echo(f"... the newest {limit:,}; --limit shows more")


@task.command(short_help="Wait for tasks, and tell of each that has ended.")
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@click.option("--timeout", type=Span(), default="60s", show_default=True, metavar="TIME", help="As 90s, 15m or 2h.")
@with_target
@json_option
def wait(target: Target, ids: Sequence[str], timeout: float, as_json: bool) -> None:
    """Wait for the tasks ID..., and tell of each that has ended, one line each; 0 if all have succeeded."""
    wanted = tuple(dict.fromkeys(ids))
    with _shown(len(wanted), as_json) as show:
        found, unknown = run(_wait(target, wanted, timeout, show))
    if as_json:
        show_json({"tasks": [entry(record) for record in found], "unknown": unknown})
    left = [record for record in found if not record.status.terminal]
    failed = [record for record in found if record.status.terminal and record.status is not TaskStatus.SUCCESS]
    problems = [
        *([f"{count(len(failed), 'task')} did not succeed"] if failed else []),
        *([f"{count(len(left), 'task')} did not end within {timeout:g} s: {_some(left)}"] if left else []),
        *([f"nobody knows {', '.join(map(repr, unknown[:5]))}; check the ids and the broker"] if unknown else []),
    ]
    if problems:
        raise Refusal("; ".join(problems), ExitCode.FAILED)


def _some(records: Sequence[TaskRecord]) -> str:
    shown = ", ".join(f"{record.id} {record.status.value}" for record in records[:5])
    return shown + (" ..." if len(records) > 5 else "")


@contextmanager
def _shown(total: int, as_json: bool) -> Iterator[Callable[[TaskRecord | None], None]]:
    """Shows each task that has ended, and on a terminal a bar of how many have."""
    if not sys.stderr.isatty():
        yield lambda record: _show(record, as_json)
        return
    with click.progressbar(length=total, file=sys.stderr, show_pos=True, show_percent=False) as bar:

        def show(record: TaskRecord | None) -> None:
            click.echo("\r\x1b[K", nl=False, err=True)
            _show(record, as_json)
            bar.update(1)

        yield show


def _show(record: TaskRecord | None, as_json: bool) -> None:
    if record is not None and not as_json:
        click.echo(ended(record))


@task.command(short_help="Cancel a task that waits or runs.")
@click.argument("id")
@with_target
@json_option
def cancel(target: Target, id: str, as_json: bool) -> None:  # noqa: A002 - the command's word
    """Cancel the task ID: remove it if it waits, else ask the worker that runs it to stop."""
    answer, stands = run(_cancel(target, id))
    if as_json:
        show_json({"id": id, "answer": answer.value})
    if answer is Cancel.TOO_LATE:
        known = f"it is {stands} already" if stands is not None else "it has finished, or it was never sent"
        raise Refusal(f"too late to cancel {id!r}: {known}")
    if not as_json:
        click.echo(_ANSWERS[answer])


async def _record(target: Target, task_id: str) -> TaskRecord:
    async with opened(target) as app:
        record = await app.record(task_id)
    if record is None:
        raise _unknown(task_id)
    return record


async def _find(target: Target, wanted: Any) -> list[TaskRecord]:
    async with opened(target) as app:
        return await app.find(**wanted)


async def _wait(
    target: Target, ids: Sequence[str], timeout: float, show: Callable[[TaskRecord | None], None]
) -> tuple[list[TaskRecord], list[str]]:
    """The records, first of those that have ended, in that order; and the ids that nobody knows."""
    found: dict[str, TaskRecord | None] = {}
    async with opened(target) as app:
        try:
            async for handle in app.as_completed([app.handle(task_id) for task_id in ids], timeout):
                found[handle.id] = await app.record(handle.id)
                show(found[handle.id])
        except TimeoutError:
            for task_id in ids:
                if task_id not in found:
                    found[task_id] = await app.record(task_id)
    return [record for record in found.values() if record is not None], [
        task_id for task_id, record in found.items() if record is None
    ]


async def _cancel(target: Target, task_id: str) -> tuple[Cancel, TaskStatus | None]:
    """The answer and, when it is too late, where the task stands."""
    async with opened(target) as app:
        answer = await app.cancel(task_id)
        if answer is not Cancel.TOO_LATE:
            return answer, None
        try:
            status = await app.status(task_id)
        except MissingCapability:
            return answer, None
    if status is None:
        raise _unknown(task_id)
    return answer, status


def _unknown(task_id: str) -> Refusal:
    return Refusal(f"no task {task_id!r} is known here; check the id and the broker (records are not kept for ever)")
