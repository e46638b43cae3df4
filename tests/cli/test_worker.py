"""The worker as a process: it works, stops as it is told, and is replaced when it dies."""

import json
import logging
import os
import re
import signal
import time
from pathlib import Path

import pytest

from brokerkit.cli.errors import ExitCode
from brokerkit.cli.logs import JsonFormatter
from tests.cli.programs import Running, run, running, send

pytestmark = pytest.mark.slow


def test_a_worker_runs_a_task_and_ends_on_sigterm(shop: Path) -> None:
    with running(shop, "worker", "shop:app", "--concurrency", "2", "--log-level", "INFO") as worker:
        worker.logged("ready: app shop on sqlite")
        worker.logged(f" in {shop / 'shop.db'}, 2 slots")
        task_id = send(shop, "note", "hello")
        worker.journaled("hello")
        worker.process.send_signal(signal.SIGTERM)
        assert worker.wait() == ExitCode.DONE
    assert run(shop, "task", "status", task_id, "--app", "shop").stdout.startswith("SUCCESS")


def test_what_a_handler_raises_has_no_other_context_than_its_own(shop: Path) -> None:
    with running(shop, "worker", "shop", without="uvloop") as worker:
        worker.logged("ready")
        task_id = send(shop, "fail")
        worker.logged("is dead-lettered")
        assert worker.log.count("Traceback") == 1
        assert "During handling" not in worker.log
    shown = run(shop, "task", "status", task_id, "--app", "shop").stdout
    assert "the last one's traceback" in shown
    assert shown.endswith("  LookupError: nothing to be found\n")


def test_a_worker_whose_broker_nobody_else_can_reach_says_so(shop: Path) -> None:
    (shop / "alone.py").write_text(
        "from brokerkit import App\napp = App('memory://')\n@app.task\nasync def say() -> None: ...\n"
    )
    with running(shop, "worker", "alone") as worker:
        worker.logged("nobody else can send to it; give the app a broker that is shared")
        worker.process.send_signal(signal.SIGTERM)
        assert worker.wait() == ExitCode.DONE


def test_the_first_signal_lets_running_handlers_end(shop: Path) -> None:
    with running(shop, "worker", "shop") as worker:
        worker.logged("ready")
        send(shop, "sleep", 1.0)
        worker.journaled("asleep")
        worker.process.send_signal(signal.SIGINT)
        assert worker.wait() == ExitCode.DONE
        assert worker.journaled("awake").split() == ["asleep", "awake"]


@pytest.mark.parametrize("processes", ["1", "2"])
def test_the_second_signal_cancels_and_the_message_goes_back(shop: Path, processes: str) -> None:
    with running(shop, "worker", "shop", "--grace", "300", "--processes", processes) as worker:
        worker.logged("ready", int(processes))
        send(shop, "sleep", 300.0)
        worker.journaled("asleep")
        worker.process.send_signal(signal.SIGTERM)
        worker.logged("a second signal cancels them")
        worker.process.send_signal(signal.SIGTERM)
        assert worker.wait() == ExitCode.DONE
        worker.journaled("cancelled")
    assert ready(shop) == 1


def test_the_third_signal_leaves_at_once_even_when_a_handler_blocks(shop: Path) -> None:
    with running(shop, "worker", "shop", "--grace", "300") as worker:
        worker.logged("ready")
        send(shop, "block", 300.0)
        worker.journaled("blocking")
        while worker.process.poll() is None:  # again and again, since signals that come together count as one
            worker.process.send_signal(signal.SIGTERM)
            time.sleep(0.2)
        assert worker.wait() == ExitCode.HARD


def test_log_lines_can_be_json(shop: Path) -> None:
    with running(shop, "worker", "shop", "--json", "--queues", "payments") as worker:
        worker.logged("ready")
        worker.process.send_signal(signal.SIGTERM)
        worker.wait()
        lines = [json.loads(line) for line in worker.log.splitlines()]
    assert lines[0]["message"].endswith("consuming payments")
    assert all({"time", "level", "logger", "pid", "message"} <= set(line) for line in lines)


@pytest.mark.parametrize("processes", ["1", "2"])
def test_modules_of_a_package_are_imported_on_request(shop: Path, processes: str) -> None:
    (shop / "jobs").mkdir()
    (shop / "jobs" / "__init__.py").write_text("")
    (shop / "jobs" / "mail.py").write_text(
        "from brokerkit import Tasks\nfrom shop import app\ntasks = Tasks()\n"
        "@tasks.task(queue='mail')\ndef send() -> None: ...\n@app.task(queue='letters')\ndef write() -> None: ...\n"
    )
    with running(shop, "worker", "shop", "--discover", "jobs", "--processes", processes) as worker:
        worker.logged("consuming default, letters, mail, payments", int(processes))
        worker.process.send_signal(signal.SIGTERM)
        assert worker.wait() == ExitCode.DONE


def test_an_unknown_queue_is_refused(shop: Path) -> None:
    done = run(shop, "worker", "shop", "--queues", "fly")
    assert done.returncode == ExitCode.USAGE
    assert done.stderr == "Error: no task or subscriber consumes fly; this app consumes default, payments\n"


def test_a_killed_process_is_replaced_and_its_message_runs_again(shop: Path) -> None:
    with running(shop, "worker", "shop", "--processes", "2", "--concurrency", "1") as worker:
        worker.logged("works", 2)
        send(shop, "sleep", 2.0)
        worker.journaled("asleep")
        for pid in pids(worker):
            os.kill(pid, signal.SIGKILL)
        worker.logged("died, killed by SIGKILL", 2)
        worker.logged("works", 4)
        worker.journaled("asleep", 2)
        worker.journaled("awake")
        worker.process.send_signal(signal.SIGTERM)
        assert worker.wait() == ExitCode.DONE


def test_processes_that_die_again_and_again_are_given_up(shop: Path) -> None:
    (shop / "dying.py").write_text("import os, shop\napp = shop.app\nos.kill(os.getpid(), 9)\n")
    done = run(shop, "worker", "dying", "--processes", "2")
    assert done.returncode == ExitCode.CRASH_STORM
    assert "giving up" in done.stderr.splitlines()[-1]


def test_processes_end_with_their_supervisor(shop: Path) -> None:
    with running(shop, "worker", "shop", "--processes", "2") as worker:
        worker.logged("works", 2)
        worker.process.kill()
        worker.logged("stopped after", 2)


def pids(worker: Running) -> list[int]:
    return [int(pid) for pid in re.findall(r"process \d+ \(pid (\d+)\) works", worker.log)]


def ready(directory: Path) -> int:
    found = json.loads(run(directory, "queue", "stats", "default", "--app", "shop", "--json").stdout)
    count = found["queues"][0]["ready"]
    assert isinstance(count, int)
    return count


def test_a_json_line_tells_what_cannot_be_encoded_otherwise() -> None:
    record = logging.LogRecord("brokerkit", logging.ERROR, __file__, 1, "half a %s", ("\ud800",), None)
    assert json.loads(JsonFormatter().format(record))["message"] == "half a ?"
