"""What an app does with a queue or group: as much of a handler as concerns its broker."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from brokerkit.app import App
from brokerkit.calls import seconds
from brokerkit.topology import Group, ObjectPath, Queue, Retry, Topology, priority_number


class Work(msgspec.Struct, frozen=True):
    """A task or a subscriber.

    Args:
        path: What it is called, ``tasks.charge``.
        source: The queue or group it consumes.
        timeout: Seconds one attempt may run, its own or the source's; None without limit.
        retry: Its own retry policy; None for the source's or the app's.
        priority: The priority it is sent with, None for the normal one.
    """

    path: ObjectPath
    source: str
    timeout: float | None = None
    retry: Retry | None = None
    priority: int | None = None


def work_of(app: App, topology: Topology) -> Iterator[Work]:
    """The tasks and subscribers of an app; the topology is the app's."""
    sources: dict[str, Queue | Group] = {queue.name: queue for queue in topology.queues}
    sources |= {group.key: group for group in topology.groups}
    for task in app.tasks.values():
        declared, source = task.declared, sources[task.queue.name]
        timeout = source.timeout if declared.timeout is None else seconds(declared.timeout)
        priority = priority_number(declared.priority)
        yield Work(ObjectPath.of("tasks", task.name), task.queue.name, timeout, declared.retry, priority)
    for subscriber in app.subscribers:
        key = subscriber.source_key
        path = ObjectPath.of("subscribers", subscriber.name)
        yield Work(path, key, sources[key].timeout, subscriber.retry)
