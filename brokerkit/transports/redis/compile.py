"""What a topology becomes on Redis: streams, sorted sets and hashes with their keys. Pure; needs no client library."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from brokerkit.errors import TopologyError
from brokerkit.topology import (
    MAX_PRIORITY,
    DeadLetter,
    Finding,
    Group,
    Log,
    ObjectPath,
    Queue,
    Topology,
    implied,
    lane_of,
)
from brokerkit.transports.redis.keys import DEAD, Keys, tag_of

FAR_DEAD_LETTERS = "BK320"

QUEUE_GROUP = "bk"
"""The consumer group that reads a queue's streams; a log has one for each of its groups, named as they are."""


class Read(NamedTuple):
    """A stream that a source reads.

    Args:
        stream: Its key.
        group: The consumer group.
        own: Nobody else reads it: what is acknowledged is deleted.
    """

    stream: str
    group: str
    own: bool = True


class Target(msgspec.Struct, frozen=True):
    """A queue or group.

    Args:
        key: The queue's name or the group's key.
        base: What the keys of its parts begin with.
        near: What keys begin with that lie beside them, see ``keys``.
        lanes: Its number of lanes.
        max_length: Most messages in it, ready, delayed and held; None for no limit.
        ttl: Seconds until a message that waits in it expires, or None.
        dead_letter: The name of its dead-letter queue, or None.
        single_active: One consumer at a time receives.
        dead_ttl: Seconds its dead letters are kept, or None.
        log: The log's name, if it is a group.
        group: The group's name, if it is one.
        log_stream: The key of that log's stream, or "".
    """

    key: str
    base: str
    near: str
    lanes: int = 1
    max_length: int | None = None
    ttl: float | None = None
    dead_letter: str | None = None
    single_active: bool = False
    dead_ttl: float | None = None
    log: str = ""
    group: str = ""
    log_stream: str = ""

    def lane(self, priority: int) -> int:
        """The lane of a priority; one out of range, as foreign messages may have, counts as the nearest."""
        return lane_of(min(max(priority, 0), MAX_PRIORITY), self.lanes) if self.lanes > 1 else 0

    def stream(self, level: int) -> str:
        """The stream of a lane."""
        return f"{self.base}:{level}"

    @property
    def leases(self) -> str:
        """Sorted set: until when each consumer holds what it holds, in milliseconds."""
        return f"{self.base}:leases"

    @property
    def delayed(self) -> str:
        """Sorted set: what is not due yet, by the millisecond at which it is."""
        return f"{self.base}:delayed"

    @property
    def payloads(self) -> str:
        """Hash: the messages of ``delayed``."""
        return f"{self.base}:payloads"

    @property
    def waiting(self) -> str:
        """Sorted set: who waits for which lane."""
        return f"{self.base}:waiting"

    @property
    def index(self) -> str:
        """Hash: where the message of an id is."""
        return f"{self.base}:index"

    @property
    def starts(self) -> str:
        """Hash: start marks by entry."""
        return f"{self.base}:starts"

    @property
    def active(self) -> str:
        """String: the consumer that alone receives, where only one does."""
        return f"{self.base}:active"

    def reads(self, level: int) -> tuple[Read, ...]:
        """The streams of a lane, in the order in which they are read: a group's own retries before its log."""
        own = Read(self.stream(level), QUEUE_GROUP)
        return (own, Read(self.log_stream, self.group, False)) if self.log_stream else (own,)

    @property
    def all_reads(self) -> tuple[Read, ...]:
        """The streams of all lanes, least urgent first."""
        return tuple(read for level in range(self.lanes) for read in self.reads(level))


class LogPlan(msgspec.Struct, frozen=True):
    """A log: one stream, which each group reads by a consumer group of its own.

    Args:
        log: As declared.
        base: What the keys of its parts begin with.
        near: What keys begin with that lie beside them.
        groups: Its groups.
    """

    log: Log
    base: str
    near: str
    groups: tuple[Group, ...] = ()

    @property
    def stream(self) -> str:
        return f"{self.base}:0"

    @property
    def delayed(self) -> str:
        return f"{self.base}:delayed"

    @property
    def payloads(self) -> str:
        return f"{self.base}:payloads"

    @property
    def index(self) -> str:
        return f"{self.base}:index"

    @property
    def meta(self) -> str:
        """Hash: bytes in the stream, and what each group has lost."""
        return f"{self.base}:meta"


class Plan(msgspec.Struct, frozen=True):
    """Everything the transport needs to know of a topology.

    Args:
        targets: Queues (dead-letter queues, too) and groups by key.
        logs: Logs by name.
    """

    targets: dict[str, Target] = {}
    logs: dict[str, LogPlan] = {}

    @property
    def mortal(self) -> set[str]:
        """Dead-letter queues whose entries do not stay for ever."""
        return {each.dead_letter for each in self.targets.values() if each.dead_letter and each.dead_ttl is not None}


def compile_topology(topology: Topology, keys: Keys) -> Plan:
    """The plan of a topology.

    Args:
        topology: Valid; one app's, or the union of several.
        keys: What keys are called.

    Raises:
        TopologyError: A dead-letter queue could not be reached in one step.
    """
    full = implied(topology)
    tags = _tags(full)
    if not keys.together and (far := list(far_dead_letters(full))):
        raise TopologyError([*map(str, far)])
    logs = {
        log.name: LogPlan(log, *_place(keys, tags, log.name), tuple(g for g in full.groups if g.log == log.name))
        for log in full.logs
    }
    targets = [_queue(queue, *_place(keys, tags, queue.name)) for queue in full.queues]
    targets += [_group(group, *_place(keys, tags, group.key), logs[group.log].stream) for group in full.groups]
    return Plan({target.key: target for target in targets}, logs)


def _place(keys: Keys, tags: dict[str, str], name: str) -> tuple[str, str]:
    return keys.base(tags[name], name), keys.near(tags[name])


def _tags(topology: Topology) -> dict[str, str]:
    """The tag of each queue, log and group: as it says, else that of the dead-letter queue it names, else by name."""
    queues = {queue.name: queue for queue in topology.queues}
    tags = {log.name: _own_tag(log) or tag_of(log.name) for log in topology.logs}
    tags |= {group.key: tags[group.log] for group in topology.groups}

    def tag(queue: Queue) -> str:
        grave = queue.dead_letter_name
        named = grave is not None and grave != f"{queue.name}{DEAD}"
        return _own_tag(queue) or (tag(queues[grave]) if named and grave is not None else tag_of(queue.name))

    tags |= {name: tag(queue) for name, queue in queues.items()}
    owners: list[Queue | Group] = [*topology.queues, *topology.groups]
    for owner in owners:
        key = owner.name if isinstance(owner, Queue) else owner.key
        if owner.dead_letter_name == f"{key}{DEAD}" and _own_tag(queues[owner.dead_letter_name]) is None:
            tags[owner.dead_letter_name] = tags[key]
    return tags


def _own_tag(place: Queue | Log) -> str | None:
    return place.redis.hash_tag if place.redis is not None else None


def far_dead_letters(topology: Topology) -> Iterator[Finding]:
    """Dead-letter queues that a cluster cannot reach in one step, because they lie elsewhere.

    Args:
        topology: Valid.
    """
    full = implied(topology)
    tags = _tags(full)
    owners: list[Queue | Group] = [*full.queues, *full.groups]
    for owner in owners:
        section, key = ("queues", owner.name) if isinstance(owner, Queue) else ("groups", owner.key)
        grave = owner.dead_letter_name
        if grave is not None and tags[grave] != tags[key]:
            text = (
                f"in a Redis Cluster a message moves in one step only between queues of one hash tag, and {grave} has "
                f"{tags[grave]!r}, {key} {tags[key]!r}; give both the same redis hash_tag"
            )
            yield Finding(FAR_DEAD_LETTERS, ObjectPath.of(section, key, "dead_letter"), text)


def _queue(queue: Queue, base: str, near: str) -> Target:
    return Target(
        queue.name,
        base,
        near,
        queue.lanes,
        queue.max_length,
        queue.message_ttl,
        queue.dead_letter_name,
        queue.single_active,
        _dead_ttl(queue),
    )


def _group(group: Group, base: str, near: str, stream: str) -> Target:
    return Target(
        group.key,
        base,
        near,
        dead_letter=group.dead_letter_name,
        dead_ttl=_dead_ttl(group),
        log=group.log,
        group=group.name,
        log_stream=stream,
    )


def _dead_ttl(owner: Queue | Group) -> float | None:
    return owner.dead_letter.ttl if isinstance(owner.dead_letter, DeadLetter) else None
