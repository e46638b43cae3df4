"""``brokerkit topology plan``, ``apply``, ``diff`` and ``drift``: what they print, and their exit codes."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from brokerkit.cli import commands
from tests.brokers import broker_url
from tests.cli.programs import run

SHOP = """\
name: shop
exchanges: {orders: {type: topic}}
queues:
  eu: {bindings: [{exchange: orders, key: "eu.#"}], priorities: 3}
  us: {bindings: [{exchange: orders, key: "us.#"}], max_length: 100}
logs: {history: {bindings: [{exchange: orders, key: "#"}], retention: 7d}}
groups: {history@fraud: {dead_letter: false}}
"""
LATER = """\
name: shop
exchanges: {orders: {type: topic}, audit: {type: fanout}}
queues:
  eu: {bindings: [{exchange: orders, key: "europe.#"}], priorities: 2}
logs: {history: {bindings: [{exchange: orders, key: "#"}], retention: 7d}}
groups: {history@fraud: {dead_letter: false}}
"""

GOLDEN_FIRST = """\
+ create exchange orders
+ create log history
+ create queue eu
+ create queue us
+ create queue eu.dead
+ create queue us.dead
+ create group history@fraud
+ bind orders -> log history by '#'
+ bind orders -> queue eu by 'eu.#'
+ bind orders -> queue us by 'us.#'
7 to create, 3 to bind
"""
GOLDEN_LATER = """\
+ create exchange audit
~ update queue eu  (2 messages, 0 consumers)  risk: low
    priorities: 3 -> 2
+ bind orders -> queue eu by 'europe.#'  (2 messages, 0 consumers)
- unbind orders -> queue eu by 'eu.#'  (2 messages, 0 consumers)  risk: high
    messages of this route no longer reach it
- delete queue us.dead  risk: low
- delete queue us  (1 message, 0 consumers)  risk: loses 1 message
1 to create, 1 to update, 1 to bind, 1 to unbind, 2 to delete; deletes 1 message: only with --allow-data-loss 1
"""
GOLDEN_DIFF = """\
+ exchange audit
  queue eu
-   priorities: 3
+   priorities: 2
+ binding orders -> queue eu by 'europe.#'
- binding orders -> queue eu by 'eu.#'
- queue us.dead
- queue us
"""
SENT = """
import asyncio
from brokerkit import App
from brokerkit.settings import Settings

async def main():
    async with App("sqlite:///shop.db", name="sender") as app:
        for queue, number in (("eu", 1), ("eu", 2), ("us", 3)):
            await app.send("x", {"n": number}, queue=queue)

asyncio.run(main())
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with topologies, in which the commands run."""
    (tmp_path / "shop.yaml").write_text(SHOP)
    (tmp_path / "later.yaml").write_text(LATER)
    (tmp_path / "send.py").write_text(SENT)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def invoke(*arguments: str, url: str = "sqlite:///shop.db") -> Result:
    return CliRunner().invoke(commands, ["topology", *arguments, "--url", url])


def parsed(result: Result) -> Any:
    return json.loads(result.stdout)


def sent(place: Path) -> None:
    import subprocess
    import sys

    subprocess.run([sys.executable, "send.py"], cwd=place, check=True, timeout=60)


def test_a_plan_an_apply_and_the_next_plan(place: Path) -> None:
    first = invoke("plan", "shop.yaml")
    assert (first.exit_code, first.stdout) == (2, GOLDEN_FIRST)
    assert not (place / "shop.db").exists()  # looking made none
    applied = invoke("apply", "shop.yaml")
    assert (applied.exit_code, applied.stdout) == (0, GOLDEN_FIRST + "done: stored the topology of shop\n")
    for command in ("plan", "diff", "drift"):
        assert invoke(command, "shop.yaml").exit_code == 0
    assert invoke("plan", "shop.yaml").stdout == "nothing to do: the broker is as declared\n"
    sent(place)
    later = invoke("plan", "later.yaml", "--prune")
    assert (later.exit_code, later.stdout) == (2, GOLDEN_LATER)
    difference = invoke("diff", "later.yaml")
    assert (difference.exit_code, difference.stdout) == (2, GOLDEN_DIFF)
    additive = invoke("plan", "later.yaml").stdout
    assert "  queue us: no longer declared; stays unless --prune removes it\n" in additive
    assert "delete" not in additive


def test_messages_are_lost_only_when_their_number_is_named(place: Path) -> None:
    assert invoke("apply", "shop.yaml").exit_code == 0
    sent(place)
    refused = invoke("apply", "later.yaml", "--prune")
    assert (refused.exit_code, "--allow-data-loss 1" in refused.stderr) == (1, True)
    assert invoke("apply", "later.yaml", "--prune", "--allow-data-loss", "1").exit_code == 0
    stats = CliRunner().invoke(commands, ["queue", "stats", "eu", "--url", "sqlite:///shop.db", "--json"])
    assert parsed(stats)["queues"][0]["ready"] == 2


def test_a_saved_plan_is_applied_and_refused_when_the_broker_has_changed(place: Path) -> None:
    assert invoke("plan", "shop.yaml", "--out", "plan.json").exit_code == 2
    saved = json.loads((place / "plan.json").read_text())
    assert (saved["brokerkit_plan"], saved["plan"]["changes"][0]["action"]) == (1, "create")
    done = parsed(invoke("apply", "plan.json", "--json"))
    assert (len(done["applied"]["plan"]["changes"]), done["left"]["plan"]["changes"]) == (10, [])
    assert invoke("apply", "plan.json").exit_code == 0
    assert invoke("plan", "later.yaml", "--prune", "--out", "plan.json").exit_code == 2
    assert invoke("apply", "shop.yaml").exit_code == 0
    (place / "more.yaml").write_text(SHOP.replace("us:", "asia: {}\n  us:"))
    assert invoke("apply", "more.yaml").exit_code == 0
    outdated = invoke("apply", "plan.json")
    assert outdated.exit_code == 1
    assert "the broker has changed since this was planned (delete queue asia" in outdated.stderr
    (place / "plan.json").write_text((place / "plan.json").read_text().replace('"us"', '"ux"'))
    assert "was changed after it was made" in invoke("apply", "plan.json").stderr
    assert invoke("apply", "plan.json", "--prune").exit_code == 1


def test_what_goes_wrong_is_exit_code_1_never_2(place: Path) -> None:
    (place / "wrong.yaml").write_text("queues: {a: {priorities: 99}}")
    for arguments in (("plan", "--nonsense"), ("plan", "nowhere.yaml"), ("plan", "wrong.yaml"), ("drift", "shop.yaml")):
        found = invoke(*arguments)
        assert (found.exit_code, "Error: " in found.stderr) == (1, True)
    assert invoke("plan", "shop.yaml", url="redis://127.0.0.1:1/0").exit_code == 1
    assert CliRunner().invoke(commands, ["topology", "plan", "shop.yaml"]).exit_code == 1
    assert CliRunner().invoke(commands, ["topology", "apply", "--help"]).exit_code == 0


def test_an_apps_own_topology_is_planned_where_the_app_is(shop: Path) -> None:
    planned = run(shop, "topology", "plan", "--app", "shop")
    assert planned.returncode == 2
    assert "+ create queue payments" in planned.stdout
    assert run(shop, "topology", "apply", "--app", "shop").returncode == 0
    assert run(shop, "topology", "plan", "--app", "shop").returncode == 0
    assert run(shop, "topology", "drift", "--app", "shop").returncode == 0


@pytest.mark.xdist_group("planning-rabbitmq")
def test_drift_on_rabbitmq_is_what_somebody_has_deleted(place: Path) -> None:
    url = broker_url("rabbitmq")
    name = f"drift-{place.name}".replace("_", "-")
    (place / "shop.yaml").write_text(f"name: {name}\nqueues: {{{name}-a: {{dead_letter: false}}}}\n")
    (place / "nothing.yaml").write_text(f"name: {name}\n")
    assert invoke("apply", "shop.yaml", "--wait", "60", url=url).exit_code == 0
    try:
        assert invoke("drift", "shop.yaml", url=url).exit_code == 0
        delete(url, f"{name}-a")
        drifted = invoke("drift", "--name", name, url=url)
        assert drifted.exit_code == 2
        assert drifted.stdout.startswith(f"+ create queue {name}-a\n")
    finally:
        assert invoke("apply", "nothing.yaml", "--prune", "--wait", "60", url=url).exit_code == 0


def delete(url: str, queue: str) -> None:
    import asyncio

    import aiormq

    async def work() -> None:
        connection = await aiormq.connect(url)
        channel = await connection.channel()
        await channel.queue_delete(queue)
        await connection.close()

    asyncio.run(work())
