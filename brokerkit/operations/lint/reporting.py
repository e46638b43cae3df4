"""How findings look, as text and as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from brokerkit.operations.lint.linting import Found


def lines(found: Sequence[Found]) -> Iterator[str]:
    """One line each: where, how grave, by which rule, what, and for whom if not for all."""
    for each in found:
        at = f"{each.place}: " if each.place is not None else ""
        path = f"{each.finding.path}: " if each.finding.path else ""
        whom = ", ".join([*each.brokers, *(f"--env {name}" for name in each.environments)])
        yield f"{at}{each.severity} {each.finding.rule} {path}{each.finding.text}{f' [{whom}]' if whom else ''}"


def summary(found: Sequence[Found], subjects: int, noun: str) -> str:
    """How many of what: ``1 error and 2 warnings in 3 files``."""
    many = Counter(each.severity for each in found)
    said = [f"{many[kind]} {kind}{'' if many[kind] == 1 else 's'}" for kind in ("error", "warning") if many[kind]]
    return f"{' and '.join(said) or 'nothing to complain of'} in {subjects} {noun}{'' if subjects == 1 else 's'}"


def as_json(found: Sequence[Found]) -> dict[str, Any]:
    """For scripts."""
    many = Counter(each.severity for each in found)
    return {"errors": many["error"], "warnings": many["warning"], "findings": [_entry(each) for each in found]}


def _entry(found: Found) -> dict[str, Any]:
    file, line, column = found.place or (None, None, None)
    return {
        "rule": found.finding.rule,
        "severity": found.severity,
        "file": file,
        "line": line,
        "column": column,
        "path": str(found.finding.path),
        "text": found.finding.text,
        "brokers": found.brokers,
        "environments": found.environments,
    }
