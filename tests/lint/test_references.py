"""The reference topologies: what people copy is without fault, everywhere."""

import tomllib
from pathlib import Path

import jsonschema
import pytest
import yaml
from msgspec.structs import replace

from brokerkit import App, Topology
from brokerkit.operations import files
from brokerkit.operations.dialects import dialect_for
from brokerkit.operations.lint import lint_file
from brokerkit.topology import verified
from brokerkit.transports.memory import MemoryBroker, MemoryTransport
from tests.architecture.sources import ROOT

TOPOLOGIES = sorted(path for path in (ROOT / "topologies").iterdir() if path.suffix != ".md")
BROKERS = ("rabbitmq:3.10", "rabbitmq:4.3", "redis:7", "sqlite")
reference = pytest.mark.parametrize("file", TOPOLOGIES, ids=[path.name for path in TOPOLOGIES])


@reference
def test_there_is_nothing_to_complain_of_for_any_broker(file: Path) -> None:
    assert lint_file(file, [*map(dialect_for, BROKERS)]) == []


@reference
def test_it_says_at_its_top_when_to_use_it_what_to_change_and_what_runs_on_it(file: Path) -> None:
    head = file.read_text().split("\n\nname")[0]
    assert all(line.startswith("#") for line in head.splitlines())
    for words in ("Use it when: ", "Change: ", "Needs: ", "examples/topologies/"):
        assert words in head


def owners_part(topology: Topology) -> Topology:
    """What somebody else declares of a topology that only compares it."""
    queues = [replace(queue, mode="own") for queue in verified(topology).queues]
    return Topology("others", topology.exchanges if queues else (), queues)


@reference
async def test_it_can_be_applied_in_each_environment_and_written_both_ways(file: Path, tmp_path: Path) -> None:
    for env in (None, *files.read(file).environments):
        topology = files.load(file, env)
        for suffix, text in (("yaml", files.to_yaml(topology)), ("toml", files.to_toml(topology))):
            (tmp_path / f"it.{suffix}").write_text(text)
            assert files.load(tmp_path / f"it.{suffix}") == topology
        broker = MemoryBroker()
        others = MemoryTransport(broker)
        async with others:
            # What it only compares, somebody else has declared.
            await others.apply(owners_part(topology))
        async with App(MemoryTransport(broker), topology=file, topology_env=env) as app:
            assert {queue.name for queue in app.topology().queues} == {queue.name for queue in topology.queues}


@reference
def test_an_editor_takes_it(file: Path) -> None:
    said = yaml.safe_load(file.read_text()) if file.suffix == ".yaml" else tomllib.loads(file.read_text())
    jsonschema.Draft202012Validator(files.json_schema()).validate(said)


def test_two_at_least_are_in_toml_and_the_index_lists_all() -> None:
    assert len(TOPOLOGIES) == 6
    assert len([path for path in TOPOLOGIES if path.suffix == ".toml"]) >= 2
    index = (ROOT / "topologies" / "README.md").read_text()
    assert all(f"[{path.name}]({path.name})" in index for path in TOPOLOGIES)
