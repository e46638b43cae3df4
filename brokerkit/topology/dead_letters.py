"""Dead letters: their queues must not be something else, must agree, and must not lead back."""

from __future__ import annotations

from collections.abc import Iterator

from brokerkit.topology.descriptors import Topology
from brokerkit.topology.implied import dead_letter_owners, dead_letter_queue
from brokerkit.topology.log import Group
from brokerkit.topology.queue import DeadLetter, Queue
from brokerkit.topology.references import cycles

_LONGEST = 255
"""The longest name of a queue in bytes: an AMQP short string."""


def dead_letter_problems(topology: Topology) -> Iterator[str]:
    """One line for each dead-letter queue that cannot be what its owners want.

    Args:
        topology: Its fields are of their types.
    """
    queues = {queue.name: queue for queue in topology.queues}
    taken = {exchange.name: "an exchange" for exchange in topology.exchanges}
    taken |= {log.name: "a log" for log in topology.logs}
    for name, owners in dead_letter_owners(topology).items():
        for owner in owners:
            if name in taken:
                yield f"{_path(owner)}: {name!r} is {taken[name]}; rename it, or name the queue in DeadLetter(name=...)"
            if len(name.encode()) > _LONGEST:
                yield f"{_path(owner)}: {name!r} is longer than {_LONGEST} bytes; name it in DeadLetter(name=...)"
            if name in queues:
                yield from _declared_problems(owner, queues[name])
        if name not in queues:
            yield from _sharing_problems(owners)
    yield from _loop_problems(topology)


def _declared_problems(owner: Queue | Group, declared: Queue) -> Iterator[str]:
    """What is wrong with a declared queue as the dead-letter queue of an owner."""
    setting = owner.dead_letter
    if not (isinstance(setting, DeadLetter) and setting.name):
        if declared.bindings or declared.dead_letter is not False or declared.lanes != 1:
            yield (
                f"queues.{declared.name}: {_path(owner)} gives this name to its dead-letter queue; rename it, "
                f"set dead_letter=False on it if it is that queue, or name another in DeadLetter(name=...)"
            )
        return
    for field, wanted, found in (
        ("ttl", setting.ttl, declared.message_ttl),
        ("max_length", setting.max_length, declared.max_length),
    ):
        if wanted not in (None, found):
            yield f"{_path(owner)}.{field}: queue {declared.name!r} is declared; set its limits there, not here"


def _sharing_problems(owners: tuple[Queue | Group, ...]) -> Iterator[str]:
    """Where owners share a dead-letter queue that nobody declared, all must imply the same one."""
    first, *others = owners
    model = dead_letter_queue(first)
    for other in others:
        queue = dead_letter_queue(other)
        fields = [field for field in Queue.__struct_fields__ if getattr(model, field) != getattr(queue, field)]
        if fields:
            name, differing = other.dead_letter_name, " and ".join(fields)
            yield (
                f"{_path(other)}: shares {name!r} with {_path(first)}, but with different {differing}; "
                f"declare Queue({name!r}, dead_letter=False) with what both want"
            )


def _loop_problems(topology: Topology) -> Iterator[str]:
    names = {queue.name: queue.dead_letter_name for queue in topology.queues}
    for cycle in cycles({queue: target for queue, target in names.items() if target is not None}):
        yield (
            f"queues.{cycle[0]}.dead_letter: a dead letter comes back to its queue, {' -> '.join(cycle)}; "
            f"set dead_letter=False on one of them"
        )


def _path(owner: Queue | Group) -> str:
    return f"queues.{owner.name}.dead_letter" if isinstance(owner, Queue) else f"groups.{owner.key}.dead_letter"
