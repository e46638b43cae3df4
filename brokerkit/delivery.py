"""A message in somebody's hands, waiting for its outcome; and where it came from."""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec

from brokerkit.message import Message


class QueueSource(NamedTuple):
    """Consume a queue. A dead-letter queue is a queue, too."""

    queue: str

    @property
    def key(self) -> str:
        return self.queue


class GroupSource(NamedTuple):
    """Consume a log as a member of a group: each group sees every message once, shared among its members."""

    log: str
    group: str

    @property
    def key(self) -> str:
        return f"{self.log}@{self.group}"


Source = QueueSource | GroupSource


class Lane(NamedTuple):
    """One priority level of one source.

    Args:
        source: The source's key.
        level: 0 is the least urgent.
    """

    source: str
    level: int


class Flag(enum.Flag):
    """What a transport noticed; the worker decides what it means."""

    NONE = 0
    EXPIRED = enum.auto()
    """Past ``message.expires`` by the broker's clock; never in a dead-letter queue."""
    UNDECODABLE = enum.auto()
    """Not a message of ours nor a readable foreign one; ``message.body`` holds what was found."""


class Delivery(msgspec.Struct, eq=False, weakref=True):
    """A message in our hands, waiting for its outcome.

    Args:
        message: The message.
        lane: Where it came from.
        deliveries: How often the broker has delivered it in this attempt, 1 for the first time. A suspicion,
            not a verdict: a crash raises it for every neighbour.
        token: The transport's own; opaque.
        starts: Durable start marks, see ``Subscription.mark_start``.
        marked: A start mark was written for this very delivery.
        flags: What the transport noticed.
        lost: The transport no longer holds it: stop caring, settling will answer LOST.
        on_lost: Called once, on the event loop, when ``lost`` becomes true.
    """

    message: Message
    lane: Lane
    deliveries: int
    token: Any
    starts: int = 0
    marked: bool = False
    flags: Flag = Flag.NONE
    lost: bool = False
    on_lost: Callable[[Delivery], None] | None = None

    def lose(self) -> None:
        """Called by the transport, on the event loop, when it no longer holds the delivery."""
        if not self.lost:
            self.lost = True
            if self.on_lost is not None:
                self.on_lost(self)
