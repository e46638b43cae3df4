"""Whose an object is, said by each descriptor."""

from __future__ import annotations

from typing import Any

import msgspec

from brokerkit.topology.descriptors import Topology
from brokerkit.topology.exchange import Exchange
from brokerkit.topology.options import Mode
from brokerkit.topology.queue import Queue

SECTIONS = ("exchanges", "queues", "logs", "groups")


def with_modes(topology: Topology) -> Topology:
    """The same topology, in which each descriptor says its mode by itself; where nothing is said, it is owned."""
    if topology.mode == "own":
        return topology
    sections = {name: tuple(_resolved(each, topology.mode) for each in getattr(topology, name)) for name in SECTIONS}
    return msgspec.structs.replace(topology, mode="own", **sections)


def _resolved(descriptor: Any, default: Mode) -> Any:
    return descriptor if descriptor.mode is not None else msgspec.structs.replace(descriptor, mode=default)


def modeless(item: Exchange | Queue) -> Exchange | Queue:
    """What it is, whoever declares it."""
    return item if item.mode is None else msgspec.structs.replace(item, mode=None)
