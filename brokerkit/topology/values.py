"""Values: what each field of a descriptor may hold, taken by itself or with its neighbours."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

from brokerkit.topology.exchange import Binding, Exchange
from brokerkit.topology.log import Group, Log
from brokerkit.topology.options import RabbitMQOptions, RedisOptions
from brokerkit.topology.priority import MAX_LANES
from brokerkit.topology.queue import DeadLetter, Queue
from brokerkit.topology.topic import words_of

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
    Group: {"max_deliveries": _at_least_one, "timeout": _duration},
}


def value_problems(path: str, struct: msgspec.Struct) -> Iterator[str]:
    """One line for each field of a descriptor, and of what it contains, that is out of range.

    Args:
        path: Where the descriptor is, ``queues.payments``.
        struct: The descriptor; its fields are of their types.
    """
    for field, rule in _RULES.get(type(struct), {}).items():
        value = getattr(struct, field)
        if value is not None and (complaint := rule(value)) is not None:
            yield f"{path}.{field}: {complaint}"
    for field in struct.__struct_fields__:
        value = getattr(struct, field)
        if isinstance(value, msgspec.Struct):
            yield from value_problems(f"{path}.{field}", value)
    if isinstance(struct, Queue):
        yield from _queue_problems(path, struct)
    if isinstance(struct, Log):
        yield from _log_problems(path, struct)


def _queue_problems(path: str, queue: Queue) -> Iterator[str]:
    if queue.weights is None:
        return
    if len(queue.weights) != queue.lanes:
        yield f"{path}.weights: {len(queue.weights)} weights for {queue.lanes} lanes; give one per lane"
    if any(weight < 1 for weight in queue.weights):
        yield f"{path}.weights: takes whole numbers >= 1, not {queue.weights!r}"
    if queue.strict:
        yield f"{path}.weights: a strict queue uses no weights; remove weights or strict"


def _log_problems(path: str, log: Log) -> Iterator[str]:
    if log.hold_for_groups and log.max_bytes is None and log.max_length is None:
        yield f"{path}.hold_for_groups: a group that stopped would fill the broker; set max_bytes or max_length"


def binding_problems(path: str, binding: Binding, source: Exchange | None) -> Iterator[str]:
    """One line for each thing about a binding that its exchange cannot use.

    Args:
        path: Where the binding is, ``queues.payments.bindings[0]``.
        binding: The binding.
        source: The exchange it leads from, None if it is not known.
    """
    yield from value_problems(path, binding)
    if source is None:
        return
    if binding.headers is not None and source.type != "headers":
        yield f"{path}.headers: exchange {source.name!r} is {source.type} and compares no headers; remove them"
    if source.type == "topic":
        for word in words_of(binding.key):
            if len(word) > 1 and set("*#") & set(word):
                yield f"{path}.key: in {word!r} the wildcard is part of a word; '*' and '#' stand for whole words"
