"""How dead letters look, as text and as JSON."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from typing import Any

import msgspec

from brokerkit import DeadLetterGroup, DeadMessage, DecodeError
from brokerkit.cli.output import Cell, count, cut, fields, plain, table, time_of
from brokerkit.codec import Decoder, Limits

READABLE = 16 * 1024
"""Bytes of a payload that are shown."""
_LONGEST_ID, _LONGEST_NAME = 255, 60
"""Characters of an id, which is typed again, and of a name in a table."""


def described(found: Sequence[DeadMessage]) -> list[str]:
    """A table of messages."""
    heads = ("id", "task or event", "reason", "attempt", "died", "error")
    rows: list[tuple[Cell, ...]] = [
        (
            cut(dead.message.id, _LONGEST_ID),
            cut(dead.message.name, _LONGEST_NAME),
            dead.reason.value,
            dead.message.attempt,
            time_of(dead.died),
        )
        for dead in found
    ]
    return _with_errors(heads, rows, [dead.error for dead in found])


def grouped(found: Sequence[DeadLetterGroup]) -> list[str]:
    """A table of groups."""
    heads = ("fingerprint", "count", "first", "last", "task or event", "example", "error")
    rows: list[tuple[Cell, ...]] = [
        (
            group.fingerprint,
            group.count,
            time_of(group.first),
            time_of(group.last),
            cut(group.task, _LONGEST_NAME),
            cut(group.example, _LONGEST_NAME),
        )
        for group in found
    ]
    return _with_errors(heads, rows, [group.error or group.kind for group in found])


def _with_errors(heads: Sequence[str], rows: Sequence[tuple[Cell, ...]], errors: Sequence[str]) -> list[str]:
    """A table whose last column takes what is left of the terminal's width."""
    used = len(table(heads[:-1], rows)[1])
    width = max(20, shutil.get_terminal_size().columns - used - 2) if sys.stdout.isatty() else 500
    return table(heads, [(*row, cut(error, width)) for row, error in zip(rows, errors, strict=True)])


def entry(dead: DeadMessage, *, payload: bool = False) -> dict[str, Any]:
    """An entry for JSON; its payload only if asked for."""
    message = dead.message
    made = {
        "id": message.id,
        "name": message.name,
        "queue": dead.source,
        "reason": dead.reason.value,
        "error": dead.error,
        "fingerprint": dead.fingerprint,
        "run": message.run,
        "attempt": message.attempt,
        "deliveries": dead.deliveries,
        "priority": message.priority,
        "created": message.created,
        "died": dead.died,
        "exchange": message.exchange,
        "routing_key": message.routing_key,
        "headers": message.headers,
        "metadata": message.metadata,
        "content_type": message.content_type,
        "size": len(message.body),
    }
    return made | _payload(dead) if payload else made


def _payload(dead: DeadMessage) -> dict[str, Any]:
    """Decoded where it can be, else as base64."""
    try:
        value = _decoded(dead)
        msgspec.json.encode(value)
        return {"body": value}
    except (DecodeError, TypeError, ValueError):
        return {"body_base64": msgspec.to_builtins(dead.message.body)}


def _decoded(dead: DeadMessage) -> Any:
    return Decoder[Any](Any, Limits()).decode(dead.message.body, dead.message.content_type)


def shown(dead: DeadMessage) -> list[str]:
    """Everything about one entry."""
    message = dead.message
    published = f"exchange {message.exchange}, routing key {message.routing_key}" if message.exchange else ""
    lines = fields(
        [
            ("id", message.id),
            ("task or event", message.name),
            ("queue", dead.source),
            ("reason", dead.reason.value),
            ("attempt", f"{message.attempt} of run {message.run}, delivered {count(dead.deliveries, 'time')}"),
            ("sent", time_of(message.created)),
            ("died", time_of(dead.died)),
            ("priority", str(message.priority)),
            ("published to", published),
            ("correlation id", message.correlation_id or ""),
            *((f"header {name}", str(value)) for name, value in message.headers.items()),
            *((f"label {name}", str(value)) for name, value in message.metadata.items()),
            ("error", dead.error),
            ("fingerprint", dead.fingerprint),
        ]
    )
    return [*lines, f"payload  {count(len(message.body), 'byte')} of {plain(message.content_type)}", *_readable(dead)]


def _readable(dead: DeadMessage) -> list[str]:
    if len(dead.message.body) > READABLE:
        return [f"  (over {READABLE // 1024} KiB; --json prints it)"]
    payload = _payload(dead)
    if "body" not in payload:
        return ["  (not readable; --json prints it as base64)"]
    text = msgspec.json.format(msgspec.json.encode(payload["body"]), indent=2).decode()
    return [f"  {plain(line)}" for line in text.splitlines()]
