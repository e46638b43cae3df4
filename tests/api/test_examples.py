"""The examples run, and print what they promise."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.api.probes import run
from tests.api.services import PRINTED, shop_and_warehouse

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"


@pytest.fixture
def examples(tmp_path: Path) -> Path:
    """A copy of the examples, so that their databases lie in a directory of the test, with the topologies beside it."""
    shutil.copytree(ROOT / "topologies", tmp_path / "topologies")
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


def test_dependencies_are_cleaned_up_whatever_happens(examples: Path) -> None:
    assert run(examples / "dependencies.py").splitlines() == [
        "the bank opens",
        "committed",
        "Ada has 5 left",
        "rolled back: Grace cannot pay 15",
        "ValueError: Grace cannot pay 15",
        "audit.daily: {'total': 10.0}",
        "the bank closes",
    ]


def test_the_tests_of_an_app_pass_without_its_broker(examples: Path) -> None:
    command = [sys.executable, "-W", "error", "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    done = subprocess.run(
        command, cwd=examples / "testing", env=environment, capture_output=True, text=True, timeout=50, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "5 passed" in done.stdout


def test_plain_functions_run_in_threads(examples: Path) -> None:
    *checksums, timed_out = run(examples / "sync_tasks.py").splitlines()
    assert len(checksums) == 3
    assert all(re.fullmatch("[0-9a-f]{8}", line) for line in checksums)
    assert timed_out == "stubborn: attempt 1 exceeded its timeout of 0.1 s"


def test_plain_functions_send_and_ask_from_threads(examples: Path) -> None:
    assert run(examples / "flask_style_sync.py").splitlines() == [
        "202 PENDING",
        "200 cat is 640 pixels wide",
        "200 dog is 640 pixels wide",
        "200 owl is 640 pixels wide",
        "404 not found",
    ]


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


def test_two_services_meet_at_an_exchange(examples: Path, sqlite_url: str, tmp_path: Path) -> None:
    assert shop_and_warehouse(examples / "two_services", sqlite_url, tmp_path / "log") == PRINTED


REFERENCES = {
    "delayed_retries.py": [
        "sent to ada@example.org in attempt 4",
        "ValueError: nobody is no address after 1 attempt",
        "ConnectionError: the bank is closed after 3 attempts",
        "to be settled: ['settle']",
    ],
    "event_bus.py": [
        "billing o-1", "billing o-2", "indexing o-1", "indexing o-2", "packing o-1", "unrouted: 1",
    ],
    "fan_out.py": [
        "huge.png is too large", "parked: ['brokerkit.errors.GiveUp: too large']", "scanned cat.png",
        "scanned huge.png", "scanned talk.ogg", "shrunk cat.png", "transcribed talk.ogg", "unrouted: 1",
    ],
    "from_celery.py": ["mail to ada@example.org: welcome", "mail to grace@example.org: hello"],
    "request_reply.py": ["[8.4, 19.8]", "nobody waited for the last one any more"],
    "work_queue.py": [
        "resized avatar.png", "resized album-1.png", "resized archive.png",
        "broken.png: ValueError: this is no picture after 6 attempts", "dead: ValueError: this is no picture",
    ],
}  # fmt: skip
IN_ANY_ORDER = {"event_bus.py", "fan_out.py", "from_celery.py"}


@pytest.mark.parametrize("name", REFERENCES)
def test_each_reference_topology_has_a_program_that_runs_on_it(examples: Path, name: str) -> None:
    printed = run(examples / "topologies" / name).splitlines()
    assert (sorted(printed) if name in IN_ANY_ORDER else printed) == REFERENCES[name]
    topologies = {path.stem for path in (ROOT / "topologies").iterdir() if path.suffix != ".md"}
    assert topologies == {each.removesuffix(".py").replace("_", "-") for each in REFERENCES}


def test_examples_are_short() -> None:
    sizes = {path.name: len(path.read_text().splitlines()) for path in EXAMPLES.rglob("*.py")}
    assert len(sizes) == 19
    assert {name: size for name, size in sizes.items() if size > 60} == {}
