"""What is printed: tables, times, JSON. Texts from messages lose their control characters first."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import click
import msgspec

Cell = str | int | None


def plain(text: str) -> str:
    """The text without characters that could steer the terminal, on one line."""
    return "".join(char if char.isprintable() else " " for char in text)


def show_json(value: Any) -> None:
    """Print a value as JSON, indented."""
    text = msgspec.json.format(msgspec.json.encode(value), indent=2)
    click.echo(text.decode())


def show_lines(lines: Iterable[str]) -> None:
    """Print lines."""
    for line in lines:
        click.echo(line)


def table(heads: Sequence[str], rows: Sequence[Sequence[Cell]]) -> list[str]:
    """The lines of a table: texts to the left, numbers to the right, ``?`` for what is unknown.

    Args:
        heads: The columns' names.
        rows: As many cells each.
    """
    texts = [[_text(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(heads, *texts, strict=True)]
    right = [any(isinstance(row[index], int) for row in rows) for index in range(len(heads))]
    rule = [_line_character() * width for width in widths]
    return [_row(cells, widths, right) for cells in ([*heads], rule, *texts)]


def _text(cell: Cell) -> str:
    return "?" if cell is None else f"{cell:,}" if isinstance(cell, int) else plain(cell)


def _row(cells: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> str:
    placed = (
        cell.rjust(width) if to_right else cell.ljust(width)
        for cell, width, to_right in zip(cells, widths, right, strict=True)
    )
    return "  ".join(placed).rstrip()


def _line_character() -> str:
    encoding = (getattr(sys.stdout, "encoding", None) or "ascii").lower()
    return "─" if encoding.startswith("utf") else "-"


def fields(pairs: Sequence[tuple[str, str]]) -> list[str]:
    """Names and values, one pair a line; pairs without a value are left out."""
    kept = [(plain(name), value) for name, value in pairs if value]
    width = max((len(name) for name, _ in kept), default=0)
    return [f"{name.ljust(width)}  {plain(value)}" for name, value in kept]


def time_of(seconds: float | None) -> str:
    """Seconds since the epoch as the local time, "" for None."""
    if not seconds:
        return ""
    return datetime.fromtimestamp(seconds, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def cut(text: str, length: int) -> str:
    """The text's first line, shortened to so many characters."""
    first = plain(text.strip().partition("\n")[0])
    return first if len(first) <= length else first[: length - 3] + "..."


def count(number: int, noun: str) -> str:
    """``1 message``, ``2 messages``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
