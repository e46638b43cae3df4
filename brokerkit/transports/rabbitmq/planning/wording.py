"""Changes on RabbitMQ in the words of plans."""

from __future__ import annotations

from brokerkit.errors import TopologyConflict
from brokerkit.planning.change import Action, Change, Difference, Risk, text_of
from brokerkit.transports.rabbitmq.plan import BindingPlan, ExchangePlan, QueuePlan
from brokerkit.transports.rabbitmq.planning.layout import target_of
from brokerkit.transports.rabbitmq.planning.objects import binding_name
from brokerkit.transports.rabbitmq.planning.observing import named
from brokerkit.transports.rabbitmq.policies import Policy


def difference_of(conflict: TopologyConflict) -> Difference:
    """A difference that the broker has told."""
    return Difference(conflict.attribute, text_of(conflict.found), text_of(conflict.wanted))


def change_of(
    action: Action, each: ExchangePlan | QueuePlan, *, note: str = "", blocked: str = "", risk: Risk = Risk.NONE
) -> Change:
    """A change of an exchange or queue."""
    kind, name = named(each)
    return Change(action=action, kind=kind, name=name, note=note, blocked=blocked, risk=risk)


def policy_change(action: Action, policy: Policy) -> Change:
    """A change of a policy."""
    return Change(action=action, kind="policy", name=policy.name, target=("queue", policy.queue))


def binding_change(action: Action, binding: BindingPlan, layout: bool = False) -> Change:
    """A change of a binding; ``layout``: only because of how a queue's lanes are laid out."""
    risk, note = (Risk.NONE, "") if action is Action.BIND else (Risk.HIGH, "messages of this route no longer reach it")
    if layout:
        risk, note = Risk.LOW, "the queue's lanes are laid out otherwise"
    return Change(
        action=action, kind="binding", name=binding_name(binding), target=target_of(binding), risk=risk, note=note
    )
