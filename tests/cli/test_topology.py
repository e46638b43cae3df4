"""``brokerkit topology``: what it prints, and its exit codes."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from click.testing import CliRunner, Result

from brokerkit import App, Exchange, Queue
from brokerkit.cli import commands
from tests.cli.programs import run

SHOP = """\
name: shop
exchanges:
  orders: {type: topic, alternate: rest}
  audit: {type: headers, bindings: [{exchange: orders, key: "order.#"}]}
  rest: {type: fanout}
queues:
  eu: {bindings: [{exchange: orders, key: order.eu.*}], priorities: 3, dead_letter: {name: parking}}
  vip: {bindings: [{exchange: audit, headers: {vip: true, tier: "1"}}]}
  us: {bindings: [{exchange: orders, key: order.us.*}], timeout: 2h}
  parking: {bindings: [{exchange: rest}], dead_letter: false}
logs:
  history: {bindings: [{exchange: orders, key: "#"}], retention: 7d}
groups: {history@fraud: {}, history@billing: {dead_letter: false}}
overlays:
  production: {queues: {eu: {priorities: 5}}}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "shop.yaml"
    path.write_text(SHOP)
    return path


def invoke(*arguments: object) -> Result:
    return CliRunner(catch_exceptions=False).invoke(commands, ["topology", *map(str, arguments)])


def parsed(*arguments: object) -> Any:
    done = invoke(*arguments)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


# lint


def test_lint_prints_a_line_for_each_finding_and_a_summary(file: Path) -> None:
    done = invoke("lint", file, "--broker", "rabbitmq:4.3", "--broker", "rabbitmq:3.10")
    assert (done.exit_code, done.stdout.replace(f"{file.parent}/", "").splitlines()) == (
        0,
        [
            (
                "shop.yaml:9:57: warning BK204 queues.us.timeout: the broker takes back what is not acknowledged "
                "within 1800 s, and this may run 7200 s; raise consumer_timeout there and in the URL, or split the "
                "work [rabbitmq 3.10, rabbitmq 4.3]"
            ),
            "1 warning in 1 file",
        ],
    )
    assert invoke("lint", file, "--strict", "--broker", "rabbitmq").exit_code == 1
    assert invoke("lint", file, "--strict", "--broker", "rabbitmq", "--ignore", "BK204").exit_code == 0
    assert invoke("lint", file, "--strict", "--broker", "rabbitmq", "--ignore", "BK204=queues.eu").exit_code == 1


def test_lint_of_a_wrong_file_fails_with_all_its_problems(file: Path) -> None:
    file.write_text("queues: {q: {colour: 1, max_length: 0}}")
    done = invoke("lint", file)
    assert (done.exit_code, done.stderr) == (1, "")
    assert done.stdout.splitlines()[-1] == "2 errors in 1 file"
    found = json.loads(invoke("lint", file, "--json").stdout)
    assert (found["errors"], found["warnings"]) == (2, 0)
    assert found["findings"][0] == {
        "rule": "BK004", "severity": "error", "file": str(file), "line": 1, "column": 14, "path": "queues.q.colour",
        "text": "no such field; there are " + ", ".join(Queue.__struct_fields__[1:]), "brokers": [], "environments": [],
    }  # fmt: skip
    assert json.loads(invoke("lint", file, "--format", "sarif").stdout)["version"] == "2.1.0"


def test_lint_of_an_app_takes_the_broker_of_its_url(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(
        "from brokerkit import App, Log, Exchange\n"
        "app = App('amqp://guest:secret@nowhere/', store=None)\n"
        "events = Exchange('events', type='topic')\n"
        "app.declare(Log('l', bindings=[events.bind('#')], retention=60, history=True))\n"
    )
    done = run(tmp_path, "topology", "lint", "--app", "shop")
    assert done.returncode == 1
    assert "error BK201 logs.l.history: on RabbitMQ a log begins for a group" in done.stdout
    assert done.stdout.splitlines()[-1] == "1 error in 1 app"
    assert "secret" not in done.stdout + done.stderr


def test_lint_explains_its_rules() -> None:
    page = invoke("lint", "--explain", "bk109").stdout
    assert page.startswith("BK109 (warning): what is given up is discarded\n\nWith `dead_letter: false` a message")
    listed = invoke("lint", "--explain").stdout.splitlines()
    assert len(listed) == 47
    assert "BK305  error    a time longer than ten years" in listed
    done = invoke("lint", "--explain", "BK999")
    assert (done.exit_code, "there is no rule 'BK999'" in done.stderr) == (2, True)


# explain

GOLDEN = """\
exchange orders (topic)
  -> exchange audit  by 'order.#'
  -> log history  by '#'
  -> queue eu  by 'order.eu.*'
  1 other binding does not match
exchange audit (headers)
  -> queue vip  by all of vip=True, tier='1'
due in 90s; on rabbitmq 4.3 it waits in bk.d.9, bk.d.8, bk.d.7, bk.d.2, bk.d.out
delivered to
  queue eu, lane 2 of 0..2 = eu.lane.2; when given up -> parking
  log history
  group history@fraud; when given up -> history@fraud.dead
  group history@billing; when given up -> nothing: it is discarded
  queue vip; when given up -> vip.dead
"""


def test_explain_tells_the_way_of_a_message_step_by_step(file: Path) -> None:
    message = ["--key", "order.eu.new", "--header", "vip=true", "--header", 'tier="1"']
    more = ["--priority", "high", "--delay", "90s", "--broker", "rabbitmq:4.3"]
    done = invoke("explain", file, "--exchange", "orders", *message, *more)
    assert (done.exit_code, done.stdout) == (0, GOLDEN)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--exchange", "orders", "--key", "x.y"], 0, "-> log history  by '#'\n  3 other bindings do not match"),
        (
            ["--exchange", "audit", "--header", "vip=1"],
            1,
            "nothing matches\nunroutable: it reaches no queue and no log",
        ),
        (["--exchange", "audit", "--header", "vip=true", "--header", "tier=1"], 1, "unroutable"),
        (["--exchange", "rest"], 0, "queue parking, a dead-letter queue"),
        (["--queue", "eu"], 0, "exchange (default) (direct)\n  -> queue eu\ndelivered to\n  queue eu, lane 1 of 0..2"),
        (["--queue", "eu", "--priority", "9", "--delay", "2", "--broker", "redis:7"], 0, "bk:{parking}:eu:delayed"),
        (["--queue", "eu", "--env", "production", "--priority", "9"], 0, "queue eu, lane 4 of 0..4"),
        (["--queue", "nobody"], 1, "unroutable"),
    ],
)
def test_explain_of_single_questions(file: Path, arguments: list[str], code: int, words: str) -> None:
    done = invoke("explain", file, *arguments)
    assert done.exit_code == code
    assert words in done.stdout


def test_explain_names_the_alternate_that_takes_what_nothing_else_does(file: Path) -> None:
    file.write_text(SHOP.replace('logs:\n  history: {bindings: [{exchange: orders, key: "#"}]', "logs:\n  history: {"))
    file.write_text(file.read_text().replace("{, ret", "{ret"))
    done = invoke("explain", file, "--exchange", "orders", "--key", "x")
    assert "  -> exchange rest  its alternate, because nothing matches\nexchange rest (fanout)" in done.stdout


def test_explain_for_scripts(file: Path) -> None:
    found = parsed("explain", file, "--exchange", "orders", "--key", "order.us.x", "--json")
    assert [step["exchange"] for step in found["steps"]] == ["orders", "audit"]
    assert [(each["kind"], each["name"]) for each in found["destinations"]] == [
        ("log", "history"), ("group", "history@fraud"), ("group", "history@billing"), ("queue", "us"),
    ]  # fmt: skip


# show, schema, graph, export


def test_show_puts_everything_together(file: Path) -> None:
    shown = yaml.safe_load(invoke("show", file, "--env", "production").stdout)
    assert shown["queues"]["eu"]["priorities"] == 5
    assert "us.dead" in yaml.safe_load(invoke("show", file, "--implied").stdout)["queues"]
    assert invoke("show", file, "--format", "toml").stdout.startswith('name = "shop"\n\n[exchanges.orders]\n')
    assert parsed("show", file, "--json")["logs"][0]["retention"] == 604800.0


async def test_show_tells_what_a_broker_remembers(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'shop.db'}"
    app = App(url, name="shop")
    app.declare(Queue("mail", bindings=[Exchange("events").bind("sent")]))
    async with app:
        pass
    shown = yaml.safe_load(run(tmp_path, "topology", "show", "--url", url).stdout)
    assert shown["queues"] == {"mail": {"bindings": [{"exchange": "events", "key": "sent"}]}}


def test_the_printed_schema_is_one(file: Path) -> None:
    schema = parsed("schema")
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.Draft202012Validator(schema).validate(yaml.safe_load(SHOP))


@pytest.mark.parametrize(
    ("form", "begin"),
    [("mermaid", "flowchart LR\n"), ("dot", 'digraph "shop" {'), ("svg", "<svg "), ("html", "<!doctype html>")],
)
def test_graph_draws_in_four_forms(file: Path, form: str, begin: str) -> None:
    assert invoke("graph", file, "--format", form).stdout.startswith(begin)
    done = invoke("graph", file, "--format", form, "-o", file.with_name("picture"))
    assert (done.exit_code, done.stdout) == (0, "")
    assert file.with_name("picture").read_text().startswith(begin)


async def test_graph_shows_what_is_in_the_queues_of_a_live_broker(file: Path, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'shop.db'}"
    app = App(url, name="shop", topology=file)
    async with app:
        for _ in range(3):
            await app.publish({"n": 1}, exchange="orders", routing_key="order.us.new")
    drawn = run(tmp_path, "topology", "graph", "shop.yaml", "--url", url).stdout
    assert '["us<br/>3 ready"]' in drawn
    assert '(["fraud<br/>3 ready"])' in drawn
    assert '["vip<br/>empty"]' in drawn


def test_export_prints_definitions_and_asyncapi(file: Path) -> None:
    found = parsed("export", file, "--format", "rabbitmq", "--broker", "rabbitmq:3.13", "--vhost", "shop")
    assert {queue["name"] for queue in found["queues"]} >= {"eu", "eu.lane.0", "eu.lane.2", "parking", "history@fraud"}
    assert parsed("export", file, "--format", "asyncapi", "--api-version", "2.0.0")["info"] == {
        "title": "shop", "version": "2.0.0",
    }  # fmt: skip


@pytest.mark.parametrize("command", ["show", "graph", "explain --queue a", "export --format rabbitmq"])
def test_a_wrong_file_is_told_line_by_line_by_every_command(tmp_path: Path, command: str) -> None:
    file = tmp_path / "shop.toml"
    file.write_text("[queues.q]\ntypo = 1\nstrict = 3\n")
    name, *options = command.split()
    done = invoke(name, file, *options)
    assert done.exit_code == 2
    first, second, last = done.stderr.splitlines()
    assert first.startswith(f"{file}:2:1: queues.q.typo: no such field")
    assert second.startswith(f"{file}:3:1: queues.q.strict: expected bool")
    assert last.startswith(f"Error: 2 problems in {file}; brokerkit topology lint --explain CODE")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["show"], "name a file (topologies/shop.yaml), or say which app"),
        (["show", "a.yaml", "--app", "b"], "give a file or --app, not both"),
        (["show", "--app", "b", "--env", "production"], "--env is for a file"),
        (["show", "absent.yaml"], "1 problem in absent.yaml"),
        (["lint"], "name files (topologies/*.yaml), or an app"),
        (["lint", "a.yaml", "--broker", "kafka"], "no broker 'kafka' is known"),
        (["lint", "a.yaml", "--broker", "rabbitmq:3.8"], "RabbitMQ 3.8 is too old"),
        (["lint", "a.yaml", "--ignore", "BK009"], "BK009 is an error and cannot be ignored"),
        (["explain", "shop.yaml"], "say where it is sent: --exchange or --queue"),
        (["explain", "shop.yaml", "--queue", "eu", "--priority", "11"], "priority takes 0 to 9"),
        (["explain", "shop.yaml", "--queue", "eu", "--delay", "soon"], "takes a duration"),
        (["explain", "shop.yaml", "--queue", "eu", "--header", "x"], "takes name=value"),
        (
            ["explain", "shop.yaml", "--queue", "eu", "--delay", "90d", "--broker", "rabbitmq"],
            "delays by 6710886 s at most",
        ),
        (["explain", "shop.yaml", "--exchange", "oders"], "did you mean 'orders'?"),
        (["export", "shop.yaml", "--format", "rabbitmq", "--broker", "sqlite"], "only RabbitMQ has definitions"),
        (["export", "shop.yaml"], "Missing option '--format'"),
    ],
)
def test_a_wrong_command_line_is_one_line(
    file: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], words: str
) -> None:
    monkeypatch.chdir(file.parent)
    done = invoke(*arguments)
    assert done.exit_code == 2
    assert words in done.stderr
    assert done.stderr.splitlines()[-1].startswith("Error: ")
