"""The contract of a transport. These docstrings are its specification; adapters do not repeat them.

A transport moves messages and holds deliveries; it never decides. What is expired, over a limit or undecodable is
delivered with a flag, and the worker chooses the outcome, writes the record and replies.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol, Self

import msgspec

from brokerkit.delivery import Delivery, Lane, Source
from brokerkit.message import Message, Outgoing
from brokerkit.outcome import Outcome
from brokerkit.topology import Topology

INBOX_PREFIX = "bk.inbox."
"""Every inbox's address begins with this; a ``reply_to`` that does not is never published to."""


class Capabilities(msgspec.Struct, frozen=True, kw_only=True):
    """What this broker, as connected, can do. Probed, never guessed from a declare that succeeded.

    Args:
        name: The broker and its version, for people ("memory", "sqlite 3.45", "rabbitmq 4.3.0").
        durable: A confirmed message survives the end of every process.
        atomic_records: ``Outgoing.record`` is stored with the message or not at all.
        atomic_commit: The transport is an ``AtomicCommit``.
        cancel: "atomic" (removed or not, truthfully), "tombstone" (a CANCELLED record, which a worker looks for before
            it starts a message that has waited), or "none".
        delayed: Largest delay in seconds; 0 where there is none.
        history: A log can be read from its beginning, and replayed.
        redrive: The transport is a ``DeadLetters``.
        signals: The transport is a ``Signals``.
        deliveries_counted: ``Delivery.deliveries`` is exact; else it is 1, or 3 for any later delivery.
        release_counted: A released message counts as one more delivery.
        release_in_order: A released message comes before younger ones; else perhaps after those that waited meanwhile.
        largest_headers: Bytes of one message's headers and labels together; 0 for no limit of the broker's.
        limits_exact: A queue's ``max_length`` holds to the message; else what is published at one time may exceed it.
        losses_counted: What retention removed before a group saw it is counted, see ``QueueStats.lost``.
        hold_for_groups: A log can hold what its groups have not read.
        entries: A group can begin after the entry of an id.
        lease: Seconds after which what a dead process held is delivered again; 0 where the connection decides.
        settle_within: Seconds after which the broker takes back a delivery that is not settled, however alive its
            worker; 0 for never. A longer run goes on when the same worker gets its message again.
    """

    name: str
    durable: bool
    atomic_records: bool = False
    atomic_commit: bool = False
    cancel: str = "none"
    delayed: float = 0.0
    history: bool = False
    redrive: bool = False
    signals: bool = False
    deliveries_counted: bool = True
    release_counted: bool = False
    release_in_order: bool = True
    largest_headers: int = 0
    limits_exact: bool = True
    losses_counted: bool = True
    hold_for_groups: bool = True
    entries: bool = False
    lease: float = 0.0
    settle_within: float = 0.0


class Published(enum.Enum):
    """What became of one published message."""

    CONFIRMED = "confirmed"
    """As safe as the broker keeps it, in every queue it was routed to."""
    UNROUTABLE = "unroutable"
    """No queue, log or inbox takes it; it is nowhere."""
    FULL = "full"
    """A target's limit is reached; it is nowhere, or on brokers without atomic fan-out not everywhere."""
    REFUSED = "refused"
    """The broker said no."""
    UNKNOWN = "unknown"
    """No answer before the deadline; publishing again under the same id may duplicate it."""


class Settled(enum.Enum):
    """What became of one outcome."""

    DONE = "done"
    LOST = "lost"
    """The delivery is no longer ours: the broker may deliver it again; nothing was changed."""
    FAILED = "failed"
    """Not done and still ours (a dead-letter queue that is full, a blocked broker): try again later."""


class StartMark(enum.Enum):
    """What became of one durable start mark."""

    MARKED = "marked"
    """Written; ``delivery.starts`` has been raised. Run it."""
    MOVED = "moved"
    """The mark travels in a new copy that will be delivered, ``marked`` the first time, with ``deliveries`` carried on;
    this delivery is settled. Do not run it."""
    LOST = "lost"
    """The delivery is no longer ours. Do not run it."""


class LaneStats(msgspec.Struct, frozen=True):
    """Messages of one lane; None where the broker cannot know."""

    ready: int | None
    in_flight: int | None = None
    delayed: int | None = None


class QueueStats(msgspec.Struct, frozen=True):
    """Messages of a queue or group, now; None where the broker cannot know, never invented.

    Args:
        queue: Its name or the group's key.
        ready: Waiting to be delivered.
        in_flight: Delivered, not settled.
        delayed: Not due yet.
        dead: In its dead-letter queue.
        consumers: Processes that consume it.
        lanes: The same by lane, least urgent first.
        lost: Messages of a group that retention removed before it saw them.
    """

    queue: str
    ready: int | None
    in_flight: int | None
    delayed: int | None
    dead: int | None
    consumers: int | None
    lanes: tuple[LaneStats, ...] = ()
    lost: int | None = None


class Subscription(Protocol):
    """What a worker holds of its sources. Used from one event loop; ``receive`` by one caller at a time, the rest
    concurrently with it and with each other.

    The transport renews what it holds until it is settled, from where no handler can starve it. When the
    connection breaks, the transport reconnects by itself; deliveries it no longer holds become ``lost``.
    """

    async def receive(self, limit: Mapping[Lane, int], most: Mapping[str, int] | None = None) -> list[Delivery]:
        """Wait for at least one delivery and return what is there, never more than asked for in any lane.

        ``most`` bounds what is taken of a source altogether, by its key: what a lane could give is then left behind
        for as long as more urgent lanes of that source fill the bound. A source that is not in it has no such bound.

        What a broker pushes beyond the last ``limit`` is kept from other workers: the transport gives it back when it
        is not asked for within about a second.

        A lane that is missing or 0 is not read. Lanes of one source come most urgent first, each lane in the order of
        publishing (a redelivered message comes before younger ones where the broker can). Cancelling it loses
        nothing: what was taken meanwhile is returned by the next call, or released on close. Returns an empty
        list, at once, only while paused or closed. Raises ``ConnectionLost`` when the transport has given up.
        """
        ...

    async def settle(self, outcomes: Sequence[tuple[Delivery, Outcome]]) -> Sequence[Settled]:
        """Carry out outcomes, an answer per item in order, each on its own. Durable where the broker is.

        ``Redeliver`` and ``DeadLetter`` move the message in one step where the broker can, else publish with
        confirmation first and acknowledge after. ``Redeliver`` by more than ``Capabilities.delayed`` waits that long.
        Settling twice, or after a loss, answers LOST and changes nothing.
        Raises ``TransportError`` only when no item's fate is known; then nothing was acknowledged as far as known.
        """
        ...

    async def mark_start(self, deliveries: Sequence[Delivery]) -> Sequence[StartMark]:
        """Write a durable start mark for each: one more start, kept with the message through crashes. ``Redeliver``
        begins again at no starts, a release takes back the mark of its own delivery. A broker that cannot change a
        message publishes a copy with confirmation first and acknowledges after, both for the mark and for its release.
        Raises ``TransportError`` when none was written."""
        ...

    async def pause(self) -> None:
        """Stop intake: a waiting ``receive`` returns. Settling and renewing go on."""

    async def resume(self) -> None:
        """Take deliveries again."""


class Inbox(Protocol):
    """Where replies to this process arrive."""

    @property
    def address(self) -> str:
        """What callers put into ``reply_to``; begins with ``INBOX_PREFIX``."""
        ...

    async def receive(self) -> list[Message]:
        """Wait for at least one reply and return what is there; an empty list once closed. A reply is delivered at most
        once."""
        ...


class Transport(Protocol):
    """An adapter to one broker, from one process and event loop. Entering it connects, leaving it closes.

    Entering raises ``ConnectFailed`` with one clear message. Closing is idempotent, releases what is held and
    not settled, and ends a waiting ``receive``. All methods may be called concurrently. No argument or error
    ever carries a password into a text.
    """

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, *exc_info: object) -> None: ...

    @property
    def capabilities(self) -> Capabilities:
        """What the broker can do; known once entered."""
        ...

    async def apply(self, topology: Topology) -> None:
        """Create what is missing, additively. The broker keeps one fragment per ``topology.name`` and routes by
        the union of all; what an earlier apply of the same name declared stays. Idempotent.

        Raises:
            TopologyConflict: Something exists with other attributes; nothing was changed.
            MissingCapability: The broker cannot do what is declared.
        """

    async def publish(self, messages: Sequence[Outgoing], *, deadline: float) -> Sequence[Published]:
        """Publish, an answer per message in order. CONFIRMED means in every target, as safe as the broker is.

        One message enters each target once, whatever number of bindings match. ``message.due`` in the future
        delays it at the broker. Messages of one call that take the same route keep their order. What the broker can
        never take (a delay beyond ``Capabilities.delayed``, a message over its limit) is REFUSED, lest it be tried for
        ever. Raises ``TransportError`` only when no message's fate is known; ``BrokerBlocked`` when none has left.

        Args:
            messages: What to publish.
            deadline: Seconds; whatever is not answered by then is UNKNOWN.
        """
        ...

    def consume(self, sources: Sequence[Source]) -> AbstractAsyncContextManager[Subscription]:
        """Subscribe. Leaving the context releases what was not settled."""
        ...

    def replies(self) -> AbstractAsyncContextManager[Inbox]:
        """Open an inbox for this process; leaving the context deletes it."""
        ...

    async def stats(self, queue: str) -> QueueStats:
        """Count. ``queue`` is a queue's name or a group's key. Raises ``TopologyError`` for an unknown one."""
        ...
