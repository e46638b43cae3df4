"""``brokerkit doctor``: what is wrong, what to do, and an exit code; against the brokers there are."""

import json
import os
import uuid
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from redis.asyncio import Redis

from brokerkit import App, Queue, Topology
from brokerkit.checkup import Check, Verdict, clock_check, tls_check
from brokerkit.operations.doctor import examine
from brokerkit.operations.lint import rules
from tests.brokers import broker_url
from tests.cli.programs import run
from tests.rabbitmq.plain import plain

SHOP = "from brokerkit import App, Queue\napp = App({url!r}, name='shop', store=None)\napp.declare(Queue({queue!r}))\n"


def parsed(directory: Path, *arguments: str, code: int = 0) -> dict[str, dict[str, dict[str, str]]]:
    """The checks by subject's first word and topic."""
    done = run(directory, "doctor", *arguments, "--json")
    assert done.returncode == code, done.stderr + done.stdout
    return {
        each["subject"].split()[0]: {check["topic"]: check for check in each["checks"]}
        for each in json.loads(done.stdout)
    }


async def test_a_sound_file_is_well_and_an_open_one_is_not(tmp_path: Path) -> None:
    file = tmp_path / "shop.db"
    async with App(f"sqlite:///{file}", name="shop"):
        pass
    checks = parsed(tmp_path, "--url", "sqlite:///shop.db", "--strict")["broker"]
    assert {topic: check["verdict"] for topic, check in checks.items()} == dict.fromkeys(
        ["connection", "abilities", "version", "file", "permissions", "disk", "persistence", "integrity", "clock"], "ok"
    )
    file.chmod(0o666)
    open_to_all = parsed(tmp_path, "--url", "sqlite:///shop.db", "--strict", code=1)["broker"]["permissions"]
    assert (open_to_all["verdict"], open_to_all["fix"]) == ("warning", "chmod o-rw shop.db")
    text = run(tmp_path, "doctor", "--url", "sqlite:///shop.db").stdout.splitlines()
    assert text[0] == "broker sqlite:///shop.db"
    assert "  warning  permissions  everybody on this machine may write it" in text
    assert "                        -> chmod o-rw shop.db" in text


def test_a_damaged_file_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "shop.db").write_bytes(b"SQLite format 3\0" + b"\x01" * 8000)
    checks = parsed(tmp_path, "--url", "sqlite:///shop.db", code=1)["broker"]
    assert checks["connection"]["verdict"] == "problem"


def test_nobody_there_is_a_problem_and_not_an_error(tmp_path: Path) -> None:
    checks = parsed(tmp_path, "--url", "redis://:secret@127.0.0.1:9", code=1)["broker"]
    assert checks.keys() == {"connection"}
    assert "cannot be reached" in checks["connection"]["text"]


def test_no_password_is_shown(tmp_path: Path) -> None:
    url = "amqp://me:secret@127.0.0.1:9/?connect_timeout=1&management=http://me:secret@127.0.0.1:9"
    done = run(tmp_path, "doctor", "--url", url)
    assert done.returncode == 1
    assert "secret" not in done.stdout + done.stderr


def test_clocks_that_differ_are_told_in_which_direction(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: 1001.0)
    assert clock_check(1000.5, 1000.0).verdict is Verdict.OK
    assert clock_check(1031.5, 1000.0).text == "31.0 s ahead of this machine's"
    assert clock_check(900.5, 1000.0).text == "100.0 s behind this machine's"
    monkeypatch.setattr("time.time", lambda: 1010.0)
    assert clock_check(1000.0, 1000.0).verdict is Verdict.OK, "the answer took ten seconds, so nothing is certain"


def test_what_leaves_the_machine_is_to_be_encrypted() -> None:
    assert [tls_check(*given, "fix").verdict for given in ((True, "far"), (False, "localhost"), (False, "far"))] == [
        Verdict.OK,
        Verdict.OK,
        Verdict.WARNING,
    ]


@pytest.mark.broker
@pytest.mark.parametrize("edition", ["redis", "redis-newer", "valkey"])
def test_redis_says_whether_it_keeps_what_it_is_given(tmp_path: Path, edition: str) -> None:
    checks = parsed(tmp_path, "--url", broker_url(edition))["broker"]
    assert checks.keys() >= {"version", "replicas", "tls", "eviction", "memory", "persistence", "clock"}
    assert (checks["eviction"]["verdict"], checks["clock"]["verdict"]) == ("ok", "ok")


@pytest.mark.parametrize(
    ("said", "verdict", "words"),
    [
        ({"maxmemory_policy": "allkeys-lru", "maxmemory": "1000"}, Verdict.PROBLEM, "removes queues with the messages"),
        ({"maxmemory_policy": "allkeys-lru", "maxmemory": "0"}, Verdict.OK, "no limit of memory"),
        ({"maxmemory_policy": "noeviction", "maxmemory": "1000"}, Verdict.OK, "refuses, and removes nothing"),
        ({}, Verdict.UNKNOWN, "does not say"),
    ],
)
def test_a_server_that_evicts_is_a_problem(said: dict[str, str], verdict: Verdict, words: str) -> None:
    from brokerkit.transports.redis.checkup import _eviction

    check = _eviction(said)
    assert check.verdict is verdict
    assert words in check.text


@pytest.mark.broker
async def test_keys_of_another_program_in_the_place_of_a_queue_are_a_problem() -> None:
    url, name = broker_url("redis"), f"doctor-{uuid.uuid4().hex[:8]}"
    client: Any = Redis.from_url(url)
    key = f"bk:{{{name}}}:{name}:0"
    app = App(url, name="shop", topology=Topology("shop", queues=[Queue(name)]))
    try:
        await client.set(key, "theirs")
        (found,) = await examine(app)
        assert found.verdict is Verdict.PROBLEM
        assert [check.text for check in found.checks if check.topic == "queues"] == [
            f"{key}: another program's, and no streams"
        ]
    finally:
        await client.delete(key)
        await client.aclose()


@pytest.mark.broker
async def test_rabbitmq_is_compared_with_the_app_and_nothing_is_declared(tmp_path: Path) -> None:
    url, name = broker_url("rabbitmq"), f"doctor-{uuid.uuid4().hex[:8]}"
    (tmp_path / "shop.py").write_text(SHOP.format(url=url, queue=name))
    checks = parsed(tmp_path, "--app", "shop")["broker"]
    assert checks["queues"]["text"] == "0 of 2 are there as declared, 2 will be created when the app is opened"
    assert checks["management"]["verdict"] == "unknown"
    assert checks["permissions"]["verdict"] == "ok"
    async with plain(url) as broker:
        channel = await broker.connection.channel()
        await channel.queue_declare(name, durable=True, arguments={"x-queue-type": "classic"})
        try:
            found = parsed(tmp_path, "--app", "shop", code=1)["broker"]["queue"]
            assert found["text"].startswith(f"{name} has x-queue-type = 'classic' instead of 'quorum'")
        finally:
            await channel.queue_delete(name)


@pytest.mark.broker
def test_rabbitmq_with_its_management_api_tells_of_nodes_alarms_and_flags(tmp_path: Path) -> None:
    url, api = broker_url("rabbitmq-newer"), os.environ.get("BROKERKIT_TEST_RABBITMQ_MANAGEMENT", "")
    if not api:
        pytest.skip("no management API: set BROKERKIT_TEST_RABBITMQ_MANAGEMENT")
    checks = parsed(tmp_path, "--url", f"{url}?management={quote(api, safe='')}")["broker"]
    assert {
        topic: checks[topic]["verdict"] for topic in ("alarms", "nodes", "feature flags", "clock")
    } == dict.fromkeys(["alarms", "nodes", "feature flags", "clock"], "ok")


@pytest.mark.broker
@pytest.mark.parametrize("edition", ["postgresql", "mariadb"])
def test_databases_say_whether_a_commit_is_on_disk(tmp_path: Path, edition: str) -> None:
    (tmp_path / "shop.py").write_text(
        f"from brokerkit import App\napp = App('memory://', store={broker_url(edition) + '?prefix=doctor_'!r})\n"
    )
    checks = parsed(tmp_path, "--app", "shop")["store"]
    assert checks.keys() >= {"version", "clock", "tls", "persistence", "permissions"}
    assert (checks["version"]["verdict"], checks["permissions"]["verdict"]) == ("ok", "ok")


@pytest.mark.broker
def test_lint_against_a_live_broker_tells_what_is_not_right_with_it(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("logs: {}\nqueues: {q: {}}")
    done = run(tmp_path, "topology", "lint", "a.yaml", "--url", broker_url("redis"), "--json")
    found = json.loads(done.stdout)
    assert done.returncode == 0
    assert {each["rule"] for each in found["findings"]} <= {"BK902"}, "how it persists is the machine's matter"
    assert {rules()[code].severity for code in ("BK901", "BK902")} == {"error", "warning"}


def test_a_check_without_a_fix_is_one_line() -> None:
    from brokerkit.cli.doctor import described
    from brokerkit.operations.doctor import Findings

    checks = (Check("clock", Verdict.OK, "fine"), Check("tls", Verdict.PROBLEM, "none\x1b[31m", "use it"))
    lines = list(described([Findings("broker", checks)]))
    assert len(lines) == 4
    assert "\x1b[31m" not in lines[2].split("none")[1]
