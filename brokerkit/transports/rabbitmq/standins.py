"""Queues that stand in for others while those are replaced, and how workers and senders know.

Two markers, queues that hold nothing, say where to read: while ``out`` is there, from the stand-in; while ``back`` is
there, from the queue again. Whoever leaves one for the other consumes the marker until it has settled what it holds.

A queue must not be deleted while something is on its way to it: RabbitMQ confirms what it then throws away. So whoever
sends straight to queues looks every other second whether one of them is being replaced, and sends to the stand-in
then; whoever replaces it waits that long.
"""

from __future__ import annotations

from typing import NamedTuple

from brokerkit.transports.rabbitmq.plan import Plan, QueuePlan, merged

UNDER_WAY = "bk.swaps"
"""The queue that holds a message while any queue of the virtual host is being replaced."""
DECLARED = QueuePlan(UNDER_WAY, {"x-queue-type": "classic"})
SIGNAL = "moved"
"""The kind of signal that has workers look."""

EVERY = 2.0
"""Seconds between two looks of a sender."""
FRESH = 3.0
"""Seconds for which a look is good."""
SETTLED = 4.0
"""Seconds after which nothing is on its way any more to where nobody is told to send."""
ABSENT = 30.0
"""Seconds between two looks where brokerkit has never declared anything; and as long must be waited then."""


class Places(NamedTuple):
    """The queues that replacing one needs.

    Args:
        standin: Stands in for it.
        out: The marker of the way to the stand-in.
        back: The marker of the way back.
    """

    standin: str
    out: str
    back: str


def of(queue: str) -> Places:
    """Those of a queue."""
    return Places(f"bk.swap.for:{queue}", f"bk.swap.out:{queue}", f"bk.swap.back:{queue}")


def looked_into(plan: Plan) -> Plan:
    """The plan, with the queue that senders look into where it declares queues of its own."""
    return merged([plan, Plan(queues=(DECLARED,))]) if any(queue.mode == "own" for queue in plan.queues) else plan
