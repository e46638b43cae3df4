"""The private node as fixtures: one for all tests of a process that break a broker."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rabbitmq.node import Node, NodeFailed


@pytest.fixture(scope="session")
def started_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A node of our own. Where none can be started the test is skipped, or fails where RabbitMQ is required."""
    try:
        node = Node(tmp_path_factory.mktemp("rabbitmq"))
        try:
            node.start()
        except NodeFailed:
            node.close()
            raise
    except NodeFailed as error:
        if "rabbitmq" in os.environ.get("BROKERKIT_TEST_REQUIRE", "").split():
            pytest.fail(f"no RabbitMQ node of our own: {error}")
        pytest.skip(f"no RabbitMQ node of our own: {error}")
    yield node
    node.close()


@pytest.fixture
def node(started_node: Node) -> Iterator[Node]:
    """The node, as it was started, whatever the test before did to it."""
    started_node.recover()
    yield started_node
    started_node.recover()


@pytest.fixture
def url(node: Node, tmp_path: Path) -> Iterator[str]:
    """A virtual host of the node for this test alone."""
    name = tmp_path.name
    yield node.add_vhost(name)
    node.delete_vhost(name)
