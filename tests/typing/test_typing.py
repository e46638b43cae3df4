"""mypy and pyright, as users run them, on programs as users write them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
EXAMPLES = HERE.parents[1] / "examples"
PROGRAMS = [HERE.parent / "api" / "programs", EXAMPLES, EXAMPLES / "web_and_worker", EXAMPLES / "testing"]
CHECKERS = ["mypy", "pyright"]
SHORTER = [
    (r"\b(?:brokerkit|typing|builtins|programs)\.(?:\w+\.)*", ""),
    (r"Coroutine(?:Type)?\[Any, Any, (.*)\]$", r"Coroutine[\1]"),
    (r"\bdef \(", "("),
    (r" =(?: \w+(?:\([^()]*\))?| \.\.\.)?(?=[,)])", " = ..."),
]
"""How each checker's words become the same."""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300), pytest.mark.xdist_group("typing")]

Finding = tuple[str, int, str]
"""Severity, line, text."""


def mypy(directory: Path) -> list[Finding]:
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--output=json", "--cache-dir=cache", "."]
    done = _run(command, directory)
    assert not done.stderr, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines() if line]
    kinds = {item["message"]: "reveal" for item in found if item["message"].startswith("Revealed type is")}
    return [
        (kinds.get(item["message"], item["severity"]), item["line"], item["message"])
        for item in found
        if item["severity"] == "error" or item["message"] in kinds
    ]


def pyright(directory: Path) -> list[Finding]:
    (directory / "pyrightconfig.json").write_text('{"typeCheckingMode": "strict"}')
    found = json.loads(
        _run([sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable], directory).stdout
    )
    assert found["summary"]["filesAnalyzed"] == len(list(directory.glob("*.py"))), found
    kinds = {"information": "reveal"}
    return [
        (kinds.get(item["severity"], item["severity"]), item["range"]["start"]["line"] + 1, item["message"])
        for item in found["generalDiagnostics"]
    ]


def _run(command: list[str], directory: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=280, check=False)


def check(checker: str, sources: list[Path], directory: Path) -> list[Finding]:
    """What a checker says to copies of these files, where no settings of ours are found."""
    assert sources
    for source in sources:
        shutil.copy(source, directory / source.name.removesuffix(".txt"))
    return {"mypy": mypy, "pyright": pyright}[checker](directory)


def shortened(text: str) -> str:
    """A revealed type in words that both checkers share."""
    kind = text.split('"')[-2] if text.startswith(("Revealed", "Type of")) else text
    for pattern, replacement in SHORTER:
        kind = re.sub(pattern, replacement, kind)
    return kind


@pytest.mark.parametrize("checker", CHECKERS)
def test_a_checker_infers_arguments_and_results_from_the_function(checker: str, tmp_path: Path) -> None:
    path = HERE / "programs.py.txt"
    expected = {
        number: line.rpartition("  # ")[2]
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        if "reveal_type(" in line
    }
    found = check(checker, [path], tmp_path)
    assert [finding for finding in found if finding[0] != "reveal"] == []
    assert {line: shortened(text) for _, line, text in found} == expected


@pytest.mark.parametrize("checker", CHECKERS)
def test_a_checker_refuses_every_mistake_and_nothing_else(checker: str, tmp_path: Path) -> None:
    path = HERE / "mistakes.py.txt"
    lines = enumerate(path.read_text().splitlines(), start=1)
    wrong = {number for number, line in lines if line.endswith("# wrong")}
    found = {line: text for severity, line, text in check(checker, [path], tmp_path) if severity == "error"}
    assert wrong
    assert found.keys() == wrong, {line: found.get(line) for line in found.keys() ^ wrong}


@pytest.mark.parametrize("checker", CHECKERS)
@pytest.mark.parametrize("folder", PROGRAMS, ids=lambda folder: folder.name)
def test_our_own_programs_pass_in_strict_mode(checker: str, folder: Path, tmp_path: Path) -> None:
    assert check(checker, sorted(folder.glob("*.py")), tmp_path) == []
