"""What is killed: the worker processes of brokers that are private where there is a server."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.grounds import cluster_ground, dying_redis_ground, ground, rabbitmq_ground, redis_ground, sqlite_ground
from tests.chaos.processes import Hire, Workers
from tests.rabbitmq.fixtures import node, started_node, url
from tests.redis.clusters import cluster
from tests.redis.servers import serve, server

__all__ = [
    "cluster",
    "cluster_ground",
    "dying_redis_ground",
    "ground",
    "node",
    "rabbitmq_ground",
    "redis_ground",
    "serve",
    "server",
    "sqlite_ground",
    "started_node",
    "url",
]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Where executions are noted, outside the broker."""
    path = tmp_path / "executions.log"
    path.touch()
    return path


@pytest.fixture
def hire(log: Path) -> Iterator[Hire]:
    """Makes ``Workers``; none of their processes outlives the test, whatever becomes of it."""
    hired: list[Workers] = []

    def hire(url: str, store: str = "broker") -> Workers:
        hired.append(Workers(url, log, store))
        return hired[-1]

    yield hire
    for workers in hired:
        workers.bury()
