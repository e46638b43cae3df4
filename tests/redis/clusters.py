"""A private Redis Cluster as a fixture: one for all tests of a process that leave it as it is."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.redis.cluster import Cluster
from tests.redis.server import ServerFailed


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three servers. Where none can be started the test is skipped, or fails where Redis is required."""
    started: Cluster | None = None
    try:
        started = Cluster(tmp_path_factory.mktemp("cluster"))
        started.start()
    except ServerFailed as error:
        if started is not None:
            started.close()
        text = f"no Redis Cluster of our own: {error}"
        if "redis" in os.environ.get("BROKERKIT_TEST_REQUIRE", "").split():
            pytest.fail(text)
        pytest.skip(text)
    yield started
    started.close()
