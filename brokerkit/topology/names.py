"""Names: which are allowed, and which are taken twice."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from brokerkit.topology.descriptors import Topology
from brokerkit.topology.exchange import Exchange
from brokerkit.topology.finding import Finding, ObjectPath
from brokerkit.topology.implied import dead_letter_owners
from brokerkit.topology.log import Group, Log
from brokerkit.topology.queue import DeadLetter, Queue

Descriptor = Exchange | Queue | Log | Group

SPELLING = "BK007"
TWICE = "BK008"

NAME_PATTERN = r"[A-Za-z0-9\-_.:@#,/+ ]{1,200}"
_ALLOWED = re.compile(NAME_PATTERN)
RESERVED = ("amq.", "bk.")
"""What no name of a user begins with: the broker's, and brokerkit's own."""


def name_problems(topology: Topology) -> Iterator[Finding]:
    """One for each name that is not allowed, or declared twice.

    Args:
        topology: Its fields are of their types.
    """
    yield from _spelling(ObjectPath.of("name"), topology.name)
    for exchange in topology.exchanges:
        yield from _spelling(ObjectPath.of("exchanges", exchange.name), exchange.name)
    # The name that a dead-letter queue gets from its owner is as good as the owner's, which is checked.
    derived = {name for name, owners in dead_letter_owners(topology).items() if any(map(_derives, owners))}
    for queue in topology.queues:
        path = ObjectPath.of("queues", queue.name)
        if queue.name not in derived:
            yield from _plain_spelling(path, queue.name)
        yield from _dead_letter_spelling(path, queue)
    for log in topology.logs:
        yield from _plain_spelling(ObjectPath.of("logs", log.name), log.name)
    for group in topology.groups:
        path = ObjectPath.of("groups", group.key)
        yield from _plain_spelling(path, group.name)
        yield from _dead_letter_spelling(path, group)


def duplicate_problems(topology: Topology) -> Iterator[Finding]:
    """One for each name that two descriptors claim.

    Args:
        topology: Its fields are of their types.
    """
    yield from _duplicates("exchanges", [(exchange.name, exchange) for exchange in topology.exchanges])
    yield from _duplicates("queues", [(queue.name, queue) for queue in topology.queues])
    yield from _duplicates("logs", [(log.name, log) for log in topology.logs])
    yield from _duplicates("groups", [(group.key, group) for group in topology.groups])
    queues = {queue.name for queue in topology.queues}
    for log in topology.logs:
        if log.name in queues:
            yield Finding(TWICE, ObjectPath.of("logs", log.name), "a queue has the same name; rename one of the two")


def _duplicates(section: str, named: Sequence[tuple[str, Descriptor]]) -> Iterator[Finding]:
    first: dict[str, Descriptor] = {}
    for name, descriptor in named:
        known = first.setdefault(name, descriptor)
        if known is not descriptor:
            fields = [field for field in known.__struct_fields__ if getattr(known, field) != getattr(descriptor, field)]
            how = f"with different {' and '.join(fields)}" if fields else "in the same way"
            yield Finding(TWICE, ObjectPath.of(section, name), f"declared twice, {how}; keep one")


def _derives(owner: Queue | Group) -> bool:
    return not (isinstance(owner.dead_letter, DeadLetter) and owner.dead_letter.name)


def _dead_letter_spelling(path: ObjectPath, owner: Queue | Group) -> Iterator[Finding]:
    setting = owner.dead_letter
    if isinstance(setting, DeadLetter) and setting.name is not None:
        yield from _plain_spelling(path / "dead_letter" / "name", setting.name)


def _plain_spelling(path: ObjectPath, name: str) -> Iterator[Finding]:
    yield from _spelling(path, name)
    if "@" in name:
        yield Finding(SPELLING, path, "'@' separates a log from its group; use another character")


def _spelling(path: ObjectPath, name: str) -> Iterator[Finding]:
    if not _ALLOWED.fullmatch(name):
        text = f"a name is 1 to 200 of the characters A-Z a-z 0-9 - _ . : @ # , / + and space, not {name!r}"
        yield Finding(SPELLING, path, text)
    elif name.startswith(RESERVED):
        text = f"names that begin with 'amq.' or 'bk.' are reserved; use another name than {name!r}"
        yield Finding(SPELLING, path, text)
