"""What a topology becomes here: sources with lanes and limits. Pure; needs no SQLite."""

from __future__ import annotations

import msgspec

from brokerkit.topology import MAX_PRIORITY, DeadLetter, Group, Log, Queue, Topology, implied, lane_of


class Target(msgspec.Struct, frozen=True):
    """A queue or group, as rows of messages.

    Args:
        key: The queue's name or the group's key.
        lanes: Its number of lanes.
        max_length: Most messages in it, ready, delayed and held; None for no limit.
        ttl: Seconds until a message in it expires, or None.
        dead_letter: The name of its dead-letter queue, or None.
        single_active: Only its oldest consumer receives.
        dead_ttl: Seconds its dead letters are kept, or None.
    """

    key: str
    lanes: int = 1
    max_length: int | None = None
    ttl: float | None = None
    dead_letter: str | None = None
    single_active: bool = False
    dead_ttl: float | None = None

    def lane(self, priority: int) -> int:
        """The lane of a priority; one out of range, as foreign messages may have, counts as the nearest."""
        return lane_of(min(max(priority, 0), MAX_PRIORITY), self.lanes) if self.lanes > 1 else 0


class LogPlan(msgspec.Struct, frozen=True):
    """A log, as its history and the backlogs of its groups.

    Args:
        log: As declared.
        groups: Its groups.
    """

    log: Log
    groups: tuple[Group, ...] = ()

    @property
    def limited(self) -> bool:
        """Whether its length or size has to be known."""
        return self.log.max_length is not None or self.log.max_bytes is not None

    @property
    def retained(self) -> bool:
        """Whether anything of it goes away by itself."""
        return self.limited or self.log.retention is not None


class Plan(msgspec.Struct, frozen=True):
    """Everything the transport needs to know of a topology.

    Args:
        targets: Queues (dead-letter queues, too) and groups by key.
        logs: Logs by name.
    """

    targets: dict[str, Target]
    logs: dict[str, LogPlan]

    @property
    def keys(self) -> list[str]:
        """All that has messages of its own."""
        return [*self.targets, *self.logs]

    @property
    def single(self) -> frozenset[str]:
        """Queues of which only the oldest consumer receives."""
        return frozenset(target.key for target in self.targets.values() if target.single_active)

    @property
    def graves(self) -> set[str]:
        """Dead-letter queues whose entries do not stay for ever."""
        return {each.dead_letter for each in self.targets.values() if each.dead_letter and each.dead_ttl is not None}

    @property
    def counted(self) -> list[str]:
        """All whose length and size have to be known at any time, and groups, whose losses are counted."""
        bounded = [target.key for target in self.targets.values() if target.max_length is not None]
        limited = [plan for plan in self.logs.values() if plan.retained]
        return [*bounded, *(plan.log.name for plan in limited), *(g.key for plan in limited for g in plan.groups)]


def compile_topology(topology: Topology) -> Plan:
    """The plan of a topology.

    Args:
        topology: Valid; one app's, or the union of several.
    """
    full = implied(topology)
    targets = [_queue(queue) for queue in full.queues] + [_group(group) for group in full.groups]
    logs = {log.name: LogPlan(log, tuple(g for g in full.groups if g.log == log.name)) for log in full.logs}
    return Plan({target.key: target for target in targets}, logs)


def _queue(queue: Queue) -> Target:
    return Target(
        queue.name,
        queue.lanes,
        queue.max_length,
        queue.message_ttl,
        queue.dead_letter_name,
        queue.single_active,
        _dead_ttl(queue),
    )


def _group(group: Group) -> Target:
    return Target(group.key, dead_letter=group.dead_letter_name, dead_ttl=_dead_ttl(group))


def _dead_ttl(owner: Queue | Group) -> float | None:
    return owner.dead_letter.ttl if isinstance(owner.dead_letter, DeadLetter) else None
