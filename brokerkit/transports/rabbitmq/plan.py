"""What is declared on RabbitMQ: exchanges, queues and bindings as values. Needs no client library."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple

import msgspec

from brokerkit.topology import ExchangeType, HeaderValue, Mode, QueueType

Arguments = Mapping[str, HeaderValue]

OWN_PREFIX = "bk."
"""Objects of this prefix are brokerkit's own and shared by every app of the virtual host."""


class ExchangePlan(msgspec.Struct, frozen=True):
    """An exchange to declare.

    Args:
        name: Its name.
        type: Its type.
        durable: Whether it survives a restart of the broker. Default True.
        arguments: The arguments of its declaration. Default none.
        mode: As for ``QueuePlan``. Default ``own``.
    """

    name: str
    type: ExchangeType
    durable: bool = True
    arguments: Arguments = {}
    mode: Mode = "own"


class QueuePlan(msgspec.Struct, frozen=True):
    """A queue to declare; every queue is durable.

    Args:
        name: Its name.
        arguments: The arguments of its declaration.
        mode: ``own`` creates it if it is missing, ``verify`` only looks whether it is there, ``trust`` does not look.
            Default ``own``.
        backstop: Its delivery limit is brokerkit's own choice, not the user's: a queue that was made without one, or
            with a higher one, will do. Default False.
    """

    name: str
    arguments: Arguments
    mode: Mode = "own"
    backstop: bool = False


class BindingPlan(msgspec.Struct, frozen=True):
    """A binding to declare.

    Args:
        source: The exchange it leads from.
        destination: The queue or exchange it leads to.
        to_queue: Whether that is a queue.
        key: Its key or pattern. Default ``""``.
        arguments: Of a headers exchange: ``x-match`` and what to compare. Default none.
        mode: The mode of what it leads to: only an ``own`` one is bound. Default ``own``.
    """

    source: str
    destination: str
    to_queue: bool
    key: str = ""
    arguments: Arguments = {}
    mode: Mode = "own"

    @property
    def identity(self) -> bytes:
        """What makes it a binding of its own, as the broker sees it."""
        fields = (self.source, self.destination, self.to_queue, self.key, dict(self.arguments))
        return msgspec.msgpack.encode(fields, order="deterministic")


class Named(NamedTuple):
    """An exchange or queue by name."""

    kind: Literal["exchange", "queue"]
    name: str


class SourcePlan(msgspec.Struct, frozen=True, kw_only=True):
    """What is consumed: a queue, as the queues of its lanes, or a group.

    Args:
        key: The queue's name or the group's key.
        lanes: The queue of each lane, least urgent first.
        kind: ``quorum`` or ``classic``.
        delayed: Per lane, the queue that a delayed message for it is addressed to: the lane's own, or where that has a
            limit, one of its own that waits for room without holding up everybody else's delays.
        dead_letter: Its dead-letter queue, or None.
        rejects_survive: Whether a message that is rejected without requeueing goes to ``dead_letter``. False: the
            broker discards it.
        max_length: Most waiting messages per lane, or None.
        message_ttl: Seconds until a waiting message expires, or None. The broker itself waits a minute longer.
        single_active: Only one consumer at a time receives.
        native_priority: The broker orders the messages of the one queue by AMQP priority.
        slots: Delays in milliseconds that its retry policy asks for, each worth a queue of its own.
        strict: Nothing of a lane is taken while a more urgent one has something.
    """

    key: str
    lanes: tuple[str, ...]
    kind: QueueType = "quorum"
    delayed: tuple[str, ...]
    dead_letter: str | None = None
    rejects_survive: bool = False
    max_length: int | None = None
    message_ttl: float | None = None
    single_active: bool = False
    native_priority: bool = False
    slots: frozenset[int] = frozenset()
    strict: bool = False


class Plan(msgspec.Struct, frozen=True):
    """Everything a topology, or a part of the delay ladder, needs on the broker.

    Args:
        exchanges: In any order: alternates need not come first.
        queues: In any order.
        bindings: In any order.
        sources: What can be consumed, by key. Default none.
        warnings: What an operator should know, one line each. Default none.
    """

    exchanges: tuple[ExchangePlan, ...] = ()
    queues: tuple[QueuePlan, ...] = ()
    bindings: tuple[BindingPlan, ...] = ()
    sources: Mapping[str, SourcePlan] = {}
    warnings: tuple[str, ...] = ()

    def objects(self, *, shared: bool = False) -> list[Named]:
        """The exchanges and queues it declares; deleting those removes their bindings, too.

        Args:
            shared: Also those that all apps of the virtual host share. Default False.
        """
        named = [Named("queue", queue.name) for queue in self.queues]
        named += [Named("exchange", exchange.name) for exchange in self.exchanges]
        return [item for item in named if shared or not is_shared(item.name)]

    def of_source(self, key: str) -> Plan:
        """The part without which a source gets no messages: its queues, its dead-letter queue, what is bound to them
        and the exchanges on the way."""
        source = self.sources[key]
        names = {*source.lanes, *source.delayed, *([source.dead_letter] if source.dead_letter else ())}
        bindings = {binding.identity: binding for binding in self._leading_to(names)}
        exchanges = _ends(bindings.values()) - names
        return Plan(
            tuple(exchange for exchange in self.exchanges if exchange.name in self._with_alternates(exchanges)),
            tuple(queue for queue in self.queues if queue.name in names),
            tuple(bindings.values()),
            {key: source},
        )

    def _leading_to(self, names: set[str]) -> Iterable[BindingPlan]:
        """The bindings to the queues, and to the exchange before their lanes."""
        inboxes = {binding.source for binding in self.bindings if binding.to_queue and binding.destination in names}
        for binding in self.bindings:
            if binding.destination in (names if binding.to_queue else inboxes):
                yield binding

    def _with_alternates(self, names: set[str]) -> set[str]:
        alternates = {exchange.name: exchange.arguments.get("alternate-exchange") for exchange in self.exchanges}
        found = set(names)
        while more := {name for each in found if isinstance(name := alternates.get(each), str)} - found:
            found |= more
        return found


def is_shared(name: str) -> bool:
    """Whether all apps of a virtual host share the object of this name."""
    return name.startswith(OWN_PREFIX) and not name.startswith(f"{OWN_PREFIX}d.to.")


def _ends(bindings: Iterable[BindingPlan]) -> set[str]:
    return {name for binding in bindings for name in (binding.source, binding.destination)}


def merged(plans: Iterable[Plan]) -> Plan:
    """One plan of several; what is in more than one of them comes once."""
    exchanges: dict[str, ExchangePlan] = {}
    queues: dict[str, QueuePlan] = {}
    bindings: dict[bytes, BindingPlan] = {}
    sources: dict[str, SourcePlan] = {}
    warnings: dict[str, None] = {}
    for plan in plans:
        exchanges |= {exchange.name: exchange for exchange in plan.exchanges}
        queues |= {queue.name: queue for queue in plan.queues}
        bindings |= {binding.identity: binding for binding in plan.bindings}
        sources |= plan.sources
        warnings |= dict.fromkeys(plan.warnings)
    return Plan(tuple(exchanges.values()), tuple(queues.values()), tuple(bindings.values()), sources, tuple(warnings))
