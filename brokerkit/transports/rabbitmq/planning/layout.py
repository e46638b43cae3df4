"""What an app has on the broker only because of how its queues' lanes and limits are laid out."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from brokerkit.transports.rabbitmq.plan import BindingPlan, ExchangePlan, Named, QueuePlan
from brokerkit.transports.rabbitmq.planning.objects import Objects
from brokerkit.transports.rabbitmq.planning.observing import named


class Drain(NamedTuple):
    """Where what is in a queue goes that is deleted because its messages have another place now.

    Args:
        exchange: Where they are published; "" for the default exchange.
        key: With which key.
    """

    exchange: str
    key: str


class Layout:
    """What an app has only because of how a queue's lanes and limits are laid out: that changes with them.

    Args:
        wanted: What the app is to own.
    """

    def __init__(self, wanted: Objects) -> None:
        self._queues = {each.name for each in wanted.queues}
        self._exchanges = {each.name for each in wanted.exchanges}
        self._ways = {(each.source, each.key, _frozen(each)): each.destination for each in wanted.bindings}

    def base(self, name: Named) -> str:
        """The queue that an object is a part of; "" for none."""
        if name.kind == "exchange":
            for ending in (".lanes", ".default"):
                if name.name.endswith(ending) and name.name.removesuffix(ending) in self._queues:
                    return name.name.removesuffix(ending)
            return ""
        plain = name.name.removeprefix("bk.d.to.")
        queue, lane, level = plain.rpartition(".lane.")
        if lane and level.isdecimal() and queue in self._queues:
            return queue
        return plain if plain != name.name and plain in self._queues else ""

    def owns(self, name: Named) -> bool:
        """Whether it is such a part."""
        return bool(self.base(name))

    def covers(self, binding: BindingPlan) -> bool:
        """Whether a binding has another end now, because a queue has lanes now, or has none any more."""
        if self.owns(Named("exchange", binding.source)):
            return True
        now = self._ways.get((binding.source, binding.key, _frozen(binding)))
        return now is not None and (now == f"{binding.destination}.lanes" or f"{now}.lanes" == binding.destination)

    def drain(self, each: ExchangePlan | QueuePlan) -> Drain | None:
        """Where the messages of such a part go."""
        base = self.base(named(each))
        if isinstance(each, ExchangePlan) or not base:
            return None
        inbox = f"{base}.lanes"
        return Drain(inbox, base) if inbox in self._exchanges else Drain("", base)


def target_of(binding: BindingPlan) -> Named:
    """What a binding leads to."""
    return Named("queue" if binding.to_queue else "exchange", binding.destination)


def _frozen(binding: BindingPlan) -> bytes:
    return msgspec.msgpack.encode(dict(binding.arguments), order="deterministic")
