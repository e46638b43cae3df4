"""A private Redis server as a fixture, one for each test that asks for it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.redis.server import Server, ServerFailed

Serve = Callable[..., Server]
"""Starts a server; takes settings as in ``redis.conf``, with ``_`` for ``-``."""


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Starts servers that end with the test. Where none can be started the test is skipped, or fails where Redis is
    required."""
    started: list[Server] = []

    def start(**settings: str) -> Server:
        directory = tmp_path / f"redis-{len(started)}"
        directory.mkdir()
        try:
            server = Server(directory, {name.replace("_", "-"): value for name, value in settings.items()})
            started.append(server)
            server.start()
        except ServerFailed as error:
            if "redis" in os.environ.get("BROKERKIT_TEST_REQUIRE", "").split():
                pytest.fail(f"no Redis server of our own: {error}")
            pytest.skip(f"no Redis server of our own: {error}")
        return server

    yield start
    for server in started:
        server.close()


@pytest.fixture
def server(serve: Serve) -> Server:
    """A server that keeps nothing on disk."""
    return serve()
