"""Ports for servers of our own."""

from __future__ import annotations

import os
import random
import socket
from collections.abc import Iterator

_LOWEST, _HIGHEST = 20_000, 32_000
"""Below those that a system gives to outgoing connections, one of which could take a port before its server starts."""


def free_port() -> int:
    """A port that nobody listens on, given once."""
    for port in _unused:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("every port was given")


def _candidates() -> Iterator[int]:
    """In an order of chance, and none that another process of the same test run may choose."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    ports = range(_LOWEST + worker, _HIGHEST, workers)
    yield from random.SystemRandom().sample(ports, len(ports))


_unused = _candidates()
