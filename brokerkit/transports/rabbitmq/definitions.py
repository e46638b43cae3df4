"""What the transport would declare, as RabbitMQ's own definitions, to be imported by somebody with more rights than an
app has. Pure. https://www.rabbitmq.com/docs/definitions"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from brokerkit.errors import MissingCapability
from brokerkit.topology import Topology
from brokerkit.transports.rabbitmq import ladder, standins
from brokerkit.transports.rabbitmq.compile import compile_topology
from brokerkit.transports.rabbitmq.plan import BindingPlan, ExchangePlan, Plan, QueuePlan, merged
from brokerkit.transports.rabbitmq.policies import Policy, with_policies
from brokerkit.transports.rabbitmq.versions import Version

Object = dict[str, Any]


def definitions(
    topology: Topology, version: Version, *, vhost: str | None = None, policies: bool = False, delays: bool = False
) -> Object:
    """The definitions of a topology.

    Args:
        topology: Valid; one app's, or the union of several.
        version: The broker's.
        vhost: The virtual host, for an import of the whole broker. Default None: for one into a virtual host.
        policies: What may change later as policies, as an app does whose URL has ``management=``. Default as arguments.
        delays: Also the delay ladder and the slots of retry policies, which an app declares when it first needs them.

    Raises:
        TopologyError: The broker would refuse it.
        MissingCapability: The broker cannot do what is declared, or definitions cannot say it.
    """
    plan = standins.looked_into(compile_topology(topology, version))
    if delays:
        plan = merged([plan, *_delays(plan, topology, version)])
    _refuse_presence(plan)
    plan, rules = with_policies(plan) if policies else (plan, ())
    place = {} if vhost is None else {"vhost": vhost}
    found: Object = {} if vhost is None else {"vhosts": [{"name": vhost}]}
    own_exchanges = [each for each in plan.exchanges if each.mode == "own"]
    own_queues = [each for each in plan.queues if each.mode == "own"]
    own_bindings = [each for each in plan.bindings if each.mode == "own"]
    return found | {
        "policies": [_policy(rule) | place for rule in rules],
        "queues": [_queue(queue) | place for queue in own_queues],
        "exchanges": [_exchange(exchange) | place for exchange in own_exchanges],
        "bindings": [_binding(binding) | place for binding in own_bindings],
    }


def _delays(plan: Plan, topology: Topology, version: Version) -> Iterator[Plan]:
    yield ladder.declarations(ladder.LEVELS - 1, version)
    for ms in sorted({ms for source in plan.sources.values() for ms in source.slots}):
        yield ladder.slot_declarations(ms, version)
    queues = [ladder.to_queue(name) for source in plan.sources.values() for name in source.delayed]
    exchanges = [ladder.to_exchange(exchange.name) for exchange in topology.exchanges]
    yield Plan(bindings=tuple(target.binding for target in [*queues, *exchanges]))


def _refuse_presence(plan: Plan) -> None:
    """A binding that asks only whether a header is there has no form in JSON: the broker takes no null in an import."""
    for binding in plan.bindings:
        names = [name for name, value in binding.arguments.items() if value is None]
        if names and binding.mode == "own":
            raise MissingCapability(
                f"the binding {binding.source} -> {binding.destination} asks whether {names[0]!r} is there, which "
                f"definitions cannot say; compare a value, or let the app declare it"
            )


def _queue(queue: QueuePlan) -> Object:
    return {"name": queue.name, "durable": True, "auto_delete": False, "arguments": dict(queue.arguments)}


def _exchange(exchange: ExchangePlan) -> Object:
    return {
        "name": exchange.name,
        "type": exchange.type,
        "durable": exchange.durable,
        "auto_delete": False,
        "internal": False,
        "arguments": dict(exchange.arguments),
    }


def _binding(binding: BindingPlan) -> Object:
    return {
        "source": binding.source,
        "destination": binding.destination,
        "destination_type": "queue" if binding.to_queue else "exchange",
        "routing_key": binding.key,
        "arguments": dict(binding.arguments),
    }


def _policy(policy: Policy) -> Object:
    return {"name": policy.name, **policy.body()}
