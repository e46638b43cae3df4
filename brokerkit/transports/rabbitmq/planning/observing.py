"""What is on the broker: listed by the management API, else found out by declaring on channels that may be lost."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import msgspec

from brokerkit.errors import TopologyConflict
from brokerkit.topology import HeaderValue
from brokerkit.transports.rabbitmq.asking import Asking, NotPermitted
from brokerkit.transports.rabbitmq.declaring import differences, tolerated
from brokerkit.transports.rabbitmq.plan import BindingPlan, ExchangePlan, Named, QueuePlan
from brokerkit.transports.rabbitmq.policies import as_arguments

if TYPE_CHECKING:
    from brokerkit.transports.rabbitmq.broker import RabbitmqBroker
    from brokerkit.transports.rabbitmq.management import Management

_COMPARED = {
    "x-queue-type", "x-message-ttl", "x-max-length", "x-max-length-bytes", "x-overflow", "x-dead-letter-exchange",
    "x-dead-letter-routing-key", "x-dead-letter-strategy", "x-single-active-consumer", "x-max-priority", "x-expires",
    "x-delivery-limit", "x-queue-mode", "x-queue-version", "alternate-exchange",
}  # fmt: skip
"""Arguments that the broker compares when something is declared that is there; others it ignores then."""


class Seen(msgspec.Struct, frozen=True):
    """What was found.

    Args:
        there: Of what was asked about, what is there, with all in which it is not as wanted.
        bindings: All bindings of the virtual host by identity; None where nobody tells.
        policies: The definitions of policies by name; None likewise.
        blind: What this user may not ask about.
    """

    there: Mapping[Named, Sequence[TopologyConflict]]
    bindings: Mapping[bytes, BindingPlan] | None = None
    policies: Mapping[str, Mapping[str, HeaderValue]] | None = None
    blind: frozenset[Named] = frozenset()


async def observe(broker: RabbitmqBroker, wanted: Iterable[ExchangePlan | QueuePlan]) -> Seen:
    """Look at these, and at all bindings and policies where that is possible."""
    if broker.management is not None:
        return await _listed(broker.management, broker.server.vhost, list(wanted))
    there: dict[Named, Sequence[TopologyConflict]] = {}
    blind: set[Named] = set()
    async with Asking(broker.channel) as asking:
        for each in wanted:
            name = named(each)
            if not await asking.exists(*name):
                continue
            try:
                there[name] = tolerated(each, await differences(asking, each))
            except NotPermitted:
                there[name] = ()
                blind.add(name)
    return Seen(there, blind=frozenset(blind))


def named(each: ExchangePlan | QueuePlan) -> Named:
    """What it is known by."""
    return Named("exchange" if isinstance(each, ExchangePlan) else "queue", each.name)


async def count(broker: RabbitmqBroker, queues: Iterable[str]) -> dict[str, tuple[int, int]]:
    """What is ready in each queue, and how many consume it; without those that are not there."""
    async with Asking(broker.channel) as asking:
        found = {name: await asking.count(name) for name in dict.fromkeys(queues)}
    return {name: each for name, each in found.items() if each is not None}


# By the management API


async def _listed(management: Management, vhost: str, wanted: Sequence[ExchangePlan | QueuePlan]) -> Seen:
    place = quote(vhost, safe="")
    columns = "columns=name,type,durable,auto_delete,internal,exclusive,arguments"
    exchanges, queues, bindings, policies = await asyncio.gather(
        management.get(f"/exchanges/{place}?{columns}"),
        management.get(f"/queues/{place}?disable_stats=true"),
        management.get(f"/bindings/{place}"),
        management.get(f"/policies/{place}"),
    )
    known = {Named("exchange", each["name"]): each for each in exchanges}
    known |= {Named("queue", each["name"]): each for each in queues}
    there = {
        named(each): tolerated(each, list(_differing(each, known[named(each)])))
        for each in wanted
        if named(each) in known
    }
    bound = [_binding(each) for each in bindings if each["source"]]
    rules = {str(each["name"]): dict(each["definition"]) for each in policies}
    return Seen(there, {each.identity: each for each in bound}, rules)


def _differing(wanted: ExchangePlan | QueuePlan, found: Mapping[str, Any]) -> Iterable[TopologyConflict]:
    kind, name = named(wanted)
    arguments = dict(found.get("arguments") or {})
    plain: dict[str, object] = {"durable": True, "auto_delete": False}
    if isinstance(wanted, ExchangePlan):
        plain |= {"type": wanted.type, "durable": wanted.durable, "internal": False}
    else:
        arguments.setdefault("x-queue-type", found.get("type") or "classic")
        if wanted.mode == "verify":  # somebody else may have set it by a policy
            arguments = {**as_arguments(found.get("effective_policy_definition") or {}), **arguments}
    for attribute, ours in plain.items():
        if found.get(attribute, ours) != ours:
            yield TopologyConflict(f"{kind} {name}", attribute, ours, found[attribute])
    for attribute in {**wanted.arguments, **{each: None for each in arguments if each in _COMPARED}}:
        ours, theirs = wanted.arguments.get(attribute), arguments.get(attribute)
        if ours != theirs:
            yield TopologyConflict(f"{kind} {name}", attribute, ours, theirs)


def _binding(each: Mapping[str, Any]) -> BindingPlan:
    to_queue = each["destination_type"] == "queue"
    return BindingPlan(each["source"], each["destination"], to_queue, each["routing_key"], dict(each["arguments"]))
