"""Queues, dead letters and tasks, as an operator sees them; the app's broker is one SQLite file."""

import json
from pathlib import Path
from typing import Any

import pytest

from brokerkit import App, Exchange, GiveUp, Log, Queue, Retry
from tests.cli.programs import run, send

payments = Queue("payments", priorities=3)


async def refuse(order: str) -> None:
    raise GiveUp("the card is \x1b[31mrefused")


@pytest.fixture
async def letters(shop: Path) -> list[str]:
    """Three dead letters in payments, oldest first."""
    app = App(f"sqlite:///{shop / 'shop.db'}", name="shop")
    task = app.task(queue=payments)(refuse)
    async with app, app.worker(concurrency=1):
        handles = [await task.send(f"o-{n}") for n in range(3)]
        for handle in handles:
            with pytest.raises(Exception, match="refused"):
                await handle.result(timeout=20)
    return [handle.id for handle in handles]


def test_queue_stats_counts_by_lane(shop: Path) -> None:
    send(shop, "refuse", "o-1")
    found = parsed(shop, "queue", "stats", "--app", "shop")["queues"]
    assert [(each["queue"], each["ready"]) for each in found] == [("default", 0), ("payments", 1)]
    assert [lane["ready"] for lane in found[1]["lanes"]] == [0, 1, 0]
    assert set(found[1]) == {"queue", "ready", "in_flight", "delayed", "dead", "consumers", "lanes", "lost"}
    text = run(shop, "queue", "stats", "payments", "--url", "sqlite:///shop.db").stdout
    assert text.splitlines()[0].split() == ["queue", "ready", "in", "flight", "delayed", "dead", "consumers"]
    assert "  lane 2      0" in text


async def test_groups_have_stats_too(shop: Path) -> None:
    orders = Exchange("orders", type="topic")
    app = App(f"sqlite:///{shop / 'shop.db'}", name="other")

    @app.subscribe(Log("history", bindings=[orders.bind("#")]), group="fraud")
    async def check(event: dict[str, int]) -> None: ...

    async with app:
        await app.publish({"n": 1}, exchange=orders, routing_key="a")
    assert parsed(shop, "queue", "stats", "history@fraud", "--url", "sqlite:///shop.db")["queues"][0]["ready"] == 1


def test_an_unknown_queue_is_one_line_with_those_there_are(shop: Path) -> None:
    done = run(shop, "queue", "stats", "fly", "--app", "shop")
    assert (done.returncode, done.stderr) == (
        1,
        "Error: there is no queue or group 'fly'; shop has default, payments\n",
    )
    done = run(shop, "dlq", "list", "fly", "--url", "sqlite:///shop.db")
    assert done.returncode == 1
    assert "there is no queue or group 'fly' at sqlite:///shop.db" in done.stderr


def test_dead_letters_are_listed_without_payload_and_shown_with_it(shop: Path, letters: list[str]) -> None:
    listed = parsed(shop, "dlq", "list", "payments", "--each", "--app", "shop", "--limit", "2")
    assert (listed["total"], [each["id"] for each in listed["entries"]]) == (3, letters[:2])
    assert listed["entries"][0]["reason"] == "gave_up"
    assert "body" not in listed["entries"][0]
    shown = parsed(shop, "dlq", "show", "payments", letters[0], "--app", "shop")
    assert shown["body"] == {"order": "o-0"}
    assert shown["traceback"] == "", "the task gave up by itself"


async def test_a_dead_letter_is_shown_with_the_traceback_that_its_record_has(shop: Path) -> None:
    app = App(f"sqlite:///{shop / 'shop.db'}", name="shop")

    @app.task(queue=payments, retry=Retry.none())
    async def divide() -> float:
        return 1 / 0

    async with app, app.worker():
        handle = await divide.send()
        with pytest.raises(Exception, match="division"):
            await handle.result(timeout=20)
    command = ("dlq", "show", "payments", handle.id, "--url", "sqlite:///shop.db")
    assert "in divide" in parsed(shop, *command)["traceback"]
    text = run(shop, *command).stdout
    assert "the last one's traceback" in text
    assert "return 1 / 0" in text


def test_control_characters_of_messages_do_not_reach_the_terminal(shop: Path, letters: list[str]) -> None:
    for command in (["list", "payments"], ["list", "payments", "--each"], ["show", "payments", letters[0]]):
        text = run(shop, "dlq", *command, "--app", "shop").stdout
        assert "refused" in text
        assert "\x1b" not in text


def test_a_redrive_takes_what_it_is_told(shop: Path, letters: list[str]) -> None:
    url = ["--url", "sqlite:///shop.db"]
    assert parsed(shop, "dlq", "redrive", "payments", "--ids", letters[1], *url) == {"queue": "payments", "redriven": 1}
    assert parsed(shop, "dlq", "redrive", "payments", "--limit", "1", *url)["redriven"] == 1
    left = parsed(shop, "dlq", "list", "payments", "--each", *url)["entries"]
    assert [each["id"] for each in left] == [letters[2]]
    done = run(shop, "dlq", "redrive", "payments", "--ids", f"{letters[2]},absent", *url)
    assert (done.returncode, done.stdout) == (1, "1 message sent back to payments.\n")
    assert "1 of the 2 ids are no dead letters of payments" in done.stderr


def test_a_task_is_found_and_cancelled_once(shop: Path) -> None:
    task_id = send(shop, "note", "hello")
    record = parsed(shop, "task", "status", task_id, "--app", "shop")
    assert (record["id"], record["name"], record["status"]) == (task_id, "note", "PENDING")
    assert run(shop, "task", "status", task_id, "--url", "sqlite:///shop.db").stdout.startswith("PENDING\n")
    assert parsed(shop, "task", "cancel", task_id, "--app", "shop") == {"id": task_id, "answer": "cancelled"}
    done = run(shop, "task", "cancel", task_id, "--app", "shop")
    assert (done.returncode, done.stderr) == (1, f"Error: too late to cancel '{task_id}': it is CANCELLED already\n")


@pytest.mark.parametrize("command", ["status", "cancel"])
def test_an_unknown_task_is_one_line(shop: Path, command: str) -> None:
    done = run(shop, "task", command, "absent", "--app", "shop")
    assert done.returncode == 1
    assert done.stderr.startswith("Error: no task 'absent' is known here; check the id and the broker")
    assert done.stderr.count("\n") == 1


def parsed(directory: Path, *arguments: str) -> Any:
    done = run(directory, *arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
