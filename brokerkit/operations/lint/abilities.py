"""What a topology asks for that a broker cannot give, by what such brokers are known to be able to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from brokerkit.operations.lint.work import Work
from brokerkit.topology import Exchange, Finding, Group, Log, ObjectPath, Queue, Retry, Topology, is_entry
from brokerkit.transport import Capabilities

NO_HISTORY, NO_HOLDING, TOO_LATE, TOO_SLOW = "BK201", "BK202", "BK203", "BK204"
OTHERS_OPTIONS, NO_ENTRIES = "BK205", "BK207"


def ability_findings(topology: Topology, work: Iterable[Work], broker: Capabilities) -> Iterator[Finding]:
    """Everything that such a broker cannot give.

    Args:
        topology: Valid.
        work: What an app does with it, as far as that is known.
        broker: What it can do.
    """
    for log in topology.logs:
        yield from _log(log, broker)
    for queue in topology.queues:
        path = ObjectPath.of("queues", queue.name)
        yield from _handling(path, queue.timeout, queue.retry, broker)
    for group in topology.groups:
        yield from _start(group, broker)
        yield from _handling(ObjectPath.of("groups", group.key), group.timeout, group.retry, broker)
    for each in work:
        yield from _handling(each.path, each.timeout, each.retry, broker)
    yield from _others(topology, broker.name.partition(" ")[0])


def _log(log: Log, broker: Capabilities) -> Iterator[Finding]:
    path = ObjectPath.of("logs", log.name)
    if log.history and not broker.history:
        text = "the broker keeps no history for groups that come later; use Redis, SQLite or memory"
        yield Finding(NO_HISTORY, path / "history", text)
    if log.hold_for_groups and not broker.hold_for_groups:
        text = "at this broker retention cannot wait for a group; use Redis, SQLite or memory"
        yield Finding(NO_HOLDING, path / "hold_for_groups", text)


def _start(group: Group, broker: Capabilities) -> Iterator[Finding]:
    if is_entry(group.start) and not broker.entries:
        text = "only Redis knows entries of a log by their id; give a time"
        yield Finding(NO_ENTRIES, ObjectPath.of("groups", group.key, "start"), text)


def _handling(path: ObjectPath, timeout: float | None, retry: Retry | None, broker: Capabilities) -> Iterator[Finding]:
    if broker.settle_within and timeout is not None and timeout > broker.settle_within:
        text = (
            f"the broker takes back what is not acknowledged within {broker.settle_within:g} s, and this may run "
            f"{timeout:g} s; raise consumer_timeout there and in the URL, or split the work"
        )
        yield Finding(TOO_SLOW, path / "timeout", text)
    if retry is not None and broker.delayed < longest_delay(retry):
        longest = longest_delay(retry)
        text = f"the broker delays by {broker.delayed:.0f} s at most, not by {longest:.0f}; lower max_delay"
        yield Finding(TOO_LATE, path / "retry", text)


def longest_delay(policy: Retry) -> float:
    """The longest delay that a policy comes to, in seconds."""
    earlier = policy.max_retries - 1
    if earlier < 0:
        return 0.0
    if policy.kind != "exponential":
        return min(policy.initial + policy.step * earlier, policy.max_delay)
    try:
        return min(policy.initial * policy.multiplier**earlier, policy.max_delay)
    except OverflowError:
        return policy.max_delay if policy.initial else 0.0


def _others(topology: Topology, broker: str) -> Iterator[Finding]:
    """Settings that only another kind of broker understands."""
    mine = "redis" if broker.partition("+")[0] in ("redis", "valkey") else broker
    places: list[tuple[str, Exchange | Queue | Log]] = []
    for section, holders in (("exchanges", topology.exchanges), ("queues", topology.queues), ("logs", topology.logs)):
        places += [(section, holder) for holder in holders]
    for section, holder in places:
        path = ObjectPath.of(section, holder.name)
        for kind in ("rabbitmq", "redis"):
            if kind != mine and getattr(holder, kind, None) is not None:
                yield Finding(OTHERS_OPTIONS, path / kind, "the broker does not use this")
        if mine != "rabbitmq" and isinstance(holder, Queue) and holder.type != "quorum":
            yield Finding(OTHERS_OPTIONS, path / "type", "the broker knows one type of queue only")
