"""Findings as SARIF 2.1.0, which code hosts and editors show in place.
https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from pathlib import PurePath
from typing import Any
from urllib.parse import quote

from brokerkit.operations.files import Place
from brokerkit.operations.lint.linting import Found
from brokerkit.operations.lint.rules import Rule, rules

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"


def as_sarif(found: Sequence[Found], version: str) -> dict[str, Any]:
    """A log with one run.

    Args:
        found: What was found.
        version: brokerkit's.
    """
    known = list(rules().values())
    indexes = {rule.code: index for index, rule in enumerate(known)}
    driver = {
        "name": "brokerkit topology lint",
        "version": version,
        "rules": [_rule(rule) for rule in known],
    }
    results = [_result(each, indexes[each.finding.rule]) for each in found]
    run = {"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}


def _rule(rule: Rule) -> dict[str, Any]:
    return {
        "id": rule.code,
        "shortDescription": {"text": rule.title},
        "fullDescription": {"text": " ".join(rule.text.split())},
        "help": {"text": rule.text, "markdown": rule.text},
        "defaultConfiguration": {"level": rule.severity},
    }


def _result(found: Found, index: int) -> dict[str, Any]:
    path = str(found.finding.path)
    whom = ", ".join([*found.brokers, *found.environments])
    location: dict[str, Any] = {"logicalLocations": [{"fullyQualifiedName": path}]} if path else {}
    if found.place is not None:
        location["physicalLocation"] = _physical(found.place)
    key = f"{found.finding.rule} {found.place.file if found.place else ''} {path} {found.finding.text}"
    return {
        "ruleId": found.finding.rule,
        "ruleIndex": index,
        "level": found.severity,
        "message": {"text": f"{path}: {found.finding.text}{f' ({whom})' if whom else ''}".removeprefix(": ")},
        "locations": [location] if location else [],
        "partialFingerprints": {"brokerkit/v1": blake2b(key.encode(), digest_size=16).hexdigest()},
    }


def _physical(place: Place) -> dict[str, Any]:
    file = PurePath(place.file)
    uri = file.as_uri() if file.is_absolute() else quote(file.as_posix())
    region = {"startLine": place.line, "startColumn": place.column}
    return {"artifactLocation": {"uri": uri}, "region": region}
