"""Opting out, environments, apps, and how findings look."""

import json
import time
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from brokerkit import App, Queue, Retry
from brokerkit.errors import ConfigurationError
from brokerkit.operations.dialects import dialect_for
from brokerkit.operations.files.yaml_text import parse_yaml
from brokerkit.operations.lint import lint_app, lint_file
from brokerkit.operations.lint.ignoring import Exemption
from brokerkit.operations.lint.reporting import lines, summary
from brokerkit.operations.lint.sarif import as_sarif
from brokerkit.topology import Exchange

SHOP = """\
exchanges:
  orders: {type: topic}
  audit: {}  # brokerkit: ignore[BK101]
queues:
  # brokerkit: ignore[BK109, BK108]

  # the comment above concerns all of payments
  payments:
    dead_letter: false
    strict: true
    bindings:
      - {exchange: orders, key: "#"}
      - {exchange: orders, key: a}  # brokerkit: ignore[BK105]
      - {exchange: orders, key: b}
  mail: {dead_letter: false, timeout: 2h}
overlays:
  production:
    queues: {mail: {timeout: 1h}}
"""


def test_comments_opt_out_where_they_stand_and_nowhere_else(tmp_path: Path) -> None:
    (tmp_path / "shop.yaml").write_text(SHOP)
    found = lint_file(tmp_path / "shop.yaml", [dialect_for("rabbitmq:4.3"), dialect_for("rabbitmq:3.10")])
    assert [line.removeprefix(f"{tmp_path}/") for line in lines(found)] == [
        (
            "shop.yaml:14:9: warning BK105 queues.payments.bindings[2]: bindings[0] takes every message that this one "
            "takes; remove this one"
        ),
        (
            "shop.yaml:15:10: warning BK109 queues.mail.dead_letter: without dead letters, what is given up is "
            "discarded; remove dead_letter=False, or ignore this rule here"
        ),
        (
            "shop.yaml:15:30: warning BK204 queues.mail.timeout: the broker takes back what is not acknowledged within "
            "1800 s, and this may run 7200 s; raise consumer_timeout there and in the URL, or split the work "
            "[rabbitmq 3.10, rabbitmq 4.3]"
        ),
        (
            "shop.yaml:18:21: warning BK204 queues.mail.timeout: the broker takes back what is not acknowledged within "
            "1800 s, and this may run 3600 s; raise consumer_timeout there and in the URL, or split the work "
            "[rabbitmq 3.10, rabbitmq 4.3, --env production]"
        ),
    ]
    assert summary(found, 1, "file") == "4 warnings in 1 file"


def test_toml_has_the_same_comments_and_a_whole_file_can_opt_out(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text("# brokerkit: ignore-file[BK109]\n[queues.q]\ndead_letter = false\n")
    (tmp_path / "b.toml").write_text("[queues.q]\n# brokerkit: ignore[BK109]\ndead_letter = false\n[queues.r]\n")
    (tmp_path / "c.toml").write_text("[queues.q]\ndead_letter = false\n[queues.r] # brokerkit: ignore[BK109]\n")
    found = {name: lint_file(tmp_path / f"{name}.toml") for name in "abc"}
    assert [len(each) for each in found.values()] == [0, 0, 1]


def test_errors_cannot_be_ignored(tmp_path: Path) -> None:
    text = "# brokerkit: ignore-file[BK305, BK009]\nqueues: {q: {message_ttl: 4000d}}"
    (tmp_path / "a.yaml").write_text(text)
    assert [each.finding.rule for each in lint_file(tmp_path / "a.yaml", [dialect_for("rabbitmq")])] == ["BK305"]
    with pytest.raises(ConfigurationError, match="is an error and cannot be ignored"):
        Exemption.parse("BK305")
    with pytest.raises(ConfigurationError, match="there is no rule 'BK999'"):
        Exemption.parse("BK999=queues.q")


def test_an_exemption_covers_paths_by_pattern() -> None:
    app = App("memory://")
    app.declare(Queue("audit-a", dead_letter=False), Queue("mail", dead_letter=False))
    found = lint_app(app)
    exemption = Exemption.parse("BK109=queues.audit-*")
    assert [exemption.covers(each.finding) for each in found] == [True, False]
    assert Exemption.parse("BK109=queues.mail").covers(found[1].finding)
    assert Exemption.parse("BK109").covers(found[1].finding)


def test_an_unknown_environment_is_an_error_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "shop.yaml").write_text(SHOP)
    found = lint_file(tmp_path / "shop.yaml", [], ["prodution"])
    assert [each.finding.rule for each in found] == ["BK003"]


def test_what_an_app_does_with_its_queues_is_linted_too() -> None:
    app = App("memory://")

    @app.task(queue=Queue("slow"), timeout=timedelta(hours=1), priority="high")
    async def render(page: str) -> None: ...

    @app.task(queue=Queue("quick", priorities=3), priority="high", retry=Retry.fixed(3, delay=90 * 86400))
    async def ping(host: str) -> None: ...

    orders = Exchange("orders")

    @app.subscribe(Queue("events", bindings=[orders.bind("a")], timeout=7200))
    async def watch(event: dict[str, int]) -> None: ...

    found = lint_app(app, [dialect_for("rabbitmq:4.3")])
    assert {(each.finding.rule, str(each.finding.path).rpartition(".<locals>.")[2]) for each in found} == {
        ("BK110", "tasks.render.priority"),
        ("BK204", "tasks.render.timeout"),
        ("BK203", "tasks.ping.retry"),
        ("BK204", "queues.events.timeout"),
        ("BK204", "watch.timeout"),
    }


def test_an_app_with_a_file_is_linted_where_the_file_says_it_and_with_its_comments(tmp_path: Path) -> None:
    (tmp_path / "shop.yaml").write_text(SHOP)
    app = App("memory://", topology=tmp_path / "shop.yaml", topology_env="production")
    app.declare(Queue("other", dead_letter=False))
    found = list(lines(lint_app(app)))
    assert [line.removeprefix(f"{tmp_path}/").partition(" ")[0] for line in found] == [
        "shop.yaml:14:9:",
        "shop.yaml:15:10:",
        "warning",
    ]
    assert "queues.other" in found[2]
    (tmp_path / "shop.yaml").write_text("queues: {a: {typo: 1}}")
    broken = App("memory://", topology=tmp_path / "shop.yaml")
    assert [each.finding.rule for each in lint_app(broken)] == ["BK004"]


def test_an_app_that_contradicts_itself_is_linted_as_far_as_that_goes() -> None:
    app = App("memory://")
    app.declare(Queue("a", max_length=0))

    @app.task(queue="a")
    async def work() -> None: ...

    assert [str(each.finding) for each in lint_app(app)] == ["queues.a.max_length: takes a number >= 1, not 0"]


def test_brokers_that_are_not_known_or_too_old_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="too old"):
        dialect_for("rabbitmq:3.8")
    with pytest.raises(ConfigurationError, match="too old"):
        dialect_for("redis:6.2")
    with pytest.raises(ConfigurationError, match="did you mean 'rabbitmq'"):
        dialect_for("rabitmq")


def test_the_sarif_log_is_what_code_hosts_take(tmp_path: Path) -> None:
    (tmp_path / "a b.yaml").write_text("queues: {q: {dead_letter: false, typo: 1}}")
    app = App("memory://")
    app.declare(Queue("q", dead_letter=False))
    log = as_sarif([*lint_file(tmp_path / "a b.yaml"), *lint_app(app)], "1.2.3")
    jsonschema.validate(log, SARIF)
    run = log["runs"][0]
    assert [result["ruleId"] for result in run["results"]] == ["BK004", "BK109"]
    for result in run["results"]:
        rule = run["tool"]["driver"]["rules"][result["ruleIndex"]]
        assert (rule["id"], rule["defaultConfiguration"]["level"]) == (result["ruleId"], result["level"])
    physical = run["results"][0]["locations"][0]["physicalLocation"]
    assert physical["artifactLocation"]["uri"].endswith("/a%20b.yaml")
    assert physical["region"] == {"startLine": 1, "startColumn": 34}
    assert json.loads(json.dumps(log)) == log


_TEXT = {"type": "object", "required": ["text"], "properties": {"text": {"type": "string"}}}
SARIF: dict[str, Any] = {
    "type": "object",
    "required": ["version", "runs"],
    "properties": {
        "version": {"const": "2.1.0"},
        "$schema": {"type": "string", "format": "uri"},
        "runs": {"type": "array", "items": {"$ref": "#/$defs/run"}},
    },
    "additionalProperties": False,
    "$defs": {
        "run": {
            "type": "object",
            "required": ["tool"],
            "properties": {
                "tool": {
                    "type": "object",
                    "required": ["driver"],
                    "properties": {"driver": {"$ref": "#/$defs/driver"}},
                },
                "columnKind": {"enum": ["utf16CodeUnits", "unicodeCodePoints"]},
                "results": {"type": "array", "items": {"$ref": "#/$defs/result"}},
            },
            "additionalProperties": False,
        },
        "driver": {
            "type": "object",
            "required": ["name"],
            "properties": {
                "name": {"type": "string"},
                "version": {"type": "string"},
                "rules": {"type": "array", "uniqueItems": True, "items": {"$ref": "#/$defs/rule"}},
            },
            "additionalProperties": False,
        },
        "rule": {
            "type": "object",
            "required": ["id"],
            "properties": {
                "id": {"type": "string"},
                "shortDescription": _TEXT,
                "fullDescription": _TEXT,
                "help": _TEXT,
                "defaultConfiguration": {"properties": {"level": {"enum": ["none", "note", "warning", "error"]}}},
            },
            "additionalProperties": False,
        },
        "result": {
            "type": "object",
            "required": ["message"],
            "properties": {
                "ruleId": {"type": "string"},
                "ruleIndex": {"type": "integer", "minimum": -1},
                "level": {"enum": ["none", "note", "warning", "error"]},
                "message": _TEXT,
                "locations": {"type": "array", "items": {"$ref": "#/$defs/location"}},
                "partialFingerprints": {"type": "object", "additionalProperties": {"type": "string"}},
            },
            "additionalProperties": False,
        },
        "location": {
            "type": "object",
            "properties": {
                "physicalLocation": {
                    "type": "object",
                    "required": ["artifactLocation"],
                    "properties": {
                        "artifactLocation": {"properties": {"uri": {"type": "string", "format": "uri-reference"}}},
                        "region": {
                            "properties": {
                                "startLine": {"type": "integer", "minimum": 1},
                                "startColumn": {"type": "integer", "minimum": 1},
                            },
                            "additionalProperties": False,
                        },
                    },
                    "additionalProperties": False,
                },
                "logicalLocations": {
                    "type": "array",
                    "items": {"properties": {"fullyQualifiedName": {"type": "string"}}, "additionalProperties": False},
                },
            },
            "additionalProperties": False,
        },
    },
}
"""Of the standard's schema, the objects and properties that are used here."""


def big(queues: int) -> str:
    """A file with four bindings a queue."""
    said = ["exchanges:", *(f"  ex-{n}: {{type: topic}}" for n in range(50)), "queues:"]
    for number in range(queues):
        said += [f"  queue-{number}:", "    retry: {kind: linear, max_retries: 5, initial: 2s}", "    bindings:"]
        said += [f'      - {{exchange: ex-{(number * 4 + n) % 50}, key: "o.{number}.{n}.*"}}' for n in range(4)]
    return "\n".join(said)


def test_what_linting_costs_grows_with_the_file_and_not_faster(tmp_path: Path) -> None:
    """500 queues with 2 000 bindings are to take less than half a second of a process, most of which is its start."""
    costs = []
    for queues in (125, 500):
        file = tmp_path / f"{queues}.yaml"
        file.write_text(big(queues))
        work = partial(lint_file, file, [dialect_for("rabbitmq:4.3")])
        costs.append(min(cpu(work) for _ in range(3)))
    assert costs[1] < 8 * costs[0]
    # Beside what reading such a file into plain values takes, wherever this runs.
    text = (tmp_path / "500.yaml").read_text()
    reading = min(cpu(lambda: parse_yaml(text, "f")) for _ in range(3))
    assert costs[1] < 10 * reading


def cpu(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start
