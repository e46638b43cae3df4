"""The examples run, and print what they promise."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.api.probes import run

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"


@pytest.fixture
def examples(tmp_path: Path) -> Path:
    """A copy of the examples, so that their databases lie in a directory of the test."""
    return Path(shutil.copytree(EXAMPLES, tmp_path / "examples", ignore=shutil.ignore_patterns("__pycache__", "*.db*")))


def test_the_quickstart_gives_results(examples: Path) -> None:
    assert run(examples / "quickstart.py").splitlines() == [
        "Hello, Ada! (attempt 1)",
        "SUCCESS",
        "PENDING",
        "Hello, Grace! (attempt 1)",
        "100 guests greeted",
    ]


def test_events_reach_the_queue_the_groups_and_the_follow_up(examples: Path) -> None:
    assert sorted(run(examples / "events.py").splitlines()) == [
        "billing o-1 by order.eu.placed",
        "billing o-2 by order.us.placed",
        "checking 19.90",
        "checking 5.00",
        "nobody wants refunds",
        "packing o-1",
        "receipt for o-1",
        "receipt for o-2",
    ]


def test_failures_are_retried_given_up_and_sent_back(examples: Path) -> None:
    assert run(examples / "retries.py").splitlines() == [
        "busy charged in run 1, attempt 1",
        "o-1: ConnectionError: the bank is closed after 3 attempts",
        "stolen: brokerkit.errors.GiveUp: the card is stolen",
        "dead: failed | ConnectionError: the bank is closed",
        "dead: gave_up | brokerkit.errors.GiveUp: the card is stolen",
        "1 sent back",
        "SUCCESS in run 2",
    ]


def test_plain_functions_run_in_threads(examples: Path) -> None:
    *checksums, timed_out = run(examples / "sync_tasks.py").splitlines()
    assert len(checksums) == 3
    assert all(re.fullmatch("[0-9a-f]{8}", line) for line in checksums)
    assert timed_out == "stubborn: attempt 1 exceeded its timeout of 0.1 s"


def test_a_sender_and_a_worker_in_two_processes_share_a_file(examples: Path) -> None:
    folder = examples / "web_and_worker"
    command = [sys.executable, "-W", "error", str(Path(sys.executable).with_name("brokerkit")), "worker", "tasks:app"]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as worker:
        try:
            printed = run(folder / "web.py").splitlines()
            worker.terminate()
            log, _ = worker.communicate(timeout=30)
        finally:
            worker.kill()
    assert printed == [
        "unknown",
        *("charged o-0: 9.90", "SUCCESS"),
        *("charged o-1: 9.90", "SUCCESS"),
        *("charged o-2: 9.90", "SUCCESS"),
    ]
    assert worker.returncode == 0, log


def test_examples_are_short() -> None:
    sizes = {path.name: len(path.read_text().splitlines()) for path in EXAMPLES.rglob("*.py")}
    assert len(sizes) == 6
    assert {name: size for name, size in sizes.items() if size > 60} == {}
