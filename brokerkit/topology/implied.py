"""What a topology implies without saying it: exchanges its bindings were made from, and dead-letter queues."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from brokerkit.topology.descriptors import Topology
from brokerkit.topology.exchange import Binding, Exchange
from brokerkit.topology.log import Group, Log
from brokerkit.topology.queue import DeadLetter, Queue


def with_exchanges(topology: Topology) -> Topology:
    """Add the exchange objects that bindings and alternates were made from.

    ``Queue("eu", bindings=[orders.bind("eu.*")])`` keeps only the name of ``orders`` in its value. An app that collects
    queues calls this first, so that nobody needs to list the exchanges a second time. Exchanges given by name only, as
    in files, cannot be added.

    Args:
        topology: As collected.

    Returns:
        The topology with those exchanges. One that is declared already is not added again; one that was declared
        differently is, and ``validate`` reports it.
    """
    exchanges = dict.fromkeys(topology.exchanges)
    holders: list[Exchange | Queue | Log] = [*topology.exchanges, *topology.queues, *topology.logs]
    for holder in holders:
        exchanges.update(dict.fromkeys(_sources(holder)))
    return msgspec.structs.replace(topology, exchanges=tuple(exchanges))


def dead_letter_queue(owner: Queue | Group) -> Queue | None:
    """The dead-letter queue that a queue or group asks for, as a descriptor; None if it wants none.

    It has the owner's type and mode, no dead letters of its own, and the ``ttl`` and ``max_length`` of its
    ``DeadLetter``.

    Args:
        owner: The queue or group whose messages are given up.
    """
    name = owner.dead_letter_name
    if name is None:
        return None
    wanted = owner.dead_letter if isinstance(owner.dead_letter, DeadLetter) else DeadLetter()
    queue = Queue(name, dead_letter=False, message_ttl=wanted.ttl, max_length=wanted.max_length)
    if isinstance(owner, Queue):
        queue = msgspec.structs.replace(queue, type=owner.type)
    return msgspec.structs.replace(queue, mode=owner.mode)


def dead_letter_owners(topology: Topology) -> dict[str, tuple[Queue | Group, ...]]:
    """The queues and groups behind each dead-letter queue, by its name."""
    owners: dict[str, tuple[Queue | Group, ...]] = {}
    for owner in _owners(topology):
        if (name := owner.dead_letter_name) is not None:
            owners[name] = (*owners.get(name, ()), owner)
    return owners


def implied(topology: Topology) -> Topology:
    """Add the dead-letter queues that are not declared, so that every queue a broker needs is a ``Queue``.

    Args:
        topology: A valid topology.

    Returns:
        The topology with those queues after its own; applying this twice changes nothing.
    """
    queues = {queue.name: queue for queue in topology.queues}
    for owner in _owners(topology):
        queue = dead_letter_queue(owner)
        if queue is not None:
            queues.setdefault(queue.name, queue)
    return msgspec.structs.replace(topology, queues=tuple(queues.values()))


def _owners(topology: Topology) -> list[Queue | Group]:
    return [*topology.queues, *topology.groups]


def _sources(holder: Exchange | Queue | Log) -> Iterator[Exchange]:
    """The exchange objects behind a descriptor, and behind those, in order of mention."""
    waiting, seen = list(_direct_sources(holder)), set()
    while waiting:
        exchange = waiting.pop(0)
        if exchange not in seen:
            seen.add(exchange)
            yield exchange
            waiting += _direct_sources(exchange)


def _direct_sources(holder: Exchange | Queue | Log) -> Iterable[Exchange]:
    bindings: object = holder.bindings  # nobody has checked them yet
    if not isinstance(bindings, tuple):
        return []
    sources = [binding.source for binding in bindings if isinstance(binding, Binding)]
    if isinstance(holder, Exchange):
        sources.append(holder.alternate_source)
    return [source for source in sources if source is not None]
