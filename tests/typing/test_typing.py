"""mypy and pyright, as users run them, on programs as users write them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
EXAMPLES = [*sorted((HERE.parents[1] / "examples").rglob("*.py")), *sorted((HERE.parent / "api" / "programs").glob("*.py"))]
CHECKERS = ["mypy", "pyright"]
SHORTER = [
    (r"\b(?:brokerkit|typing|builtins|types|collections)\.(?:\w+\.)*", ""),
    (r"Coroutine(?:Type)?\[Any, Any, (.*)\]$", r"Coroutine[\1]"),
    (r"\bdef \(", "("),
    (r" = ?\.\.\.| =(?=[,)])", " = ..."),
    (r"\*, ", "*, "),
]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300), pytest.mark.xdist_group("typing")]

Finding = tuple[str, int, str]
"""Severity, line, text."""


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where no settings of ours are found, so that the checkers see what users' do."""
    return tmp_path_factory.mktemp("typing")


def mypy(paths: list[Path], directory: Path) -> list[Finding]:
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--output=json", "--hide-error-context"]
    done = _run([*command, f"--cache-dir={directory / 'cache'}", *map(str, paths)], directory)
    assert not done.stderr, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    return [(item["severity"], item["line"], item["message"]) for item in found if item["severity"] == "error"] + [
        ("reveal", item["line"], item["message"]) for item in found if "Revealed type is" in item["message"]
    ]


def pyright(paths: list[Path], directory: Path) -> list[Finding]:
    settings = directory / "pyrightconfig.json"
    settings.write_text(json.dumps({"typeCheckingMode": "strict", "include": [str(path) for path in paths]}))
    command = [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable, "-p", str(settings)]
    done = _run(command, directory)
    found = json.loads(done.stdout)
    assert found["summary"]["filesAnalyzed"] == len(paths), done.stdout
    severities = {"error": "error", "information": "reveal"}
    return [
        (severities.get(item["severity"], item["severity"]), item["range"]["start"]["line"] + 1, item["message"])
        for item in found["generalDiagnostics"]
    ]


def _run(command: list[str], directory: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=280, check=False)


def check(checker: str, paths: list[Path], directory: Path) -> list[Finding]:
    return {"mypy": mypy, "pyright": pyright}[checker](paths, directory)


def shortened(text: str) -> str:
    """A revealed type in words that both checkers share."""
    kind = text.split('"')[-2] if text.startswith(("Revealed", "Type of")) else text
    for pattern, replacement in SHORTER:
        kind = re.sub(pattern, replacement, kind)
    return kind


@pytest.mark.parametrize("checker", CHECKERS)
def test_a_checker_infers_arguments_and_results_from_the_function(checker: str, directory: Path) -> None:
    path = HERE / "programs.py"
    expected = {
        number: line.rpartition("  # ")[2]
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        if "reveal_type(" in line
    }
    found = check(checker, [path], directory)
    assert [finding for finding in found if finding[0] != "reveal"] == []
    assert {line: shortened(text) for _, line, text in found} == expected


@pytest.mark.parametrize("checker", CHECKERS)
def test_a_checker_refuses_every_mistake_and_nothing_else(checker: str, directory: Path) -> None:
    path = HERE / "mistakes.py"
    lines = enumerate(path.read_text().splitlines(), start=1)
    wrong = {number for number, line in lines if line.endswith("# wrong")}
    found = {line: text for severity, line, text in check(checker, [path], directory) if severity == "error"}
    assert wrong
    assert found.keys() == wrong, {line: found.get(line) for line in found.keys() ^ wrong}


@pytest.mark.parametrize("checker", CHECKERS)
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_programs_pass_in_strict_mode(checker: str, path: Path, directory: Path) -> None:
    assert check(checker, [path], directory) == []
