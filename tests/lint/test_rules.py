"""Each rule finds what it is for, and has a section that explains it."""

import re
from pathlib import Path

import pytest

from brokerkit.operations.dialects import dialect_for
from brokerkit.operations.lint import lint_file, rules
from tests.architecture.sources import load_package

TOPIC = "exchanges: {e: {type: topic}}\n"
HEADERS = "exchanges: {e: {type: headers}}\n"
LOG = "exchanges: {e: {type: fanout}}\nlogs: {l: {bindings: [{exchange: e}], retention: 1d, "


def queue(fields: str, exchange: str = "") -> str:
    return f"{exchange}queues: {{q: {{{fields}}}}}"


def bound(binding: str, exchange: str) -> str:
    return queue(f"bindings: [{binding}]", exchange)


OLD, MIDDLE, NEW = "rabbitmq:3.10", "rabbitmq:4.0", "rabbitmq:4.3"
CASES: list[tuple[str, str, str, str]] = [
    ("BK001", "a: b: c", "", ":1:5"),
    ("BK002", "includes: [/etc/passwd]", "", ":1:12"),
    ("BK004", queue("typo: 1"), "", "queues.q.typo"),
    ("BK005", queue("strict: yes"), "", "queues.q.strict"),
    ("BK006", queue("max_length: 0"), "", "queues.q.max_length"),
    ("BK007", "queues: {bk.q: {}}", "", "queues.bk.q"),
    ("BK008", "queues: {q: {}}\nlogs: {q: {}}", "", "logs.q"),
    ("BK009", queue("bindings: [{exchange: x}]"), "", "queues.q.bindings[0].exchange"),
    ("BK010", bound("{exchange: e, key: a*}", TOPIC), "", "queues.q.bindings[0].key"),
    ("BK011", "exchanges: {a: {alternate: b}, b: {alternate: a}}", "", "exchanges.a.alternate"),
    ("BK012", "exchanges: {q.dead: {}}\nqueues: {q: {}}", "", "queues.q.dead_letter"),
    ("BK013", queue("dead_letter: {name: q}"), "", "queues.q.dead_letter"),
    ("BK014", "queues: {payments: {}}\noverlays: {p: {queues: {payment: {}}}}", "", "queues.payment"),
    ("BK015", "name: a  # brokerkit: ignore[BK999]", "", ":1:10"),
    ("BK101", TOPIC, "", "exchanges.e"),
    ("BK102", bound("{exchange: e, key: a.*}", "exchanges: {e: {}}\n"), "", "queues.q.bindings[0].key"),
    ("BK103", bound("{exchange: e, key: a}", "exchanges: {e: {type: fanout}}\n"), "", "queues.q.bindings[0].key"),
    ("BK104", bound("{exchange: e, headers: {x-a: 1}}", HEADERS), "", "queues.q.bindings[0]"),
    ("BK105", bound("{exchange: e, key: '#'}, {exchange: e, key: a}", TOPIC), "", "queues.q.bindings[1]"),
    ("BK106", "logs: {l: {}}", "", "logs.l"),
    ("BK107", "logs: {l: {retention: 1d}}", "", "logs.l"),
    ("BK108", queue("max_wait: 1s"), "", "queues.q.max_wait"),
    ("BK109", queue("dead_letter: false"), "", "queues.q.dead_letter"),
    ("BK201", f"{LOG}history: true}}}}", OLD, "logs.l.history"),
    ("BK202", f"{LOG}max_length: 5, hold_for_groups: true}}}}", NEW, "logs.l.hold_for_groups"),
    ("BK203", queue("retry: {kind: fixed, initial: 100d}"), OLD, "queues.q.retry"),
    ("BK204", queue("timeout: 31m"), NEW, "queues.q.timeout"),
    ("BK205", queue("rabbitmq: {native_priority: true}"), "redis:7", "queues.q.rabbitmq"),
    ("BK207", f"{LOG}history: true}}}}\ngroups: {{l@g: {{start: '1-0'}}}}", "sqlite", "groups.l@g.start"),
    (
        "BK320",
        "queues: {a: {dead_letter: {name: b}, redis: {hash_tag: x}}, b: {}}",
        "redis+cluster:7",
        "queues.a.dead_letter",
    ),
    ("BK301", "queues: {q: {priorities: 2}, q.lane.1: {}}", OLD, "queues.q.lane.1"),
    ("BK302", queue("rabbitmq: {arguments: {x-max-length: 5}}"), OLD, "queues.q.rabbitmq.arguments.x-max-length"),
    ("BK303", queue("rabbitmq: {arguments: {x-queue-mode: lazy}}"), NEW, "queues.q.rabbitmq.arguments.x-queue-mode"),
    ("BK304", queue("rabbitmq: {arguments: {x-consumer-timeout: 5}}"), OLD, "x-consumer-timeout"),
    ("BK305", queue("message_ttl: 4000d"), OLD, "queues.q.message_ttl"),
    ("BK306", bound("{exchange: e, key: '#.a.#.b.#'}", TOPIC), NEW, "queues.q.bindings[0].key"),
    ("BK307", bound("{exchange: e, headers: {a: 0.1}}", HEADERS), OLD, "queues.q.bindings[0].headers.a"),
    ("BK308", queue("rabbitmq: {native_priority: true}"), OLD, "queues.q.rabbitmq.native_priority"),
    ("BK309", queue("rabbitmq: {native_priority: true}"), MIDDLE, "queues.q.rabbitmq.native_priority"),
    ("BK310", queue("priorities: 3, max_length: 5"), OLD, "queues.q.max_length"),
    ("BK311", queue("max_length: 5, bindings: [{exchange: e, key: a}]", TOPIC), OLD, "queues.q.max_length"),
    ("BK312", queue("type: classic"), OLD, "queues.q.type"),
    ("BK313", bound("{exchange: e}", "exchanges: {e: {durable: false}}\n"), OLD, "exchanges.e.durable"),
]
ELSEWHERE = {"BK003", "BK110", "BK901", "BK902"}
"""What no file alone can break: tested beside the environments, the app and the live brokers."""


@pytest.mark.parametrize(("code", "text", "broker", "where"), CASES, ids=[case[0] for case in CASES])
def test_a_rule_finds_what_it_is_for_where_it_stands(
    tmp_path: Path, code: str, text: str, broker: str, where: str
) -> None:
    file = tmp_path / "it.yaml"
    file.write_text(text)
    found = {each.finding.rule: each for each in lint_file(file, [dialect_for(broker)] if broker else [])}
    assert code in found, f"it finds {sorted(found)}"
    assert where in f"{found[code].place} {found[code].finding}"
    assert found[code].place is not None
    assert bool(found[code].brokers) == bool(broker)


def test_every_rule_has_a_case_and_every_code_a_section() -> None:
    source = "".join(module.source for module in load_package().values())
    used = set(re.findall(r'"(BK\d{3})"', source))
    assert used == rules().keys()
    assert {case[0] for case in CASES} | ELSEWHERE == rules().keys()


def test_every_section_says_why_and_what_to_do() -> None:
    for rule in rules().values():
        assert 60 < len(rule.text) < 700, rule.code
        assert "\n#" not in rule.text, "nothing of the next part"


@pytest.mark.parametrize(
    "broker", ["", "rabbitmq:3.10", "rabbitmq:4.3", "redis:7", "redis+cluster:8", "valkey:9", "sqlite"]
)
def test_a_plain_topology_is_nothing_to_complain_of(tmp_path: Path, broker: str) -> None:
    (tmp_path / "it.yaml").write_text(
        TOPIC + "queues: {q: {bindings: [{exchange: e, key: a.*}], priorities: 3, max_wait: 1m, timeout: 30m}}\n"
        "logs: {l: {bindings: [{exchange: e, key: '#'}], retention: 7d}}\ngroups: {l@g: {}}"
    )
    assert lint_file(tmp_path / "it.yaml", [dialect_for(broker)] if broker else []) == []
