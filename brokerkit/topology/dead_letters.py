"""Dead letters: their queues must not be something else, must agree, and must not lead back."""

from __future__ import annotations

from collections.abc import Iterator

from brokerkit.topology.descriptors import Topology
from brokerkit.topology.finding import Finding, ObjectPath
from brokerkit.topology.implied import dead_letter_owners, dead_letter_queue
from brokerkit.topology.log import Group
from brokerkit.topology.queue import DeadLetter, Queue
from brokerkit.topology.references import cycles

CONTRADICTION = "BK012"
CIRCLE = "BK013"

_LONGEST = 255
"""The longest name of a queue in bytes: an AMQP short string."""


def dead_letter_problems(topology: Topology) -> Iterator[Finding]:
    """One for each dead-letter queue that cannot be what its owners want.

    Args:
        topology: Its fields are of their types.
    """
    queues = {queue.name: queue for queue in topology.queues}
    taken = {exchange.name: "an exchange" for exchange in topology.exchanges}
    taken |= {log.name: "a log" for log in topology.logs}
    for name, owners in dead_letter_owners(topology).items():
        for owner in owners:
            if name in taken:
                text = f"{name!r} is {taken[name]}; rename it, or name the queue in DeadLetter(name=...)"
                yield Finding(CONTRADICTION, _path(owner), text)
            if len(name.encode()) > _LONGEST:
                text = f"{name!r} is longer than {_LONGEST} bytes; name it in DeadLetter(name=...)"
                yield Finding(CONTRADICTION, _path(owner), text)
            if name in queues:
                yield from _declared_problems(owner, queues[name])
        if name not in queues:
            yield from _sharing_problems(owners)
    yield from dead_letter_circles(topology)


def _declared_problems(owner: Queue | Group, declared: Queue) -> Iterator[Finding]:
    """What is wrong with a declared queue as the dead-letter queue of an owner."""
    setting = owner.dead_letter
    if not (isinstance(setting, DeadLetter) and setting.name):
        if declared.bindings or declared.dead_letter is not False or declared.lanes != 1:
            yield Finding(
                CONTRADICTION,
                ObjectPath.of("queues", declared.name),
                f"{_path(owner)} gives this name to its dead-letter queue; rename it, "
                f"set dead_letter=False on it if it is that queue, or name another in DeadLetter(name=...)",
            )
        return
    for field, wanted, found in (
        ("ttl", setting.ttl, declared.message_ttl),
        ("max_length", setting.max_length, declared.max_length),
    ):
        if wanted not in (None, found):
            text = f"queue {declared.name!r} is declared; set its limits there, not here"
            yield Finding(CONTRADICTION, _path(owner) / field, text)


def _sharing_problems(owners: tuple[Queue | Group, ...]) -> Iterator[Finding]:
    """Where owners share a dead-letter queue that nobody declared, all must imply the same one."""
    first, *others = owners
    model = dead_letter_queue(first)
    for other in others:
        queue = dead_letter_queue(other)
        fields = [field for field in Queue.__struct_fields__ if getattr(model, field) != getattr(queue, field)]
        if fields:
            name, differing = other.dead_letter_name, " and ".join(fields)
            yield Finding(
                CONTRADICTION,
                _path(other),
                f"shares {name!r} with {_path(first)}, but with different {differing}; "
                f"declare Queue({name!r}, dead_letter=False) with what both want",
            )


def dead_letter_circles(topology: Topology) -> Iterator[Finding]:
    """One for each circle of dead-letter queues."""
    names = {queue.name: queue.dead_letter_name for queue in topology.queues}
    for cycle in cycles({queue: target for queue, target in names.items() if target is not None}):
        yield Finding(
            CIRCLE,
            ObjectPath.of("queues", cycle[0], "dead_letter"),
            f"a dead letter comes back to its queue, {' -> '.join(cycle)}; set dead_letter=False on one of them",
        )


def _path(owner: Queue | Group) -> ObjectPath:
    section, name = ("queues", owner.name) if isinstance(owner, Queue) else ("groups", owner.key)
    return ObjectPath.of(section, name, "dead_letter")
