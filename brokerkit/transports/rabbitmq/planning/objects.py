"""What an app has, or is to have, on the broker, as values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from brokerkit.transports.rabbitmq.plan import BindingPlan, ExchangePlan, Named, Plan, QueuePlan, is_shared
from brokerkit.transports.rabbitmq.policies import Policy


class Objects(msgspec.Struct, frozen=True):
    """Exchanges, queues, bindings and policies.

    Args:
        exchanges: The exchanges.
        queues: The queues.
        bindings: The bindings.
        policies: The policies.
    """

    exchanges: tuple[ExchangePlan, ...] = ()
    queues: tuple[QueuePlan, ...] = ()
    bindings: tuple[BindingPlan, ...] = ()
    policies: tuple[Policy, ...] = ()

    @property
    def named(self) -> dict[Named, ExchangePlan | QueuePlan]:
        """Its exchanges and queues by name."""
        found: dict[Named, ExchangePlan | QueuePlan] = {Named("exchange", each.name): each for each in self.exchanges}
        return found | {Named("queue", each.name): each for each in self.queues}

    @property
    def bound(self) -> dict[bytes, BindingPlan]:
        """Its bindings by what makes each one of its own."""
        return {each.identity: each for each in self.bindings}


def of_plan(plan: Plan, policies: Iterable[Policy], mode: str) -> Objects:
    """The part of a plan of one mode."""
    return Objects(
        tuple(each for each in plan.exchanges if each.mode == mode),
        tuple(each for each in plan.queues if each.mode == mode),
        tuple(each for each in plan.bindings if each.mode == mode),
        tuple(policies) if mode == "own" else (),
    )


def together(parts: Iterable[Objects]) -> Objects:
    """All of them; of what is in several, the last."""
    named: dict[Named, ExchangePlan | QueuePlan] = {}
    bound: dict[bytes, BindingPlan] = {}
    policies: dict[str, Policy] = {}
    for part in parts:
        named |= part.named
        bound |= part.bound
        policies |= {policy.queue: policy for policy in part.policies}
    return from_parts(named.values(), bound.values(), policies.values())


def from_parts(
    named: Iterable[ExchangePlan | QueuePlan], bindings: Iterable[BindingPlan], policies: Iterable[Policy]
) -> Objects:
    """The objects in these."""
    both = list(named)
    return Objects(
        tuple(each for each in both if isinstance(each, ExchangePlan)),
        tuple(each for each in both if isinstance(each, QueuePlan)),
        tuple(bindings),
        tuple(policies),
    )


def own_only(objects: Objects) -> Objects:
    """Without what all apps of the virtual host share."""
    return Objects(
        tuple(each for each in objects.exchanges if not is_shared(each.name)),
        tuple(each for each in objects.queues if not is_shared(each.name)),
        tuple(each for each in objects.bindings if not (is_shared(each.source) and is_shared(each.destination))),
        objects.policies,
    )


def binding_name(binding: BindingPlan) -> str:
    """A binding in words."""
    by = f" by {binding.key!r}" if binding.key else ""
    if binding.arguments:
        said = msgspec.json.encode(dict(binding.arguments), order="deterministic").decode()
        by += f" by {said}"
    return f"{binding.source} -> {'queue' if binding.to_queue else 'exchange'} {binding.destination}{by}"


def owners(apps: Iterable[tuple[str, Objects]]) -> Iterator[tuple[Named | bytes, str]]:
    """Who has what, exchanges and queues by name, bindings by identity."""
    for app, objects in apps:
        for name in objects.named:
            yield name, app
        for identity in objects.bound:
            yield identity, app
