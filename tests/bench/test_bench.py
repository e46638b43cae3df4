"""The benchmark runs; how fast is not a test's business."""

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from tests.bench.figures import Figure, Goal
from tests.bench.processes import ROOT
from tests.bench.workload import BODY_SIZE, Workload, payload


@pytest.mark.bench
@pytest.mark.slow
def test_a_quick_run_on_memory_finds_every_figure(tmp_path: Path) -> None:
    kept = tmp_path / "figures.json"
    command = [sys.executable, "-m", "tests.bench", "--quick", "--transport", "memory", "--json", str(kept)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=55, check=False)
    assert done.returncode == 0, done.stderr
    found = msgspec.json.decode(kept.read_bytes())
    names = [figure["name"] for figure in found["figures"]]
    assert {"drain", "drain, outcome records", "publish, one by one", "idle start p50", "import brokerkit"} <= {*names}
    assert all(min(figure["values"] + figure["plain"]) > 0 for figure in found["figures"])
    assert all(name in done.stdout for name in names)


async def test_messages_have_the_size_that_is_said() -> None:
    assert len(Workload("memory://").noop.message(payload()).body) == BODY_SIZE


def test_a_noisy_machine_changes_the_ratio_little() -> None:
    figure = Figure(transport="", name="", unit="", values=[10.0, 5.0, 10.0], plain=[20.0, 10.0, 20.0], goal=Goal(9.0))
    assert (figure.value, figure.ratio, figure.verdict) == (10.0, 0.5, "reached")
