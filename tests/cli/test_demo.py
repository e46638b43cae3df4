"""The demo proves itself; here it must say so to a script, and clean up when it is interrupted."""

import json
import os
import signal
from pathlib import Path

import pytest

from brokerkit.cli.errors import ExitCode
from brokerkit.demo.findings import Findings
from brokerkit.demo.journal import Line
from brokerkit.demo.plan import Part
from tests.cli.programs import run, running

KEY = ("queue", "id")


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_the_demo_loses_nothing(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path_factory.mktemp("d")  # short enough for sockets
    monkeypatch.setenv("TMPDIR", str(place))
    done = run(place, "demo", "--json")
    assert done.returncode == ExitCode.DONE, done.stdout + done.stderr
    result = json.loads(done.stdout)
    counts = result["counts"]
    assert counts["lost"] == result["unexplained"] == result["early"] == result["waiting"] == 0
    assert counts["sent"] == counts["succeeded"] + 1 > 1000
    assert (counts["dead_lettered"], result["reason"], result["killed"]) == (1, "crash_loop", 1)
    assert counts["retried"] >= 180
    assert result["problems"] == []
    assert not list(place.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with running(tmp_path, "demo") as demo:
        demo.logged("works")
        pid = int(demo.log.partition("worker ")[2].split()[0])
        demo.process.send_signal(number)
        assert demo.wait() == ExitCode.INTERRUPTED
        assert demo.log.splitlines()[-1] == "Error: stopped"
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert not list(tmp_path.glob("brokerkit-demo-*"))


def line(event: str, *, attempt: int = 1, pid: int = 1, at: float = 0.0, due: float = 0.0) -> Line:
    return Line(event, *KEY, attempt, pid, at, due)


def test_what_is_neither_done_nor_dead_counts_as_lost() -> None:
    findings = Findings()
    findings.add([line("start")])
    assert findings.row(Part("", {KEY}), dead=()).lost == 1
    assert findings.row(Part("", {KEY}), dead=[KEY]).lost == 0
    findings.add([line("done")])
    assert findings.row(Part("", {KEY}), dead=()).lost == 0


def test_a_repeated_run_is_explained_by_the_death_of_its_process_only() -> None:
    findings = Findings()
    findings.add([line("start"), line("start", pid=2), line("done", pid=2)])
    assert findings.row(Part("", {KEY}), dead=()).run_again == 1
    assert findings.unexplained({1}) == 0
    assert findings.unexplained({2}) == 1


def test_a_retry_is_not_a_repeated_run() -> None:
    findings = Findings()
    findings.add([line("start"), line("fail"), line("start", attempt=2), line("done", attempt=2)])
    row = findings.row(Part("", {KEY}), dead=())
    assert (row.retried, row.run_again, findings.unexplained(())) == (1, 0, 0)


def test_an_early_start_is_noticed() -> None:
    findings = Findings()
    findings.add([line("start", at=1.0, due=2.0)])
    assert findings.early == 1
