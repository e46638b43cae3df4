"""The contract of a transport. These docstrings are its specification; adapters do not repeat them.

A transport moves messages and holds deliveries; it never decides. What is expired, over a limit or undecodable is
delivered with a flag, and the worker chooses the outcome, writes the record and replies.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, NamedTuple, Protocol, Self, runtime_checkable

import msgspec

from brokerkit.message import Message, Outgoing
from brokerkit.outcome import Outcome, Reason
from brokerkit.records import TaskRecord
from brokerkit.store import Store
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
        cancel: "atomic" (removed or not, truthfully), "tombstone" (read before the start), or "none".
        delayed: Largest delay in seconds; 0 where there is none.
        history: A log can be read from its beginning, and replayed.
        redrive: The transport is a ``DeadLetters``.
        signals: The transport is a ``Signals``.
        release_counted: A released message counts as one more delivery.
        lease: Seconds after which what a dead process held is delivered again; 0 where the connection decides.
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
    release_counted: bool = False
    lease: float = 0.0


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


class Committed(enum.Enum):
    """What became of one unit of an atomic commit; anything but DONE changed nothing."""

    DONE = "done"
    LOST = "lost"
    FAILED = "failed"
    STALE = "stale"
    TOO_LARGE = "too_large"
    UNROUTABLE = "unroutable"
    FULL = "full"


class StartMark(enum.Enum):
    """What became of one durable start mark."""

    MARKED = "marked"
    """Written; ``delivery.starts`` has been raised. Run it."""
    MOVED = "moved"
    """The mark travels in a new copy that will be delivered; this delivery is settled. Do not run it."""
    LOST = "lost"
    """The delivery is no longer ours. Do not run it."""


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

        A lane that is missing or 0 is not read. Lanes of one source come most urgent first, each lane in the order of
        publishing (a redelivered message comes before younger ones where the broker can). Cancelling it loses
        nothing: what was taken meanwhile is returned by the next call, or released on close. Returns an empty
        list, at once, only while paused or closed. Raises ``ConnectionLost`` when the transport has given up.
        """
        ...

    async def settle(self, outcomes: Sequence[tuple[Delivery, Outcome]]) -> Sequence[Settled]:
        """Carry out outcomes, an answer per item in order, each on its own. Durable where the broker is.

        ``Redeliver`` and ``DeadLetter`` move the message in one step where the broker can, else publish with
        confirmation first and acknowledge after. Settling twice, or after a loss, answers LOST and changes nothing.
        Raises ``TransportError`` only when no item's fate is known; then nothing was acknowledged as far as known.
        """
        ...

    async def mark_start(self, deliveries: Sequence[Delivery]) -> Sequence[StartMark]:
        """Write a durable start mark for each: one more start, kept with the message through crashes. ``Redeliver``
        begins again at no starts, a release takes back the mark of its own delivery."""
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
        delays it at the broker. Messages of one call that take the same route keep their order.

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


class Unit(msgspec.Struct, frozen=True, gc=False):
    """One delivery's fate as one step: everything of it or nothing.

    Args:
        delivery: The delivery.
        outcome: Its outcome.
        record: Its report, or None.
        followups: Messages its handler left.
    """

    delivery: Delivery
    outcome: Outcome
    record: TaskRecord | None = None
    followups: tuple[Outgoing, ...] = ()


@runtime_checkable
class AtomicCommit(Protocol):
    """Broker and store of records share a transaction."""

    async def commit(self, units: Sequence[Unit]) -> Sequence[Committed]:
        """Store each unit's report, publish its follow-ups and carry out its outcome in one step, an answer per
        unit in order, each on its own."""
        ...


class Cancelled(enum.Enum):
    """What became of a request to remove a message that waits or is delayed."""

    REMOVED = "removed"
    """It will not run."""
    REQUESTED = "requested"
    """A tombstone lies where a worker looks before it starts the message."""
    NOT_FOUND = "not_found"
    """It is running, done or unknown."""


@runtime_checkable
class CancelWaiting(Protocol):
    """Removes a message that has not started."""

    async def cancel(self, message_id: str, record: TaskRecord | None) -> Cancelled:
        """Remove it if it waits or is delayed, storing ``record`` in the same step where it can."""
        ...


@runtime_checkable
class OwnStore(Protocol):
    """The broker keeps records, too."""

    @property
    def store(self) -> Store:
        """The broker's own store; usable while the transport is entered."""
        ...


class DeadMessage(msgspec.Struct, frozen=True, kw_only=True):
    """An entry of a dead-letter queue.

    Args:
        message: As it was when it failed.
        source: The queue or group key it came from.
        reason: Why it is here.
        error: The last error's text.
        deliveries: How often it had been delivered in its last attempt.
        died: When, seconds since the epoch.
    """

    message: Message
    source: str
    reason: Reason
    error: str
    deliveries: int
    died: float


@runtime_checkable
class DeadLetters(Protocol):
    """Looks into, empties and sends back dead-letter queues. ``source`` is a queue's name or a group's key."""

    async def dead_letters(self, source: str, *, limit: int = 100) -> list[DeadMessage]:
        """The entries that came from ``source``, oldest first."""
        ...

    async def redrive(self, source: str, ids: Sequence[str] | None = None) -> int:
        """Send entries back to where they came from as a new run at attempt 1; returns how many.

        Each moves in one step or is published with confirmation first. None takes all that are there now.
        """
        ...

    async def purge(self, source: str, ids: Sequence[str] | None = None) -> int:
        """Delete entries for good; returns how many."""
        ...


class Signal(msgspec.Struct, frozen=True):
    """A word to every worker.

    Args:
        kind: "cancel" is the only one so far.
        target: The id of the task.
        run: The run that is meant; a signal never hits a later one.
    """

    kind: str
    target: str
    run: int


class SignalStream(Protocol):
    """Where signals arrive."""

    async def receive(self) -> list[Signal]:
        """Wait for at least one and return what is there; an empty list once closed."""
        ...


@runtime_checkable
class Signals(Protocol):
    """Reaches the workers that are there now; best effort."""

    async def signal(self, signal: Signal) -> None:
        """Send to every process that listens."""

    def signals(self) -> AbstractAsyncContextManager[SignalStream]:
        """Listen, from the moment the context is entered."""
        ...


class Presence(msgspec.Struct, frozen=True, kw_only=True):
    """A worker's heartbeat.

    Args:
        worker: Its name, ``host:pid:random``.
        app: The app's name.
        sources: What it consumes.
        concurrency: Its slots.
        running: How many are taken.
        started: When it started, seconds since the epoch.
        seen: When this was written.
        state: "running" or "draining".
        done: Deliveries it has settled.
    """

    worker: str
    app: str
    sources: tuple[str, ...]
    concurrency: int
    running: int
    started: float
    seen: float
    state: str
    done: int


@runtime_checkable
class Presences(Protocol):
    """Keeps the heartbeats of workers."""

    async def announce(self, presence: Presence, *, ttl: float) -> None:
        """Keep it for ``ttl`` seconds; a ttl of 0 removes it."""

    async def present(self) -> list[Presence]:
        """The workers whose heartbeat has not run out."""
        ...


@runtime_checkable
class Replay(Protocol):
    """Delivers a log's history to a group again."""

    async def replay(self, log: str, group: str, *, since: float = 0.0) -> int:
        """Add the entries since a time (seconds since the epoch) to the group's backlog; returns how many."""
        ...
