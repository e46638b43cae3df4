"""What may not be meant, whatever the broker."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from brokerkit.message import NORMAL
from brokerkit.operations.lint.work import Work
from brokerkit.topology import (
    Binding,
    Exchange,
    ExchangeType,
    Finding,
    Log,
    ObjectPath,
    Queue,
    Topology,
    dead_letter_owners,
    lane_of,
)
from brokerkit.topology.topic import words_of

UNBOUND, WILDCARDS, KEY_IGNORED, ALL_OR_NOTHING, REDUNDANT = "BK101", "BK102", "BK103", "BK104", "BK105"
UNLIMITED, UNFED, WITHOUT_EFFECT, DISCARDED, NO_LANE = "BK106", "BK107", "BK108", "BK109", "BK110"
_MOST_COMPARED = 64
"""Bindings of one pair that are compared with each other; beyond that only equal ones are found."""


def portable_findings(topology: Topology, work: Iterable[Work]) -> Iterator[Finding]:
    """Everything of a valid topology that may not be meant.

    Args:
        topology: Valid.
        work: What an app does with it, as far as that is known.
    """
    yield from _unbound(topology)
    kinds = {exchange.name: exchange.type for exchange in topology.exchanges}
    for section, holders in (("exchanges", topology.exchanges), ("queues", topology.queues), ("logs", topology.logs)):
        for holder in holders:
            path = ObjectPath.of(section, holder.name, "bindings")
            yield from _bindings(path, holder.bindings, kinds)
    graves = dead_letter_owners(topology)
    for queue in topology.queues:
        yield from _queue(queue, queue.name in graves)
    for log in topology.logs:
        yield from _log(log)
    yield from _priorities(topology, work)


def _unbound(topology: Topology) -> Iterator[Finding]:
    """Exchanges that nothing is bound to, and that have no alternate."""
    holders: list[Exchange | Queue | Log] = [*topology.exchanges, *topology.queues, *topology.logs]
    sources = {binding.exchange for holder in holders for binding in holder.bindings}
    for exchange in topology.exchanges:
        if exchange.name not in sources and exchange.alternate is None:
            text = (
                "nothing is bound to it: whatever is published there is unroutable; bind a queue, or give an alternate"
            )
            yield Finding(UNBOUND, ObjectPath.of("exchanges", exchange.name), text)


def _bindings(path: ObjectPath, bindings: tuple[Binding, ...], kinds: Mapping[str, ExchangeType]) -> Iterator[Finding]:
    for index, binding in enumerate(bindings):
        yield from _binding(path / index, binding, kinds[binding.exchange])
    if len(bindings) > 1:
        yield from _redundant(path, bindings, kinds)


def _binding(path: ObjectPath, binding: Binding, kind: ExchangeType) -> Iterator[Finding]:
    if kind == "direct" and {"*", "#"}.intersection(words_of(binding.key)):
        text = f"exchange {binding.exchange!r} is direct and takes {binding.key!r} as it is; make it a topic exchange"
        yield Finding(WILDCARDS, path / "key", text)
    if kind in {"fanout", "headers"} and binding.key:
        text = f"exchange {binding.exchange!r} is {kind} and ignores the key; remove it"
        yield Finding(KEY_IGNORED, path / "key", text)
    if kind == "headers" and not any(not name.startswith("x-") for name in binding.headers or {}):
        what = "every message" if binding.match == "all" else "no message at all"
        yield Finding(ALL_OR_NOTHING, path, f"without headers to compare it takes {what}; name some in headers")


def _redundant(path: ObjectPath, bindings: tuple[Binding, ...], kinds: Mapping[str, ExchangeType]) -> Iterator[Finding]:
    """Bindings whose every message another one of the same target takes as well."""
    by_exchange: dict[str, list[tuple[int, Binding]]] = {}
    for index, binding in enumerate(bindings):
        by_exchange.setdefault(binding.exchange, []).append((index, binding))
    for exchange, several in by_exchange.items():
        kind = kinds[exchange]
        for at, (index, binding) in enumerate(several):
            others = several[:at] + several[at + 1 :] if len(several) <= _MOST_COMPARED else several[:at][-1:]
            for other_index, other in others:
                # Of two that cover each other the later one is said to be redundant.
                if _covers(kind, other, binding) and not (other_index > index and _covers(kind, binding, other)):
                    text = f"bindings[{other_index}] takes every message that this one takes; remove this one"
                    yield Finding(REDUNDANT, path / index, text)
                    break


def _covers(kind: ExchangeType, wide: Binding, narrow: Binding) -> bool:
    if kind == "fanout":
        return True
    if kind == "direct":
        return wide.key == narrow.key
    if kind == "topic":
        return covers(words_of(wide.key), words_of(narrow.key))
    return (wide.headers, wide.match) == (narrow.headers, narrow.match) and _typed(wide) == _typed(narrow)


def _typed(binding: Binding) -> list[type]:
    """In Python True equals 1, which it does not on a headers exchange."""
    return [type(value) for value in (binding.headers or {}).values()]


def covers(wide: list[str], narrow: list[str]) -> bool:
    """Whether every key that the narrow topic pattern matches also matches the wide one, word by word.

    True is certain; where ``*`` and ``#`` stand beside each other in the narrow one it may be False though it is so.
    """
    reached = {0}
    for word in [*narrow, None]:
        reached = {after for at in reached for after in _skipping(wide, at)}
        if word is None:
            return len(wide) in reached
        steps = {at for at in reached if at < len(wide) and wide[at] == "#"}
        if word != "#":
            steps |= {at + 1 for at in reached if at < len(wide) and wide[at] in {"*", word}}
        reached = steps
    return False


def _skipping(pattern: list[str], at: int) -> Iterator[int]:
    """The places from ``at`` on that are reached by letting each ``#`` stand for no word."""
    yield at
    while at < len(pattern) and pattern[at] == "#":
        at += 1
        yield at


def _queue(queue: Queue, grave: bool) -> Iterator[Finding]:
    path = ObjectPath.of("queues", queue.name)
    if queue.lanes == 1:
        for field, given in (("strict", queue.strict), ("weights", queue.weights), ("max_wait", queue.max_wait)):
            if given:
                text = "a queue with one lane has nothing to choose from; set priorities, or remove this"
                yield Finding(WITHOUT_EFFECT, path / field, text)
    if queue.dead_letter is False and not grave:
        text = "without dead letters, what is given up is discarded; remove dead_letter=False, or ignore this rule here"
        yield Finding(DISCARDED, path / "dead_letter", text)


def _log(log: Log) -> Iterator[Finding]:
    path = ObjectPath.of("logs", log.name)
    if not log.bindings:
        yield Finding(UNFED, path, "it is bound to no exchange, so nothing is ever in it; bind it")
    if log.retention is None and log.max_bytes is None and log.max_length is None:
        text = "nothing limits it, so a group that stopped fills the broker; set retention or max_bytes"
        yield Finding(UNLIMITED, path, text)


def _priorities(topology: Topology, work: Iterable[Work]) -> Iterator[Finding]:
    queues = {queue.name: queue for queue in topology.queues}
    for each in work:
        queue = queues.get(each.source)
        if queue is None or each.priority is None or each.priority == NORMAL:
            continue
        if lane_of(each.priority, queue.lanes) == lane_of(NORMAL, queue.lanes):
            text = f"priority {each.priority} shares its lane with the normal one; give queue {queue.name!r} more lanes"
            yield Finding(NO_LANE, each.path / "priority", text)
