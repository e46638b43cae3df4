"""``brokerkit task``: where one task stands, and stopping it."""

from __future__ import annotations

import click
import msgspec

from brokerkit import Cancel, MissingCapability, TaskRecord, TaskStatus
from brokerkit.cli.errors import Refusal
from brokerkit.cli.opening import opened, run
from brokerkit.cli.options import Group, Target, json_option, with_target
from brokerkit.cli.output import fields, plain, show_json, show_lines, time_of

_COLOURS = {TaskStatus.SUCCESS: "green", TaskStatus.FAILURE: "red", TaskStatus.RETRY: "yellow"}
_ANSWERS = {
    Cancel.CANCELLED: "cancelled: it had not started and never will",
    Cancel.REQUESTED: "requested: the worker that runs it was asked to stop",
}


@click.group(cls=Group)
def task() -> None:
    """Look at one task, or cancel it."""


@task.command()
@click.argument("id")
@with_target
@json_option
def status(target: Target, id: str, as_json: bool) -> None:  # noqa: A002 - the command's word
    """Show what is known of the task ID. Its result is not shown: it may be secret."""
    record = run(_record(target, id))
    if as_json:
        shown = msgspec.structs.asdict(record)
        del shown["followups"], shown["result"]
        show_json(shown | {"result_size": None if record.result is None else len(record.result)})
        return
    click.echo(click.style(record.status.value, fg=_COLOURS.get(record.status), bold=True))
    show_lines(_lines(record))


@task.command()
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


def _lines(record: TaskRecord) -> list[str]:
    error = record.error
    progress = "" if record.progress is None else f"{record.progress:.0%} {record.note}"
    pairs = [
        ("id", record.id),
        ("task", record.name),
        ("queue", record.queue),
        ("attempt", f"{record.attempt} of run {record.run}"),
        ("sent", time_of(record.created)),
        ("started", time_of(record.started)),
        ("finished", time_of(record.finished)),
        ("worker", record.worker),
        ("progress", progress),
        ("result", "" if record.result is None else f"{len(record.result):,} bytes"),
        ("error", f"{error.type}: {error.message}" if error is not None else ""),
        ("parent", record.parent or ""),
        *((f"label {name}", str(value)) for name, value in record.metadata.items()),
    ]
    earlier = [
        f"  attempt {each.number}  {time_of(each.finished)}  {plain(each.error.type)}: {plain(each.error.message)}"
        for each in record.attempts
    ]
    return [*fields(pairs), *(["failed attempts", *earlier] if earlier else [])]
