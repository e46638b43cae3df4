"""The benchmark runs; how fast is not a test's business."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.bench.figures import Figure, Goal
from tests.bench.processes import ROOT
from tests.bench.workload import BODY_SIZE, Workload, payload
from tests.brokers import broker_url

pytestmark = [pytest.mark.xdist_group("bench"), pytest.mark.timeout(120)]


def quick_run(kept: Path, *arguments: str) -> tuple[list[dict[str, Any]], str]:
    """The figures of a quick run, and what it printed."""
    command = [sys.executable, "-m", "tests.bench", "--quick", "--json", str(kept), *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stderr
    figures: list[dict[str, Any]] = msgspec.json.decode(kept.read_bytes())["figures"]
    return figures, done.stdout


@pytest.mark.bench
@pytest.mark.slow
def test_a_quick_run_on_memory_finds_every_figure(tmp_path: Path) -> None:
    figures, printed = quick_run(tmp_path / "figures.json", "--transport", "memory")
    names = [figure["name"] for figure in figures]
    assert {"drain", "drain, outcome records", "publish, one by one", "idle start p50", "import brokerkit"} <= {*names}
    assert all(min(figure["values"] + figure["plain"]) > 0 for figure in figures)
    assert all(name in printed for name in names)


@pytest.mark.bench
@pytest.mark.slow
@pytest.mark.broker
@pytest.mark.parametrize("theme", ["drain", "publish", "latency"])
def test_a_quick_run_on_rabbitmq_stands_beside_a_plain_loop_and_a_bare_socket(tmp_path: Path, theme: str) -> None:
    broker_url("rabbitmq")
    figures, _ = quick_run(tmp_path / "figures.json", "--transport", "rabbitmq", "--only", theme)
    assert {figure["transport"] for figure in figures} == {"rabbitmq quorum", "rabbitmq classic"}
    assert all(min(figure["values"]) > 0 and min(figure["plain"]) > 0 for figure in figures)
    assert any(figure["raw"] for figure in figures) is (theme != "latency")


@pytest.mark.bench
@pytest.mark.slow
@pytest.mark.broker
def test_a_quick_run_on_redis_stands_beside_a_plain_loop(tmp_path: Path) -> None:
    broker_url("redis")
    figures, _ = quick_run(tmp_path / "figures.json", "--transport", "redis", "--only", "publish")
    assert all(min(figure["values"]) > 0 and min(figure["plain"]) > 0 for figure in figures)


def test_a_transport_that_is_not_there_is_said_to_be_missing() -> None:
    command = [sys.executable, "-m", "tests.bench", "--quick", "--transport", "rabbitmq"]
    environment = {**os.environ, "BROKERKIT_TEST_RABBITMQ": ""}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=55, check=False)
    assert done.returncode == 1
    assert "BROKERKIT_TEST_RABBITMQ is empty" in done.stderr


async def test_messages_have_the_size_that_is_said() -> None:
    assert len(Workload("memory://").noop.message(payload()).body) == BODY_SIZE


def test_a_noisy_machine_changes_the_ratio_little() -> None:
    figure = Figure(transport="", name="", unit="", values=[10.0, 5.0, 10.0], plain=[20.0, 10.0, 20.0], goal=Goal(9.0))
    assert (figure.value, figure.ratio, figure.verdict) == (10.0, 0.5, "reached")
