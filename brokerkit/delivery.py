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
    """Not a message of ours nor a readable foreign one; ``message.body`` holds what was found. The only flag with which
    ``message.id`` may be empty: every other message is known by its id, so a foreign one that has none is given one."""


class Delivery(msgspec.Struct, eq=False, weakref=True):
    """A message in our hands, waiting for its outcome.

    Args:
        message: The message.
        lane: Where it came from.
        deliveries: How often the broker has delivered it in this attempt, 1 for the first time. A suspicion,
            not a verdict: a crash raises it for every neighbour. With run and attempt it is the fence, so it never
            falls while the attempt lasts: where the transport itself makes a new copy of the message (a start mark that
            ``MOVED``, a release), the copy carries the count on. A broker that only tells the first delivery from a
            later one counts every later one as the third, lest a poisonous message never become a suspect.
        token: The transport's own; opaque.
        starts: Durable start marks, see ``Subscription.mark_start``.
        marked: A start mark was written for this very delivery; also true of the first delivery of the copy that a mark
            has ``MOVED`` to, else it would be marked and moved for ever.
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
