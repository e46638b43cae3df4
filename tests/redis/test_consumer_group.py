"""The example of a consumer group on Redis: what it is made for."""

import re
import shutil
import uuid
from pathlib import Path

import pytest

from tests.api.services import meter
from tests.brokers import broker_url

EXAMPLE = Path(__file__).parents[2] / "examples" / "consumer_group"


@pytest.mark.broker
def test_three_processes_share_the_readings_of_a_group(tmp_path: Path) -> None:
    folder = shutil.copytree(EXAMPLE, tmp_path / "consumer_group", ignore=shutil.ignore_patterns("__pycache__"))
    printed = meter(folder, f"{broker_url('redis')}?prefix=bktest-{uuid.uuid4().hex}", tmp_path / "log")
    assert [line for line in printed if not line.startswith("s-")] == []
    handled = [re.fullmatch(r"(s-\d+): [\d.]+ in process (\d+)", line) for line in printed]
    assert sorted(match[1] for match in handled if match) == sorted(f"s-{number}" for number in range(30))
    assert len({match[2] for match in handled if match}) >= 2, "one process had it all"
    assert sorted(line for line in printed if line.endswith("is hot")) == [f"s-{n} is hot" for n in range(26, 30)]
