"""Where measured processes meet: a broker of their own for each measurement, or a place of their own on one.

The bench knows these transports; RabbitMQ and Redis are those that the tests use, see ``tests/brokers.py``.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import pytest

from brokerkit.topology import QueueType
from tests.bench.processes import play
from tests.bench.workload import Place
from tests.brokers import broker_url

TRANSPORTS = ("memory", "sqlite", "redis", "rabbitmq quorum", "rabbitmq classic")
"""Also what figures are called. A second word is a configuration; the first one is an argument of the command."""


WITHOUT_RECORDS = ("rabbitmq",)
"""Brokers that keep no records: what needs some is not measured there."""


def family(transport: str) -> str:
    """The broker of a transport, whatever its configuration."""
    return transport.partition(" ")[0]


def absent(transport: str) -> str:
    """Why a transport cannot be measured here; "" when it can."""
    try:
        if family(transport) in ("rabbitmq", "redis"):
            broker_url(family(transport))
    except (pytest.skip.Exception, pytest.fail.Exception) as error:
        return str(error)
    return ""


@contextmanager
def fresh_broker(transport: str, directory: str) -> Iterator[str]:
    """The URL of an empty broker, or of an empty ``Place`` on one."""
    if transport == "memory":
        yield "memory://"
    elif transport == "sqlite":
        with _fresh_file(directory) as path:
            yield f"sqlite:///{path}"
    elif transport == "redis":
        with _fresh_prefix() as where:
            yield f"{where['url']}?prefix={where['prefix']}"
    else:
        with _fresh_place(transport) as place:
            yield place


@contextmanager
def fresh_plain(transport: str, directory: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The module of the plain loops, and where they meet."""
    if transport == "memory":
        yield "plain", {}
    elif transport == "sqlite":
        with _fresh_file(directory) as path:
            yield "plain_sqlite", {"path": path}
    elif transport == "redis":
        with _fresh_prefix() as where:
            yield "plain_redis", where
    else:
        with _fresh_place(transport) as place:
            yield "plain_rabbitmq", {"url": place}


@contextmanager
def fresh_raw(transport: str) -> Iterator[tuple[str, dict[str, Any]] | None]:
    """The module of the raw limit, and where it meets; None where the client is the broker."""
    if family(transport) != "rabbitmq":
        yield None
    else:
        with _fresh_place(transport) as place:
            yield "raw_rabbitmq", {"url": place}


@contextmanager
def _fresh_file(directory: str) -> Iterator[str]:
    """The path of a database that does not exist yet."""
    with TemporaryDirectory(dir=directory) as place:
        yield str(Path(place, "b.db"))


@contextmanager
def _fresh_prefix() -> Iterator[dict[str, str]]:
    """A prefix of keys on the shared Redis, all deleted afterwards."""
    where = {"url": broker_url("redis"), "prefix": f"bench-{uuid.uuid4().hex[:12]}"}
    try:
        yield where
    finally:
        play("plain_redis:removed", **where)


@contextmanager
def _fresh_place(transport: str) -> Iterator[str]:
    """A place on the shared RabbitMQ, deleted afterwards."""
    kind = cast(QueueType, transport.partition(" ")[2])
    place = str(Place(broker_url("rabbitmq"), f"bench-{uuid.uuid4().hex[:12]}", kind))
    try:
        yield place
    finally:
        play("plain_rabbitmq:removed", url=place)


def left_over(transport: str, url: str) -> int:
    """Messages that are still in the queue of a place, now that everybody has gone; 0 where nothing can be."""
    return int(play("plain_rabbitmq:waiting", url=url)["left"]) if family(transport) == "rabbitmq" else 0
