"""The brokers that topologies are planned on."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import msgspec
import pytest

from brokerkit import Topology
from brokerkit.clock import SystemClock
from brokerkit.connect import transport_for
from brokerkit.store import Retention
from brokerkit.transports.memory import MemoryBroker, MemoryTransport
from tests.brokers import broker_url


class Place:
    """A broker for one test: names of its objects and of its app are the test's own.

    Args:
        make: Makes a transport to it.
        prefix: What names begin with.
        lists: It lists all that it has.
        url: Where it is.
    """

    def __init__(self, make: Callable[[], Any], prefix: str = "", lists: bool = False, url: str = "") -> None:
        self.transport = make
        self.prefix = prefix
        self.lists = lists
        self.url = url

    def named(self, topology: Topology) -> Topology:
        """The topology with names of its own."""
        return prefixed(topology, self.prefix)


def prefixed(topology: Topology, prefix: str) -> Topology:
    """The topology, with a prefix before every name in it."""

    def bindings(held: Any) -> Any:
        return tuple(msgspec.structs.replace(each, exchange=prefix + each.exchange) for each in held)

    def renamed(each: Any) -> Any:
        fields: dict[str, Any] = {}
        if hasattr(each, "bindings"):
            fields["bindings"] = bindings(each.bindings)
        if getattr(each, "alternate", None):
            fields["alternate"] = prefix + each.alternate
        name = getattr(getattr(each, "dead_letter", None), "name", None)
        if name:
            fields["dead_letter"] = msgspec.structs.replace(each.dead_letter, name=prefix + name)
        own = {"log": prefix + each.log} if hasattr(each, "log") else {"name": prefix + each.name}
        return msgspec.structs.replace(each, **fields, **own)

    sections = {
        section: tuple(map(renamed, getattr(topology, section)))
        for section in ("exchanges", "queues", "logs", "groups")
    }
    return msgspec.structs.replace(topology, name=prefix + topology.name, **sections)


def connect(url: str) -> Any:
    """A transport to a URL."""
    return transport_for(url, SystemClock(), Retention())


STORED = ("memory", "sqlite", "redis")
"""Brokers that keep what apps declare."""


def places() -> list[Any]:
    """The brokers, by name."""
    return [*STORED, *rabbitmqs()]


def rabbitmqs() -> list[Any]:
    """RabbitMQ's editions; all tests of one run one after the other, since who applies excludes all others."""
    names = ("rabbitmq", "rabbitmq-newer")
    return [pytest.param(name, marks=pytest.mark.xdist_group(f"planning-{name}")) for name in names]


def managed(url: str) -> str:
    """The URL with that of the management API, where the environment names one."""
    api = os.environ.get("BROKERKIT_TEST_RABBITMQ_MANAGEMENT")
    return f"{url}?management={quote(api, safe='')}" if api else url


def place_of(kind: str, directory: Path) -> Place:
    """A broker for one test."""
    if kind == "memory":
        broker = MemoryBroker()
        return Place(lambda: MemoryTransport(broker))
    if kind == "sqlite":
        return Place(lambda: connect(f"sqlite:///{directory / 'broker.db'}"))
    prefix = f"bk-plan-{uuid4().hex[:8]}"
    url = broker_url(kind)
    if kind.startswith("rabbitmq"):
        url = managed(url) if kind == "rabbitmq-newer" else url
        return Place(lambda: connect(url), f"{prefix}.", lists=kind == "rabbitmq-newer", url=url)
    return Place(lambda: connect(f"{url}?prefix={prefix}"))
