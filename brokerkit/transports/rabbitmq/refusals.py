"""What RabbitMQ refuses of a topology, or does otherwise than somebody may expect; by version, offline."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from brokerkit.topology import Binding, Exchange, Finding, Log, ObjectPath, Queue, Topology
from brokerkit.transports.rabbitmq.bindings import fewest_hashes, hashes, is_single
from brokerkit.transports.rabbitmq.plan import Plan
from brokerkit.transports.rabbitmq.versions import (
    LONGEST_NAME,
    LONGEST_TTL,
    Version,
    argument_problems,
    argument_warnings,
    compares_types,
    most_hashes,
    native_priority_problem,
    native_priority_warning,
)

_COMPILED: Mapping[type[Queue | Log | Exchange], Mapping[str, str]] = {
    Queue: {
        "x-queue-type": "type",
        "x-dead-letter-exchange": "dead_letter",
        "x-dead-letter-routing-key": "dead_letter",
        "x-message-ttl": "message_ttl",
        "x-max-length": "max_length",
        "x-single-active-consumer": "single_active",
        "x-max-priority": "rabbitmq.native_priority",
    },
    Log: {
        "x-queue-type": "none: a group's queue is a quorum queue",
        "x-message-ttl": "retention",
        "x-max-length": "max_length",
        "x-max-length-bytes": "max_bytes",
        "x-overflow": "none: a log discards its oldest entries",
        "x-dead-letter-exchange": "dead_letter of its groups",
        "x-dead-letter-routing-key": "dead_letter of its groups",
    },
    Exchange: {"alternate-exchange": "alternate"},
}
"""Arguments that a field of the descriptor stands for."""

_MOST_NUMBERS = 6

NO_HISTORY, NO_HOLDING = "BK201", "BK202"
CLASH, STOOD_FOR, REFUSED, SURPRISING = "BK301", "BK302", "BK303", "BK304"
LONG_TTL, HASHES, HEADER = "BK305", "BK306", "BK307"
NO_NATIVE_PRIORITY, NATIVE_PRIORITY = "BK308", "BK309"
LIMIT_PER_LANE, DELAYS_HELD_UP, AT_MOST_ONCE, UNLIMITED = "BK310", "BK311", "BK312", "BK106"


def problems(topology: Topology, version: Version) -> Iterator[Finding]:
    """One for each thing that this broker would refuse.

    Args:
        topology: Valid, with what it implies.
        version: The broker's.
    """
    for queue in topology.queues:
        yield from _queue_problems(queue, version)
    for log in topology.logs:
        path = ObjectPath.of("logs", log.name)
        yield from _argument_problems(path, log, version)
        yield from _ttl_problems(path / "retention", log.retention)
    for exchange in topology.exchanges:
        yield from _argument_problems(ObjectPath.of("exchanges", exchange.name), exchange, version)
    topics = {exchange.name for exchange in topology.exchanges if exchange.type == "topic"}
    for path, binding in _bindings(topology):
        yield from _header_problems(path, binding, version)
        if binding.exchange in topics and hashes(fewest_hashes(binding.key)) > most_hashes(version):
            text = "RabbitMQ takes at most two '#' in a pattern from 4.3 on; split it into several bindings"
            yield Finding(HASHES, path / "key", text)


def missing(topology: Topology) -> Iterator[Finding]:
    """One for each ability that RabbitMQ does not have."""
    for log in topology.logs:
        if log.history:
            text = (
                "on RabbitMQ a log begins for a group when the group is declared; "
                "set history=False, or use Redis, SQLite or memory"
            )
            yield Finding(NO_HISTORY, ObjectPath.of("logs", log.name, "history"), text)
        if log.hold_for_groups:
            text = (
                "on RabbitMQ retention cannot wait for a group; "
                "set hold_for_groups=False, or use Redis, SQLite or memory"
            )
            yield Finding(NO_HOLDING, ObjectPath.of("logs", log.name, "hold_for_groups"), text)


def clashes(parts: Mapping[ObjectPath, Plan]) -> Iterator[Finding]:
    """One for each name that two descriptors need on the broker, or that is too long for it.

    Args:
        parts: What each descriptor needs, by its path.
    """
    taken: dict[tuple[str, str], ObjectPath] = {}
    for path, plan in parts.items():
        for kind, name in plan.objects():
            first = taken.setdefault((kind, name), path)
            if first != path:
                text = f"on RabbitMQ it needs the {kind} {name!r}, as does {first}; rename one of the two"
                yield Finding(CLASH, path, text)
            if len(name.encode()) > LONGEST_NAME:
                text = f"on RabbitMQ it needs the {kind} {name!r}, longer than {LONGEST_NAME} bytes; shorten it"
                yield Finding(CLASH, path, text)


def warnings(topology: Topology, version: Version) -> Iterator[Finding]:
    """One for each thing that works otherwise than somebody may expect.

    Args:
        topology: Without problems.
        version: The broker's.
    """
    for queue in topology.queues:
        yield from _queue_warnings(queue, version)
    for log in topology.logs:
        yield from _log_warnings(log, version)


def _queue_problems(queue: Queue, version: Version) -> Iterator[Finding]:
    path = ObjectPath.of("queues", queue.name)
    yield from _argument_problems(path, queue, version)
    yield from _ttl_problems(path / "message_ttl", queue.message_ttl)
    native = queue.rabbitmq is not None and queue.rabbitmq.native_priority
    if native and (why := native_priority_problem(version, queue.type)):
        yield Finding(NO_NATIVE_PRIORITY, path / "rabbitmq" / "native_priority", why)


def _argument_problems(path: ObjectPath, holder: Queue | Log | Exchange, version: Version) -> Iterator[Finding]:
    given = holder.rabbitmq.arguments if holder.rabbitmq is not None else {}
    for name, field in _COMPILED[type(holder)].items():
        if name in given:
            text = f"a field stands for it ({field}); use that instead"
            yield Finding(STOOD_FOR, _argument(path, name), text)
    if not isinstance(holder, Exchange):
        kind = holder.type if isinstance(holder, Queue) else "quorum"
        for name, text in argument_problems(given, kind, version):
            yield Finding(REFUSED, _argument(path, name), text)


def _ttl_problems(path: ObjectPath, seconds: float | None) -> Iterator[Finding]:
    # A minute less, which the broker waits beyond a message's time.
    if seconds is not None and seconds * 1000 > LONGEST_TTL - 60_000:
        yield Finding(LONG_TTL, path, f"RabbitMQ takes at most ten years, not {seconds:g} s; set None for ever")


def _bindings(topology: Topology) -> Iterator[tuple[ObjectPath, Binding]]:
    for section, holders in (
        ("exchanges", topology.exchanges),
        ("queues", topology.queues),
        ("logs", topology.logs),
    ):
        for holder in holders:
            for index, binding in enumerate(holder.bindings):
                yield ObjectPath.of(section, holder.name, "bindings", index), binding


def _header_problems(path: ObjectPath, binding: Binding, version: Version) -> Iterator[Finding]:
    headers = binding.headers or {}
    for name, value in headers.items():
        place = path / "headers" / name
        if isinstance(value, float) and not is_single(value):
            text = f"bindings carry 32-bit fractions, and {value!r} is not one; use a text or a whole number"
            yield Finding(HEADER, place, text)
        if isinstance(value, int) and not -(2**63) <= value < 2**63:
            yield Finding(HEADER, place, f"takes 64-bit whole numbers, not {value}; use a text")
        if len(name.encode()) > 127:
            yield Finding(HEADER, place, "names have 127 bytes at most; shorten it")
    numbers = [value for value in headers.values() if isinstance(value, (int, float)) and not isinstance(value, bool)]
    if binding.match == "all" and compares_types(version) and len(numbers) > _MOST_NUMBERS:
        text = f"at most {_MOST_NUMBERS} numbers, each of which doubles the bindings; use texts"
        yield Finding(HEADER, path / "headers", text)


def _queue_warnings(queue: Queue, version: Version) -> Iterator[Finding]:
    path = ObjectPath.of("queues", queue.name)
    given = queue.rabbitmq.arguments if queue.rabbitmq is not None else {}
    for name, text in argument_warnings(given, queue.type, version):
        yield Finding(SURPRISING, _argument(path, name), text)
    if "x-delivery-limit" in given and not queue.dead_letter:
        text = "without dead letters the broker discards beyond the limit"
        yield Finding(SURPRISING, _argument(path, "x-delivery-limit"), text)
    native = queue.rabbitmq is not None and queue.rabbitmq.native_priority
    if native and (why := native_priority_warning(version, queue.type)):
        yield Finding(NATIVE_PRIORITY, path / "rabbitmq" / "native_priority", why)
    if queue.max_length is not None:
        yield from _limit_warnings(path / "max_length", queue, native)
    if queue.type == "classic" and queue.dead_letter:
        text = "a classic queue dead-letters at most once when the broker itself does it (ttl, reject)"
        yield Finding(AT_MOST_ONCE, path / "type", text)


def _limit_warnings(path: ObjectPath, queue: Queue, native: bool) -> Iterator[Finding]:
    if queue.lanes > 1 and not native:
        text = f"RabbitMQ counts each lane by itself, {queue.lanes} times {queue.max_length}"
        yield Finding(LIMIT_PER_LANE, path, text)
    if queue.bindings:
        text = (
            "while it is full, 32 delayed messages that reach it through an exchange hold up all delays of the "
            "virtual host; send delayed messages to the queue itself"
        )
        yield Finding(DELAYS_HELD_UP, path, text)


def _log_warnings(log: Log, version: Version) -> Iterator[Finding]:
    path = ObjectPath.of("logs", log.name)
    given = log.rabbitmq.arguments if log.rabbitmq is not None else {}
    for name, text in argument_warnings(given, "quorum", version):
        yield Finding(SURPRISING, _argument(path, name), text)
    if log.retention is None and log.max_bytes is None and log.max_length is None:
        text = "nothing limits it, so a group that stopped fills the broker; set retention or max_bytes"
        yield Finding(UNLIMITED, path, text)


def _argument(path: ObjectPath, name: str) -> ObjectPath:
    return path / "rabbitmq" / "arguments" / name
