"""From a topology to what the memory broker builds; pure, and without limits of its own to refuse anything."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from brokerkit.errors import TopologyError
from brokerkit.topology import DeadLetter, Group, Queue, Router, Topology, implied, lane_of

PRIORITIES = range(10)


class QueuePlan(msgspec.Struct, frozen=True, kw_only=True):
    """One queue, or the backlog of one group.

    Args:
        name: The queue's name or the group's key.
        levels: The lane of each priority 0..9.
        lanes: How many lanes.
        max_length: Most messages, or None.
        message_ttl: Seconds until a waiting message expires, or None.
        single_active: One subscription at a time receives.
        dead_letter: Name of its dead-letter queue, or None.
        dead_ttl: Seconds its entries stay there, or None.
    """

    name: str
    levels: tuple[int, ...] = (0,) * 10
    lanes: int = 1
    max_length: int | None = None
    message_ttl: float | None = None
    single_active: bool = False
    dead_letter: str | None = None
    dead_ttl: float | None = None


class GroupPlan(msgspec.Struct, frozen=True):
    """A group of a log: its backlog, and from which time on it begins with the log's history."""

    log: str
    since: float | None
    backlog: QueuePlan


class LogPlan(msgspec.Struct, frozen=True, kw_only=True):
    """One log; its limits as in the descriptor."""

    name: str
    retention: float | None
    max_bytes: int | None
    max_length: int | None
    hold_for_groups: bool
    history: bool

    @property
    def limited(self) -> bool:
        """True when something can be over a limit."""
        return self.retention is not None or self.max_bytes is not None or self.max_length is not None


class Plan(msgspec.Struct, frozen=True):
    """Everything a topology asks of the broker."""

    queues: tuple[QueuePlan, ...]
    logs: tuple[LogPlan, ...]
    groups: tuple[GroupPlan, ...]
    router: Router


def compile_topology(topology: Topology) -> Plan:
    """The plan of one topology, or of the union of several.

    Raises:
        TopologyError: A group reads a log that nobody declares.
    """
    unknown = {group.log for group in topology.groups} - {log.name for log in topology.logs}
    if unknown:
        raise TopologyError([f"groups: log {name!r} is not declared" for name in sorted(unknown)])
    whole = implied(topology)
    declared = {queue.name for queue in topology.queues}
    return Plan(
        tuple(_queue(queue, queue.name in declared) for queue in whole.queues),
        tuple(_logs(topology)),
        tuple(_group(group) for group in topology.groups),
        Router(whole),
    )


def _queue(queue: Queue, declared: bool) -> QueuePlan:
    return QueuePlan(
        name=queue.name,
        levels=tuple(lane_of(priority, queue.lanes) for priority in PRIORITIES),
        lanes=queue.lanes,
        max_length=queue.max_length,
        # The ttl of an implied dead-letter queue removes its entries (dead_ttl); it does not make them expire.
        message_ttl=queue.message_ttl if declared else None,
        single_active=queue.single_active,
        dead_letter=queue.dead_letter_name,
        dead_ttl=_dead_ttl(queue.dead_letter),
    )


def _group(group: Group) -> GroupPlan:
    backlog = QueuePlan(name=group.key, dead_letter=group.dead_letter_name, dead_ttl=_dead_ttl(group.dead_letter))
    return GroupPlan(group.log, group.since, backlog)


def _logs(topology: Topology) -> Iterator[LogPlan]:
    for log in topology.logs:
        yield LogPlan(
            name=log.name,
            retention=log.retention,
            max_bytes=log.max_bytes,
            max_length=log.max_length,
            hold_for_groups=log.hold_for_groups,
            history=log.history,
        )


def _dead_ttl(setting: bool | DeadLetter) -> float | None:
    return setting.ttl if isinstance(setting, DeadLetter) else None
