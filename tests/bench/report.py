"""The table for people and the JSON for programs."""

from __future__ import annotations

import os
import platform
import sqlite3
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import msgspec
import psutil

from tests.bench.child import loop_name
from tests.bench.figures import Figure, Options
from tests.bench.workload import BODY_SIZE

_HEADINGS = ("", "what", "rate", "plain loop", "ratio", "raw limit", "must reach", "aims at", "verdict")
_PACKAGES = ("brokerkit", "msgspec", "uvloop", "aiormq")


def surroundings(options: Options) -> dict[str, Any]:
    """The machine, the versions and the settings of a run."""
    return {
        "machine": {
            "system": platform.platform(terse=True),
            "processor": _processor(),
            "cores": os.cpu_count(),
            "memory_mb": psutil.virtual_memory().total // 1_000_000,
            "load": psutil.getloadavg()[0],
            "file_system": _file_system(options.directory),
        },
        "versions": {
            "python": platform.python_version(),
            "sqlite": sqlite3.sqlite_version,
            "loop": loop_name(),
            **{name: _version(name) for name in _PACKAGES},
        },
        "settings": {
            "quick": options.quick,
            "repeat": options.repeat,
            "concurrency": options.concurrency,
            "body_bytes": BODY_SIZE,
        },
    }


def heading(around: dict[str, Any]) -> str:
    """What one must know to read the table."""
    machine, versions, settings = around["machine"], around["versions"], around["settings"]
    return (
        f"Python {versions['python']}, {versions['loop']}, SQLite {versions['sqlite']}; {machine['processor']},"
        f" {machine['cores']} cores, load {machine['load']:.1f}, files on {machine['file_system']}\n"
        f"no-op tasks, bodies of {settings['body_bytes']} bytes, {settings['concurrency']} slots,"
        f" median of {settings['repeat']}"
    )


def table(figures: Sequence[Figure]) -> str:
    """The figures as aligned text."""
    rows = [_HEADINGS, *map(_row, figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADINGS))]
    return "\n".join(_aligned(row, widths) for row in rows)


def _row(figure: Figure) -> tuple[str, ...]:
    goal, ratio = figure.goal, figure.ratio
    return (
        figure.transport,
        figure.name,
        f"{_number(figure.value)} {figure.unit}",
        _number(figure.beside),
        "" if ratio is None else f"{ratio:.2f}",
        _number(figure.limit),
        "" if goal is None else _number(goal.must),
        "" if goal is None else _number(goal.aim),
        figure.verdict,
    )


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}".replace(",", " ") if value >= 1000 else f"{value:.3g}"


def _aligned(row: Sequence[str], widths: Sequence[int]) -> str:
    left = (0, 1, 8)
    cells = (
        cell.ljust(width) if column in left else cell.rjust(width)
        for column, (cell, width) in enumerate(zip(row, widths, strict=True))
    )
    return "  ".join(cells).rstrip()


def as_json(around: dict[str, Any], figures: Sequence[Figure]) -> bytes:
    """Everything that was found."""
    found = [
        {
            **msgspec.to_builtins(figure),
            "value": figure.value,
            "plain_value": figure.beside,
            "ratio": figure.ratio,
            "raw_value": figure.limit,
            "verdict": figure.verdict,
        }
        for figure in figures
    ]
    return msgspec.json.format(msgspec.json.encode({**around, "figures": found}), indent=2) + b"\n"


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())


def _file_system(directory: str) -> str:
    """The kind of the mount that holds the directory: on tmpfs a durable commit costs nothing."""
    place = Path(directory).resolve()
    mounts = [mount for mount in psutil.disk_partitions(all=True) if place.is_relative_to(mount.mountpoint)]
    return max(mounts, key=lambda mount: len(mount.mountpoint)).fstype if mounts else "?"
