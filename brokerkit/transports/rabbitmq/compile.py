"""From a topology to what is declared on RabbitMQ; pure, and without the client library."""

from __future__ import annotations

import math
from collections.abc import Iterator

from brokerkit.errors import MissingCapability, TopologyError
from brokerkit.message import NORMAL
from brokerkit.topology import (
    MAX_PRIORITY,
    Exchange,
    Finding,
    Group,
    HeaderValue,
    Log,
    ObjectPath,
    Queue,
    RabbitMQOptions,
    Topology,
    dead_letter_owners,
    implied,
    lane_of,
    with_modes,
)
from brokerkit.transports.rabbitmq import ladder
from brokerkit.transports.rabbitmq.bindings import Binder
from brokerkit.transports.rabbitmq.plan import Arguments, BindingPlan, ExchangePlan, Plan, QueuePlan, SourcePlan, merged
from brokerkit.transports.rabbitmq.refusals import clashes, missing, problems, warnings
from brokerkit.transports.rabbitmq.versions import Version, check_supported, has_delivery_limit

__all__ = ["BindingPlan", "ExchangePlan", "Plan", "QueuePlan", "SourcePlan", "compile_topology", "lane_names"]

BACKSTOP = 1000
"""The least delivery limit of a queue of work. It is for what ends workers before they can count. A low one would give
up healthy messages: a lost connection counts for every message the worker held, and up to 4.2 each release does."""

TTL_MARGIN = 60.0
"""Seconds the broker waits beyond ``message_ttl``: consumers notice what has expired, so that a record is written, and
the broker removes it only where nobody consumes."""

VOID = "bk.void"
"""Takes and discards what no group reads: a log accepts everything, and without history keeps it for nobody."""


def compile_topology(topology: Topology, version: Version) -> Plan:
    """The plan of a topology.

    Args:
        topology: Valid; one app's, or the union of several.
        version: The broker's, as (major, minor).

    Raises:
        TopologyError: With every problem that this broker has with it.
        MissingCapability: The broker is too old, or cannot do what is declared.
    """
    check_supported(version)
    whole = implied(with_modes(topology))
    parts = dict(_parts(whole, version))
    if found := [*problems(whole, version), *clashes(parts)]:
        raise TopologyError([*map(str, found)])
    if lacking := [*missing(whole)]:
        raise MissingCapability("; ".join(map(str, lacking)))
    return merged([*parts.values(), Plan(warnings=tuple(map(str, warnings(whole, version))))])


def findings(topology: Topology, version: Version) -> Iterator[Finding]:
    """Everything that ``compile_topology`` would refuse or warn of; the arguments are those."""
    whole = implied(with_modes(topology))
    yield from problems(whole, version)
    yield from missing(whole)
    yield from clashes(dict(_parts(whole, version)))
    yield from warnings(whole, version)


def lane_names(queue: str, lanes: int) -> tuple[str, ...]:
    """The queues of a queue's lanes, least urgent first; the lane of the normal priority has the queue's own name."""
    default = lane_of(NORMAL, lanes)
    return tuple(queue if level == default else f"{queue}.lane.{level}" for level in range(lanes))


def _parts(topology: Topology, version: Version) -> Iterator[tuple[ObjectPath, Plan]]:
    """What each descriptor needs, by its path."""
    binder = Binder(topology, version)
    graves = frozenset(dead_letter_owners(topology))
    for exchange in topology.exchanges:
        yield ObjectPath.of("exchanges", exchange.name), _exchange(exchange, binder)
    for queue in topology.queues:
        yield ObjectPath.of("queues", queue.name), _queue(queue, queue.name in graves, binder)
    for log in topology.logs:
        yield ObjectPath.of("logs", log.name), _log(log, binder)
    logs = {log.name: log for log in topology.logs}
    for group in topology.groups:
        yield ObjectPath.of("groups", group.key), _group(group, logs[group.log], version)


def _exchange(exchange: Exchange, binder: Binder) -> Plan:
    arguments: dict[str, HeaderValue] = {"alternate-exchange": exchange.alternate or ladder.ALTERNATE}
    arguments |= _given(exchange.rabbitmq)
    mode = exchange.mode or "own"
    own = Plan(
        (ExchangePlan(exchange.name, exchange.type, exchange.durable, arguments, mode),),
        bindings=tuple(binder.bindings(exchange.bindings, exchange.name, to_queue=False, mode=mode)),
    )
    return merged([own, ladder.lost_and_found(binder.version)]) if mode == "own" else own


def _queue(queue: Queue, grave: bool, binder: Binder) -> Plan:
    native = queue.rabbitmq is not None and queue.rabbitmq.native_priority
    lanes = lane_names(queue.name, 1 if native else queue.lanes)
    arguments = _queue_arguments(queue, grave, binder.version)
    backstop = "x-delivery-limit" not in _given(queue.rabbitmq)
    rooms = [ladder.waiting_room(name, queue.mode or "own") for name in lanes] if queue.max_length is not None else []
    source = SourcePlan(
        key=queue.name,
        lanes=lanes,
        kind=queue.type,
        delayed=tuple(room.name for room in rooms) or lanes,
        dead_letter=queue.dead_letter_name,
        # Of a queue that somebody else declared it is not known whether a rejected message goes to its dead letters.
        rejects_survive=queue.dead_letter_name is not None and queue.mode in (None, "own"),
        max_length=queue.max_length,
        message_ttl=None if grave else queue.message_ttl,
        single_active=queue.single_active,
        native_priority=native,
        slots=ladder.slots(queue.retry),
        strict=queue.strict,
    )
    queues = tuple(QueuePlan(name, arguments, queue.mode or "own", backstop) for name in lanes)
    own = Plan(queues=(*queues, *rooms), sources={queue.name: source})
    return merged([own, _inbox(queue, lanes, binder) if len(lanes) > 1 else _bound(queue, binder)])


def _queue_arguments(queue: Queue, grave: bool, version: Version) -> Arguments:
    arguments: dict[str, HeaderValue] = {"x-queue-type": queue.type}
    if queue.dead_letter_name is not None:
        arguments |= _dead_letters_to(queue.dead_letter_name, quorum=queue.type == "quorum")
    if queue.max_length is not None:
        # A quorum queue begins to refuse after the message that is one too many, which it takes: measured, 3.10 to 4.3.
        most = queue.max_length - (1 if queue.type == "quorum" else 0)
        arguments |= {"x-max-length": most, "x-overflow": "reject-publish"}
    if queue.message_ttl is not None:
        arguments["x-message-ttl"] = _ms(queue.message_ttl + (0.0 if grave else TTL_MARGIN))
    if queue.single_active:
        arguments["x-single-active-consumer"] = True
    if queue.type == "classic" and queue.rabbitmq is not None and queue.rabbitmq.native_priority:
        arguments["x-max-priority"] = MAX_PRIORITY
    if queue.type == "quorum" and has_delivery_limit(version):
        # Beyond the limit a queue without dead letters discards, and a dead-letter queue must never let go.
        endless = grave or queue.dead_letter_name is None
        arguments["x-delivery-limit"] = -1 if endless else max(BACKSTOP, 10 * queue.max_deliveries)
    return arguments | _given(queue.rabbitmq)


def _dead_letters_to(name: str, *, quorum: bool) -> dict[str, HeaderValue]:
    """Dead-lettering by the broker itself; at least once needs a queue that refuses rather than drops.
    https://www.rabbitmq.com/docs/quorum-queues#dead-lettering"""
    arguments: dict[str, HeaderValue] = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": name}
    if quorum:
        arguments |= {"x-dead-letter-strategy": "at-least-once", "x-overflow": "reject-publish"}
    return arguments


def _bound(queue: Queue, binder: Binder) -> Plan:
    return Plan(bindings=tuple(binder.bindings(queue.bindings, queue.name, to_queue=True, mode=queue.mode or "own")))


def _inbox(queue: Queue, lanes: tuple[str, ...], binder: Binder) -> Plan:
    """The exchange before the lanes; what has no priority, as foreign messages have none, goes to the default lane."""
    inbox, default, mode = f"{queue.name}.lanes", f"{queue.name}.default", queue.mode or "own"
    to_lanes = [
        BindingPlan(inbox, lanes[lane_of(priority, len(lanes))], True, "", {"x-match": "all", "bk-p": priority}, mode)
        for priority in range(MAX_PRIORITY + 1)
    ]
    exchanges = (
        ExchangePlan(inbox, "headers", arguments={"alternate-exchange": default}, mode=mode),
        ExchangePlan(default, "fanout", mode=mode),
    )
    outside = binder.bindings(queue.bindings, inbox, to_queue=False, mode=mode)
    return Plan(exchanges, (), (*outside, *to_lanes, BindingPlan(default, queue.name, True, mode=mode)))


def _log(log: Log, binder: Binder) -> Plan:
    mode = log.mode or "own"
    own = Plan(
        (ExchangePlan(log.name, "fanout", arguments={"alternate-exchange": VOID}, mode=mode),),
        bindings=tuple(binder.bindings(log.bindings, log.name, to_queue=False, mode=mode)),
    )
    if mode != "own":
        return own
    arguments: Arguments = {"x-queue-type": "quorum", "x-max-length": 0, "x-overflow": "drop-head"}
    void = Plan((ExchangePlan(VOID, "fanout"),), (QueuePlan(VOID, arguments),), (BindingPlan(VOID, VOID, True),))
    return merged([own, void])


def _group(group: Group, log: Log, version: Version) -> Plan:
    """A group as a queue. Retention removes, it does not dead-letter: with it the queue has no dead-letter exchange."""
    arguments: dict[str, HeaderValue] = {"x-queue-type": "quorum"}
    limits = {"x-max-length": log.max_length, "x-max-length-bytes": log.max_bytes}
    limits["x-message-ttl"] = _ms(log.retention) if log.retention is not None else None
    retained = {name: value for name, value in limits.items() if value is not None}
    dead_letter = group.dead_letter_name if not retained else None
    if dead_letter is not None:
        arguments |= _dead_letters_to(dead_letter, quorum=True)
    if has_delivery_limit(version):
        arguments["x-delivery-limit"] = max(BACKSTOP, 10 * group.max_deliveries) if dead_letter is not None else -1
    arguments |= retained | _given(log.rabbitmq)
    mode = group.mode or "own"
    source = SourcePlan(
        key=group.key,
        lanes=(group.key,),
        delayed=(group.key,),
        dead_letter=group.dead_letter_name,
        rejects_survive=dead_letter is not None and mode == "own",
        slots=ladder.slots(group.retry),
    )
    queue = QueuePlan(group.key, arguments, mode, backstop="x-delivery-limit" not in _given(log.rabbitmq))
    return Plan((), (queue,), (BindingPlan(log.name, group.key, True, mode=mode),), {group.key: source})


def _given(options: RabbitMQOptions | None) -> dict[str, HeaderValue]:
    return dict(options.arguments) if options is not None else {}


def _ms(seconds: float) -> int:
    return math.ceil(seconds * 1000)
