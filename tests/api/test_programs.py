"""The programs of ``tests/api/programs`` as their reader would run them: as processes, on every embedded broker."""

import re
import sqlite3
from pathlib import Path

import pytest

from tests.api.probes import run

PROGRAMS = Path(__file__).parent / "programs"


@pytest.fixture
def program(request: pytest.FixtureRequest, tmp_path: Path, url: str) -> Path:
    """A copy of the program that the test is parametrised with, in a directory of its own, on this broker."""
    name: str = request.param
    source = (PROGRAMS / name).read_text()
    text, count = re.subn(r'App\("[^"]+"', lambda _: f'App("{url}"', source)
    assert count == 1
    copy = tmp_path / name
    copy.write_text(text)
    return copy


@pytest.mark.parametrize("program", ["shop.py"], indirect=True)
def test_a_task_gives_its_result(program: Path) -> None:
    first, late, count = run(program).splitlines()
    assert re.fullmatch(r"\S{1,200} charged o-1: 19\.90 \(attempt 1\)", first)
    assert late == "PENDING charged o-2: 5.00 (attempt 1)"
    assert count == "100"


@pytest.mark.parametrize("program", ["orders.py"], indirect=True)
def test_events_reach_queues_groups_and_follow_ups(program: Path) -> None:
    assert run(program).splitlines() == [
        "charged o-1: 1.00",
        "charged o-2: 1.00",
        "checked o-1 from eu",
        "checked o-2 from us",
        "packed o-1",
    ]


@pytest.mark.parametrize("program", ["failure.py"], indirect=True)
def test_failures_end_in_an_error_and_a_dead_letter(program: Path) -> None:
    assert run(program).splitlines() == [
        "200",
        "down True ConnectionRefusedError 4 True",
        "never False brokerkit.errors.GiveUp 1 False",
        "later True brokerkit.errors.RetryLater 5 True",
        "failed gave_up too_many_deliveries",
        "3",
    ]


@pytest.mark.parametrize("program", ["questions.py"], indirect=True)
def test_questions_are_answered(program: Path) -> None:
    assert run(program).splitlines() == [
        "0 0 1 0 0 [0, 0, 1]",
        "True None None",
        "True CANCELLED",
        "True",
        "True",
        "True charge payments SUCCESS 1 ()",
        "True True True True",
        "1.0 done None {'shop': 'eu'}",
    ]


@pytest.mark.parametrize("program", ["descriptors.py"], indirect=True)
def test_descriptors_take_these_fields(program: Path) -> None:
    assert run(program).splitlines() == ["payments history"]


def test_a_relative_sqlite_url_means_a_file_beside_the_program(tmp_path: Path) -> None:
    copy = tmp_path / "shop.py"
    copy.write_text((PROGRAMS / "shop.py").read_text())
    run(copy)
    with sqlite3.connect(tmp_path / "shop.db") as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    connection.close()
