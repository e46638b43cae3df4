"""Settings that may change later as policies, so that changing them needs no new queue; pure.

A queue obeys one user policy only (https://www.rabbitmq.com/docs/policies), so each queue gets one of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from brokerkit.errors import TopologyConflict
from brokerkit.transports.rabbitmq.plan import OWN_PREFIX, Arguments, Plan, QueuePlan

PRIORITY = 100
"""Above what operators usually give to policies for everything."""

POLICIES: Mapping[str, str] = {
    "x-message-ttl": "message-ttl",
    "x-max-length": "max-length",
    "x-max-length-bytes": "max-length-bytes",
    "x-overflow": "overflow",
    "x-dead-letter-exchange": "dead-letter-exchange",
    "x-dead-letter-routing-key": "dead-letter-routing-key",
    "x-dead-letter-strategy": "dead-letter-strategy",
    "x-delivery-limit": "delivery-limit",
}
"""Arguments that a policy can set instead; all others are part of a queue's identity."""


def as_arguments(definition: Mapping[str, Any]) -> Arguments:
    """What policies set, under the names of the arguments that would."""
    return {name: definition[key] for name, key in POLICIES.items() if key in definition}


class Policy(msgspec.Struct, frozen=True):
    """A policy of one queue.

    Args:
        queue: The queue's name.
        definition: The settings, as the management API names them.
    """

    queue: str
    definition: Arguments

    @property
    def name(self) -> str:
        """The policy's own name."""
        return f"{OWN_PREFIX}{self.queue}"

    def body(self) -> dict[str, Any]:
        """What the management API is sent."""
        return {
            "pattern": f"^{re.escape(self.queue)}$",
            "apply-to": "queues",
            "priority": PRIORITY,
            "definition": dict(self.definition),
        }


def with_policies(plan: Plan) -> tuple[Plan, tuple[Policy, ...]]:
    """The plan whose queues keep only what can never change as arguments, and the policies with the rest.

    What all apps of the virtual host share, and queues that somebody else declares, stay as they are.
    """
    queues, policies = [], []
    for queue in plan.queues:
        definition = {POLICIES[name]: value for name, value in queue.arguments.items() if name in POLICIES}
        if queue.mode != "own" or queue.name.startswith(OWN_PREFIX) or not definition:
            queues.append(queue)
            continue
        queues.append(msgspec.structs.replace(queue, arguments=_identity(queue)))
        policies.append(Policy(queue.name, definition))
    return msgspec.structs.replace(plan, queues=tuple(queues)), tuple(policies)


def _identity(queue: QueuePlan) -> Arguments:
    return {name: value for name, value in queue.arguments.items() if name not in POLICIES}


def check_unrivalled(policies: Iterable[Policy], present: Iterable[Mapping[str, Any]]) -> None:
    """Raise ``TopologyConflict`` where the broker would obey somebody else's policy rather than one of these.

    Args:
        policies: Ours.
        present: Those of the virtual host, as the management API lists them.
    """
    others = list(_rivals(present))
    for policy in policies:
        for name, pattern, priority in others:
            if name != policy.name and pattern.search(policy.queue):
                raise TopologyConflict(
                    f"policy {name} for queue {policy.queue}", "priority", f"less than {PRIORITY}", priority
                )


def _rivals(present: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, re.Pattern[str], int]]:
    for policy in present:
        if policy.get("apply-to", "all") in {"all", "queues", "quorum_queues", "classic_queues"}:
            priority = int(policy.get("priority", 0))
            if priority >= PRIORITY:
                yield str(policy["name"]), re.compile(str(policy["pattern"])), priority
