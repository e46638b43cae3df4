"""Values: what each field of a descriptor may hold, taken by itself or with its neighbours."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

from brokerkit.topology.exchange import Binding, Exchange
from brokerkit.topology.finding import Finding, ObjectPath
from brokerkit.topology.log import Group, Log, is_start
from brokerkit.topology.options import RabbitMQOptions, RedisOptions
from brokerkit.topology.priority import MAX_LANES
from brokerkit.topology.queue import DeadLetter, Queue
from brokerkit.topology.topic import words_of

VALUE = "BK006"
UNFIT = "BK010"

Rule = Callable[[Any], str | None]
KEY_BYTES = 255
"""The longest routing key in bytes: an AMQP short string."""


def _duration(value: float) -> str | None:
    return None if math.isfinite(value) and value > 0 else f"takes seconds > 0, not {value!r}"


def _at_least_one(value: int) -> str | None:
    return None if value >= 1 else f"takes a number >= 1, not {value!r}"


def _lane_count(value: int) -> str | None:
    return None if 1 <= value <= MAX_LANES else f"takes 1 to {MAX_LANES} lanes, not {value!r}"


def _short(value: str) -> str | None:
    size = len(value.encode())
    return None if size <= KEY_BYTES else f"is {size} bytes long; the limit is {KEY_BYTES}"


def _hash_tag(value: str) -> str | None:
    return None if value and not set("{}") & set(value) else f"takes a text without braces, not {value!r}"


def _start(value: str) -> str | None:
    if is_start(value):
        return None
    return f"takes latest, earliest, a time with its zone (2026-01-31T12:00:00+00:00) or an entry, not {value!r}"


def _no_native_priority(value: RabbitMQOptions) -> str | None:
    return "native_priority is for queues only; remove it" if value.native_priority else None


_RULES: Mapping[type[msgspec.Struct], Mapping[str, Rule]] = {
    Binding: {"key": _short},
    DeadLetter: {"ttl": _duration, "max_length": _at_least_one},
    RedisOptions: {"hash_tag": _hash_tag},
    Exchange: {"rabbitmq": _no_native_priority},
    Queue: {
        "priorities": _lane_count,
        "max_wait": _duration,
        "max_deliveries": _at_least_one,
        "max_length": _at_least_one,
        "message_ttl": _duration,
        "timeout": _duration,
    },
    Log: {
        "retention": _duration,
        "max_bytes": _at_least_one,
        "max_length": _at_least_one,
        "rabbitmq": _no_native_priority,
    },
    Group: {"start": _start, "max_deliveries": _at_least_one, "timeout": _duration},
}


def value_problems(path: ObjectPath, struct: msgspec.Struct) -> Iterator[Finding]:
    """One for each field of a descriptor, and of what it contains, that is out of range.

    Args:
        path: Where the descriptor is, ``queues.payments``.
        struct: The descriptor; its fields are of their types.
    """
    for field, rule in _RULES.get(type(struct), {}).items():
        value = getattr(struct, field)
        if value is not None and (complaint := rule(value)) is not None:
            yield Finding(VALUE, path / field, complaint)
    for field in struct.__struct_fields__:
        value = getattr(struct, field)
        if isinstance(value, msgspec.Struct):
            yield from value_problems(path / field, value)
    if isinstance(struct, Queue):
        yield from _weight_problems(path / "weights", struct)
    if isinstance(struct, Log):
        yield from _log_problems(path, struct)


def _weight_problems(path: ObjectPath, queue: Queue) -> Iterator[Finding]:
    if queue.weights is None:
        return
    if len(queue.weights) != queue.lanes:
        yield Finding(VALUE, path, f"{len(queue.weights)} weights for {queue.lanes} lanes; give one per lane")
    if any(weight < 1 for weight in queue.weights):
        yield Finding(VALUE, path, f"takes whole numbers >= 1, not {queue.weights!r}")
    if queue.strict:
        yield Finding(VALUE, path, "a strict queue uses no weights; remove weights or strict")


def _log_problems(path: ObjectPath, log: Log) -> Iterator[Finding]:
    if log.hold_for_groups and log.max_bytes is None and log.max_length is None:
        text = "a group that stopped would fill the broker; set max_bytes or max_length"
        yield Finding(VALUE, path / "hold_for_groups", text)


def binding_problems(path: ObjectPath, binding: Binding, source: Exchange | None) -> Iterator[Finding]:
    """One for each thing about a binding that its exchange cannot use.

    Args:
        path: Where the binding is, ``queues.payments.bindings[0]``.
        binding: The binding.
        source: The exchange it leads from, None if it is not known.
    """
    yield from value_problems(path, binding)
    if source is None:
        return
    if binding.headers is not None and source.type != "headers":
        text = f"exchange {source.name!r} is {source.type} and compares no headers; remove them"
        yield Finding(UNFIT, path / "headers", text)
    if source.type == "topic":
        for word in words_of(binding.key):
            if len(word) > 1 and set("*#") & set(word):
                text = f"in {word!r} the wildcard is part of a word; '*' and '#' stand for whole words"
                yield Finding(UNFIT, path / "key", text)
