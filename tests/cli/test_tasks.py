"""Finding tasks and waiting for them; the app's broker is one SQLite file."""

from __future__ import annotations

import json
import os
import pty
import subprocess
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from brokerkit import App, GiveUp
from brokerkit.cli import commands
from tests.cli.programs import COMMAND, PATIENCE, environment


@pytest.fixture
async def sent(shop: Path) -> dict[str, str]:
    """Ids of four tasks: done, failed, and two that wait."""
    app = App(f"sqlite:///{shop / 'shop.db'}", name="shop")

    @app.task(metadata={"shop": "eu", "tries": 3})
    async def note(word: str) -> str:
        if word == "bad":
            raise GiveUp("the card is \x1b[31mrefused")
        return "secret"

    @app.task(queue="parked", metadata={"shop": "us"})
    async def parked() -> None: ...

    async with app:
        async with app.worker(queues=("default",)):
            done, failed = await app.send_many([note.message("good"), note.message("bad")])
            await app.wait([done, failed], timeout=20)
        first, second = await app.send_many([parked.message(), parked.message()])
    return {"done": done.id, "failed": failed.id, "first": first.id, "second": second.id}


def run(directory: Path, *arguments: str) -> Result:
    """Run a command in this process, on the file in that directory."""
    return CliRunner().invoke(commands, ["task", *arguments, "--url", f"sqlite:///{directory / 'shop.db'}"])


def tasks(directory: Path, *arguments: str) -> Any:
    return json.loads(run(directory, *arguments, "--json").stdout)


def test_tasks_are_listed_by_what_their_records_say(shop: Path, sent: dict[str, str]) -> None:
    def ids(*arguments: str) -> list[str]:
        return [each["id"] for each in tasks(shop, "list", *arguments)["tasks"]]

    assert set(ids()) == set(sent.values())
    assert ids("--status", "failure", "--status", "expired") == [sent["failed"]]
    assert set(ids("--label", "shop=eu", "--label", "tries=3")) == {sent["done"], sent["failed"]}
    assert ids("--label", 'tries="3"') == [], "a text is no number"
    assert ids("--queue", "parked", "--limit", "1") in ([sent["first"]], [sent["second"]])
    assert len(ids("--name", "parked", "--since", "1h")) == 2
    (entry,) = tasks(shop, "list", "--status", "SUCCESS")["tasks"]
    assert entry["metadata"] == {"shop": "eu", "tries": 3}
    assert entry["result_size"] == 7
    assert "result" not in entry, "it may be secret"


def test_a_list_is_a_table_without_control_characters(shop: Path, sent: dict[str, str]) -> None:
    text = run(shop, "list", "--limit", "4").stdout
    head, _, *rows, more = text.splitlines()
    assert head.split()[:5] == ["id", "task", "queue", "status", "attempt"]
    assert len(rows) == 4
    assert more == "... the newest 4; --limit shows more"
    assert "refused" in text
    assert "\x1b" not in text
    nothing = run(shop, "list", "--name", "nobody")
    assert (nothing.exit_code, nothing.stdout) == (0, "No task is known of which all this is true.\n")


def test_waiting_tells_of_each_task_and_succeeds_when_all_have(shop: Path, sent: dict[str, str]) -> None:
    done = run(shop, "wait", sent["done"], sent["done"])
    assert (done.exit_code, done.stderr) == (0, "")
    (line,) = done.stdout.splitlines()
    assert line.split()[:3] == ["SUCCESS", sent["done"], "note"]


def test_waiting_says_what_went_wrong(shop: Path, sent: dict[str, str]) -> None:
    done = run(shop, "wait", *sent.values(), "nobody", "--timeout", "0.3s")
    assert done.exit_code == 1
    assert [line.split()[:2] for line in done.stdout.splitlines()] in (
        [["SUCCESS", sent["done"]], ["FAILURE", sent["failed"]]],
        [["FAILURE", sent["failed"]], ["SUCCESS", sent["done"]]],
    )
    assert done.stderr.startswith("Error: 1 task did not succeed; 2 tasks did not end within 0.3 s: ")
    assert done.stderr.endswith("nobody knows 'nobody'; check the ids and the broker\n")
    found = tasks(shop, "wait", sent["failed"], sent["first"], "nobody", "--timeout", "0")
    assert [each["status"] for each in found["tasks"]] == ["FAILURE", "PENDING"]
    assert found["unknown"] == ["nobody"]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("list", "--since", "soon"), "'soon' is no duration; give it as 90s, 15m, 2h or 7d"),
        (("list", "--label", "shop"), "'shop' is not NAME=VALUE"),
        (("list", "--status", "done"), "'done' is not one of"),
        (("wait",), "Missing argument 'ID...'"),
    ],
)
def test_what_is_asked_wrongly_is_one_line(shop: Path, arguments: tuple[str, ...], complaint: str) -> None:
    done = run(shop, *arguments)
    assert done.exit_code == 2
    assert complaint in done.stderr
    assert done.stderr.count("\n") == 1


def test_on_a_terminal_waiting_shows_a_bar(shop: Path, sent: dict[str, str]) -> None:
    ours, theirs = pty.openpty()
    command = [*COMMAND, "task", "wait", sent["done"], sent["failed"], "--app", "shop"]
    done = subprocess.run(
        command, cwd=shop, env=environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=theirs,
        text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip
    os.close(theirs)
    drawn = os.read(ours, 100_000).decode()
    os.close(ours)
    assert "2/2" in drawn
    assert len(done.stdout.splitlines()) == 2, "what is for scripts is not drawn upon"
