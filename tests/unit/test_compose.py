"""The compose files make sense, as far as one can tell without Docker."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

COMPOSE = Path(__file__).parents[2] / "compose"
KEEPS_NOTHING = {"cluster", "sentinel1", "sentinel2", "sentinel3"}
FILES = sorted(path.name for path in COMPOSE.glob("*.yaml"))


def services(name: str) -> dict[str, dict[str, Any]]:
    content: dict[str, Any] = yaml.safe_load((COMPOSE / name).read_text())
    found: dict[str, dict[str, Any]] = content["services"]
    return found


@pytest.mark.parametrize("name", FILES)
def test_every_service_can_be_waited_for_and_keeps_its_data(name: str) -> None:
    volumes = yaml.safe_load((COMPOSE / name).read_text())["volumes"]
    for title, service in services(name).items():
        assert service["healthcheck"]["test"]
        if title in KEEPS_NOTHING:
            continue
        mounted = [mount.partition(":")[0] for mount in service["volumes"]]
        assert [source for source in mounted if not source.startswith("./") and source not in volumes] == []
        assert any(source in volumes for source in mounted)
        files = [COMPOSE / source for source in mounted if source.startswith("./")]
        assert [path for path in files if not path.is_file()] == []


def test_ports_are_open_on_this_machine_only_and_do_not_meet() -> None:
    everything = [service for name in FILES for service in services(name).values()]
    mapped = [port for service in everything for port in service.get("ports", ())]
    assert [port for port in mapped if not port.startswith("127.0.0.1:")] == []
    on_host = [str(service["command"]) for service in everything if service.get("network_mode") == "host"]
    bound = [re.search(r"bind 127\.0\.0\.1 ?(?:\\n|--)port (\d+)", command) for command in on_host]
    published = [port.split(":")[1] for port in mapped] + [match[1] for match in bound if match]
    assert len(published) == len(set(published))
    assert len(published) == len(mapped) + len(on_host) - 1  # the one that makes the cluster listens on nothing


def test_the_members_of_the_rabbitmq_cluster_are_the_nodes_that_look_for_each_other() -> None:
    members = {service["hostname"] for service in services("rabbitmq.yaml").values() if "profiles" in service}
    settings = dict(
        line.split(" = ") for line in (COMPOSE / "rabbitmq-cluster.conf").read_text().splitlines() if " = " in line
    )
    looked_for = {value.removeprefix("rabbit@") for key, value in settings.items() if ".nodes." in key}
    assert looked_for == members
    assert len(members) == int(settings["cluster_formation.target_cluster_size_hint"]) == 3
