"""Dead letters as an operator sees and moves them; the app's broker is one SQLite file."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from brokerkit import App, DeadLetterGroup, DeadMessage, GiveUp, Queue, Retry
from brokerkit.cli.dlq.letters import described, grouped, shown
from brokerkit.message import Message
from brokerkit.outcome import Reason
from tests.cli.programs import COMMAND, PATIENCE, environment, run

URL = ("--url", "sqlite:///shop.db")
payments = Queue("payments", priorities=3)


async def refuse(order: str) -> None:
    if order == "key":
        raise KeyError(order)
    raise GiveUp(f"card {order} is \x1b[31mrefused\r\n\x07")


@pytest.fixture
async def letters(shop: Path) -> list[str]:
    """Five dead letters in payments, of two causes, oldest first."""
    app = App(f"sqlite:///{shop / 'shop.db'}", name="shop")
    task = app.task(queue=payments, retry=Retry.none())(refuse)
    async with app, app.worker(concurrency=1):
        orders = ["1", "22", "key", "333", "4444"]
        handles = [await task.options(headers={"tenant": order[0]}).send(order) for order in orders]
        for handle in handles:
            with pytest.raises(Exception, match=r"refused|key"):
                await handle.result(timeout=20)
    return [handle.id for handle in handles]


def parsed(directory: Path, *arguments: str) -> Any:
    done = run(directory, "dlq", *arguments, *URL, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def ids(directory: Path, *arguments: str) -> list[str]:
    return [each["id"] for each in parsed(directory, "list", "payments", "--each", *arguments)["entries"]]


def masked(text: str) -> str:
    """Without what is different each time."""
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "<time>             ", text)
    return re.sub(r"\b[0-9a-f]{11}[\w-]{22}(?!\w)", "<id>                             ", text)


@pytest.fixture
def utc() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patches:
        patches.setenv("TZ", "UTC")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("utc")
def test_a_table_of_groups() -> None:
    one = DeadLetterGroup(
        fingerprint="0123456789ab", count=1234, kind="KeyError", reason=Reason.FAILED, task="charge",
        error="KeyError: 'a\x1b[2J'\nsecond line", first=1e9, last=1e9 + 60, example="m-1",
    )  # fmt: skip
    other = DeadLetterGroup(
        fingerprint="ba9876543210", count=1, kind="foreign", reason=Reason.FOREIGN, task="", error="", first=0.0,
        last=0.0, example="row-7",
    )  # fmt: skip
    assert [line.replace("─", "-") for line in grouped([one, other])] == [
        "fingerprint   count  first                last                 task or event  example  error",
        "------------  -----  -------------------  -------------------  -------------  -------  -----------------",
        "0123456789ab  1,234  2001-09-09 01:46:40  2001-09-09 01:47:40  charge         m-1      KeyError: 'a [2J'",
        "ba9876543210      1                                                           row-7    foreign",
    ]


@pytest.mark.usefixtures("utc")
def test_a_table_of_messages() -> None:
    message = Message(id="m-\x1b]0;owned\x07", name="charge\r", body=b"\xff", attempt=3)
    dead = DeadMessage(message=message, source="q", reason=Reason.FAILED, error="\x9b31mred", deliveries=1, died=1e9)
    assert [line.replace("─", "-") for line in described([dead])] == [
        "id            task or event  reason  attempt  died                 error",
        "------------  -------------  ------  -------  -------------------  -------",
        "m- ]0;owned   charge         failed        3  2001-09-09 01:46:40   31mred",
    ]


def test_nothing_of_a_message_steers_the_terminal() -> None:
    hostile = "\x1b[2J\x9b5m\r\x07\u202e"
    message = Message(
        id=hostile, name=hostile, body=hostile.encode(), headers={hostile: hostile}, metadata={hostile: hostile},
        content_type=hostile, exchange=hostile, routing_key=hostile, correlation_id=hostile,
    )  # fmt: skip
    dead = DeadMessage(message=message, source=hostile, reason=Reason.FAILED, error=hostile, deliveries=1, died=1e9)
    for line in [*described([dead]), *shown(dead)]:
        assert line.isprintable()


def test_the_list_has_a_line_for_each_cause(shop: Path, letters: list[str]) -> None:
    done = run(shop, "dlq", "list", "payments", *URL)
    assert done.returncode == 0
    lines = [re.sub("^[0-9a-f]{12}", "<fingerprint>", line) for line in masked(done.stdout).splitlines()[2:]]
    assert [re.sub(" +", " ", line) for line in lines] == [
        "<fingerprint> 4 <time> <time> refuse <id> brokerkit.errors.GiveUp: card 1 is [31mrefused",
        "<fingerprint> 1 <time> <time> refuse <id> KeyError: 'key'",
    ]
    found = parsed(shop, "list", "payments")
    assert (found["total"], found["complete"]) == (5, True)
    assert [(group["count"], group["kind"], group["example"]) for group in found["groups"]] == [
        (4, "brokerkit.errors.GiveUp", letters[0]),
        (1, "KeyError", letters[2]),
    ]
    assert set(found["groups"][0]) == set(DeadLetterGroup.__struct_fields__)


def test_filters_choose_what_they_say(shop: Path, letters: list[str]) -> None:
    fingerprint = parsed(shop, "list", "payments")["groups"][0]["fingerprint"]
    assert ids(shop, "--error", fingerprint) == [letters[0], letters[1], letters[3], letters[4]]
    assert ids(shop, "--error", "GiveUp", "--limit", "2") == letters[:2]
    assert ids(shop, "--error", "KeyError", "--task", "refuse") == [letters[2]]
    assert ids(shop, "--task", "other") == []
    assert ids(shop, "--header", "tenant=k") == [letters[2]]
    assert ids(shop, "--older", "1h") == []
    assert ids(shop, "--newer", "1h") == letters
    assert run(shop, "dlq", "list", "payments", "--older", "1h", *URL).stdout == "payments has no such dead letters.\n"
    wrong = run(shop, "dlq", "list", "payments", "--header", "tenant", *URL)
    assert (wrong.returncode, "'tenant' is not NAME=VALUE" in wrong.stderr) == (2, True)


def test_a_dry_run_of_either_says_what_would_be_done_and_does_nothing(shop: Path, letters: list[str]) -> None:
    for command, what in (("redrive", "sent back to payments"), ("purge", "deleted")):
        done = run(shop, "dlq", command, "payments", "--dry-run", "--error", "KeyError", *URL)
        assert done.returncode == 0
        assert f"1 message would be {what}" in done.stdout
        assert letters[2] in done.stdout
        assert parsed(shop, command, "payments", "--dry-run")["total"] == 5
    assert ids(shop) == letters


def test_a_purge_wants_the_number_and_refuses_another(shop: Path, letters: list[str]) -> None:
    done = run(shop, "dlq", "purge", "payments", *URL)
    assert (done.returncode, "--count" in done.stderr) == (2, True)
    done = run(shop, "dlq", "purge", "payments", "--error", "GiveUp", "--count", "3", *URL)
    assert (done.returncode, done.stdout) == (1, "")
    assert "4 dead letters of payments are meant, not 3; nothing was deleted" in done.stderr
    assert ids(shop) == letters
    assert parsed(shop, "purge", "payments", "--error", "GiveUp", "--count", "4") == {"queue": "payments", "purged": 4}
    assert ids(shop) == [letters[2]]


@pytest.mark.parametrize(("answer", "left"), [("y", 1), ("n", 5)])
def test_a_purge_asks_on_a_terminal(shop: Path, letters: list[str], answer: str, left: int) -> None:
    text, code = on_a_terminal(shop, ["dlq", "purge", "payments", "--error", "GiveUp", *URL], answer)
    assert "Delete 4 dead letters of payments for good? [y/N]" in text
    assert code == (0 if answer == "y" else 1)
    assert len(ids(shop)) == left


def on_a_terminal(directory: Path, arguments: list[str], answer: str) -> tuple[str, int]:
    """Run a command on a terminal, and answer its question."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [*COMMAND, *arguments], cwd=directory, env=environment(), stdin=theirs, stdout=theirs, stderr=theirs
    ) as process:
        os.close(theirs)
        os.write(ours, f"{answer}\n".encode())
        text = b""
        while part := _read(ours):
            text += part
        code = process.wait(PATIENCE)
    os.close(ours)
    return text.decode(), code


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 4096)
    except OSError:  # Linux says so when the other end is closed
        return b""


def test_a_canary_that_does_not_succeed_leaves_the_others(shop: Path, letters: list[str]) -> None:
    done = run(shop, "dlq", "redrive", "payments", "--canary", "--canary-timeout", "1s", *URL)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"1 message sent back to payments, then: the first message that was sent back, {letters[0]}" in done.stderr
    assert "the others were left where they are" in done.stderr
    assert ids(shop) == letters[1:]


def test_a_rate_is_kept(shop: Path, letters: list[str]) -> None:
    began = time.monotonic()
    assert parsed(shop, "redrive", "payments", "--rate", "600/m")["redriven"] == 5
    assert time.monotonic() - began > 0.4
    wrong = run(shop, "dlq", "redrive", "payments", "--rate", "fast", *URL)
    assert (wrong.returncode, "'fast' is no rate; give it as 50/s" in wrong.stderr) == (2, True)


def test_ctrl_c_ends_a_redrive_and_tells_what_it_did(shop: Path, letters: list[str]) -> None:
    with subprocess.Popen(
        [*COMMAND, "dlq", "redrive", "payments", "--rate", "30/m", *URL], cwd=shop, env=environment(),
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        until(lambda: waiting(shop) >= 1)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=PATIENCE)
    sent = waiting(shop)
    assert process.returncode == 130
    noun = "message" if sent == 1 else "messages"
    assert errors == f"Error: stopped: {sent} {noun} sent back to payments; the others are still dead letters\n"
    assert len(ids(shop)) == 5 - sent


def waiting(shop: Path) -> int:
    """Messages that are no dead letters, counted in the file itself."""
    with sqlite3.connect(shop / "shop.db") as connection:
        count: int = connection.execute("SELECT count(*) FROM messages WHERE dead IS NULL").fetchone()[0]
    connection.close()
    return count


def until(reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.02)
