"""What a subscription holds, and how it says so to the scripts."""

from __future__ import annotations

from typing import NamedTuple

from brokerkit.delivery import Delivery, GroupSource, Lane, Source
from brokerkit.transports.redis.compile import Target
from brokerkit.transports.redis.entries import Story


class Token(NamedTuple):
    """What a delivery is known by.

    Args:
        seat: Where it is held.
        read: Which of the source's streams it came from, from 0.
        entry: The entry's id.
        owner: The consumer that holds it.
        story: Of a dead letter.
        expires: When the message itself expires, whatever its queue says.
    """

    seat: Seat
    read: int
    entry: bytes
    owner: str
    story: Story | None = None
    expires: float | None = None


class Seat:
    """One source of a subscription.

    Attributes:
        source: The source.
        target: What it is here.
        consumer: Under which name we hold what we hold; another one after a loss.
        asleep: The lanes that are empty as far as known, and on which we wait to be woken.
        registered: Whether the server may have word that we wait.
    """

    def __init__(self, source: Source, target: Target) -> None:
        self.source, self.target = source, target
        self.consumer = ""
        self.asleep: set[int] = set()
        self.registered = False
        self.lanes = [Lane(source.key, level) for level in reversed(range(target.lanes))]
        """The most urgent first."""
        self.reads = target.all_reads
        self.is_group = isinstance(source, GroupSource)

    def read_number(self, level: int, within: int) -> int:
        """The number of a stream among all of the source, from that among those of its lane."""
        return level * (len(self.reads) // self.target.lanes) + within


Held = tuple[str, int, bytes]
"""What a held message is known by: the consumer, which of the source's streams, and the entry."""


def held_as(delivery: Delivery) -> Held:
    """What a delivery is known by."""
    token: Token = delivery.token
    return token.owner, token.read, token.entry
