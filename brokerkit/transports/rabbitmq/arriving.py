"""What the broker pushed, and the delivery it becomes once somebody takes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from brokerkit.delivery import Delivery, Flag
from brokerkit.transports.rabbitmq import envelope
from brokerkit.transports.rabbitmq.plan import SourcePlan

if TYPE_CHECKING:
    from brokerkit.transports.rabbitmq.lane import LaneConsumer

_AGAIN = 3
"""What a later delivery counts as where the broker does not count: see ``Delivery.deliveries``."""


class Pushed(NamedTuple):
    """A delivery as it came; nothing is decoded that may never be taken."""

    tag: int
    redelivered: bool
    exchange: bytes
    routing_key: bytes
    header: bytes
    body: bytes


class Token(NamedTuple):
    """What a ``Delivery`` needs to be settled.

    Args:
        lane: Whose it is.
        epoch: Which of the lane's channels delivered it: tags mean nothing on another.
        tag: The delivery tag.
        entered: When the message entered the queue, seconds since the epoch; 0 if unknown.
    """

    lane: LaneConsumer
    epoch: int
    tag: int
    entered: float


def delivery_of(pushed: Pushed, lane: LaneConsumer, grave: bool, now: float) -> Delivery:
    """Decode it.

    Args:
        pushed: As it came.
        lane: Whose it is.
        grave: Whether that is a dead-letter queue, where nothing expires.
        now: Seconds since the epoch.
    """
    found = envelope.decode(
        pushed.header, pushed.body, pushed.exchange.decode("utf-8", "replace"),
        pushed.routing_key.decode("utf-8", "replace"),
    )  # fmt: skip
    # From 4.3 on the count leaves out what was released, and what its consumer kept too long.
    again = max(found.broker_count or 0, int(pushed.redelivered))
    deliveries = found.carried + 1 + again
    if pushed.redelivered and lane.source.kind == "classic":
        again, deliveries = 1, max(_AGAIN, found.carried + 2)
    expired = not grave and _expired(found, lane.source, now)
    return Delivery(
        message=found.message,
        lane=lane.lane,
        deliveries=deliveries,
        token=Token(lane, lane.epoch, pushed.tag, found.entered),
        starts=found.starts,
        marked=found.moved and not again,
        flags=found.flags | Flag.EXPIRED if expired else found.flags,
    )


def _expired(found: envelope.Envelope, source: SourcePlan, now: float) -> bool:
    ends, ttl = found.message.expires, source.message_ttl
    if ends is not None and ends <= now:
        return True
    return ttl is not None and 0 < found.entered <= now - ttl
