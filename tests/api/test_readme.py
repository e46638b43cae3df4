"""The README says what is true."""

import re
from pathlib import Path

import pytest
from click import Context, Group
from click.testing import CliRunner

from brokerkit.cli import commands
from tests.api.probes import run

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
PROGRAM = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)[0]


def test_its_first_program_runs_as_it_stands(tmp_path: Path) -> None:
    program = tmp_path / "shop.py"
    program.write_text(PROGRAM)
    assert run(program) == "charged o-1: 19.90 (attempt 1)\n"
    assert (tmp_path / "shop.db").is_file()


def test_it_is_short_and_code_comes_first() -> None:
    lines = README.splitlines()
    assert len(lines) <= 150
    assert lines.index("```python") < 25
    assert len(PROGRAM.splitlines()) <= 25


def test_its_links_lead_somewhere() -> None:
    targets = re.findall(r"\]\(([^)]+)\)", README)
    assert len(targets) >= 7
    assert [target for target in targets if not (ROOT / target).exists()] == []


def test_every_example_is_linked() -> None:
    examples = {path.name for path in (ROOT / "examples").iterdir() if not path.name.startswith((".", "__"))}
    examples -= {"topologies"}  # each of them is linked beside its topology, in topologies/README.md
    assert {name for name in examples if f"(examples/{name})" not in README} == set()
    index = (ROOT / "topologies" / "README.md").read_text()
    programs = {path.name for path in (ROOT / "examples" / "topologies").glob("*.py")}
    assert {name for name in programs if f"(../examples/topologies/{name})" not in index} == set()


def mentioned() -> list[str]:
    """The commands of its table, each with its group."""
    found: list[str] = []
    for cell in re.findall(r"^\| (`brokerkit .*?) \|", README, re.MULTILINE):
        first, *others = re.findall(r"`([^`]+)`", cell)
        words = first.split()[1:]
        found += [" ".join(words), *(f"{words[0]} {other}" for other in others)]
    return found


@pytest.mark.parametrize("command", mentioned())
def test_the_commands_it_mentions_exist(command: str) -> None:
    words = command.split()
    known = words if isinstance(commands.get_command(Context(commands), words[0]), Group) else words[:1]
    assert CliRunner().invoke(commands, [*known, "--help"]).exit_code == 0


def test_its_table_names_every_broker_that_there_is() -> None:
    from brokerkit.connect import TRANSPORTS

    head = next(line for line in README.splitlines() if line.startswith("| | memory"))
    assert {name.strip().lower() for name in re.split(r"[|,]", head) if name.strip()} == TRANSPORTS.keys()
