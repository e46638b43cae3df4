"""What only some brokers can do: one protocol each. A transport that declares an ability is tested for it by the
conformance suite; asking another for it raises ``MissingCapability``.

A class that has the methods may still not have the ability as connected (a cluster, an old version): ask the functions
``…_of``, which look at its ``capabilities`` too.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, NamedTuple, Protocol, runtime_checkable

import msgspec

from brokerkit.delivery import Delivery
from brokerkit.fingerprint import fingerprint, kind_of, normalised
from brokerkit.message import Message, Outgoing
from brokerkit.outcome import Outcome, Reason
from brokerkit.records import TaskRecord
from brokerkit.store import Store
from brokerkit.topology import Topology
from brokerkit.transport import Transport


class Committed(enum.Enum):
    """What became of one unit of an atomic commit; anything but DONE changed nothing."""

    DONE = "done"
    LOST = "lost"
    FAILED = "failed"
    STALE = "stale"
    TOO_LARGE = "too_large"
    UNROUTABLE = "unroutable"
    FULL = "full"


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


class Removed(msgspec.Struct, frozen=True):
    """What became of a request to remove a message that waits or is delayed.

    Args:
        message: The message; None when there is none of that id: its run is over, or nobody knows it.
        held: Somebody holds it: it runs or is about to, and nothing was removed.
    """

    message: Message | None = None
    held: bool = False


NOTHING_REMOVED = Removed()


@runtime_checkable
class CancelWaiting(Protocol):
    """Removes a message that has not started."""

    async def cancel(self, message_id: str, *, after_run: int = 0) -> Removed:
        """Remove it if it waits or is delayed, with all its copies; nothing while one of them is held.

        The broker's own record of it, if there is one, becomes what ``records.cancelled`` says, in the same step where
        the capabilities include ``atomic_records``.

        Args:
            message_id: The message's id.
            after_run: Only a message of a later run is removed: one of a run that has ended has come back to be
                recognised.
        """
        ...


@runtime_checkable
class OwnStore(Protocol):
    """The broker keeps records, too."""

    @property
    def store(self) -> Store:
        """The broker's own store; usable while the transport is entered."""
        ...


@runtime_checkable
class Listing(Protocol):
    """Knows what has been declared."""

    async def declared(self) -> Topology:
        """The union of all apps' fragments."""
        ...


class DeadMessage(msgspec.Struct, frozen=True, kw_only=True):
    """An entry of a dead-letter queue.

    Args:
        message: As it was when it failed; of what cannot be read, its bytes are the body.
        source: The queue or group key it came from; of a foreign message, the one that was asked about.
        reason: Why it is here.
        error: The last error's text, "type: message".
        deliveries: How often it had been delivered in its last attempt.
        died: When, seconds since the epoch.
    """

    message: Message
    source: str
    reason: Reason
    error: str
    deliveries: int
    died: float

    @property
    def kind(self) -> str:
        """The error's type (``ValueError``), or the reason where its text does not begin with one."""
        return kind_of(self.error, self.reason.value)

    @property
    def fingerprint(self) -> str:
        """12 hexadecimal digits, the same for all that failed alike: type of error, its text without numbers, ids and
        addresses, and task."""
        return fingerprint(self.kind, normalised(self.error), self.message.name)


def foreign(message: Message, source: str, died: float) -> DeadMessage:
    """An entry that somebody else has put there, who does not say why."""
    return DeadMessage(
        message=message,
        source=source,
        reason=Reason.FOREIGN,
        error="put into the dead-letter queue without a reason",
        deliveries=0,
        died=died,
    )


class DeadEntry(NamedTuple):
    """A dead letter and where it lies.

    Args:
        dead: What it says.
        token: The transport's own; opaque.
    """

    dead: DeadMessage
    token: Any


class Redriven(enum.Enum):
    """What became of one dead letter that was to be sent back."""

    DONE = "done"
    """It waits in its source as a new run."""
    GONE = "gone"
    """It is there no more, or a consumer of the dead-letter queue holds it; nothing was changed."""
    REFUSED = "refused"
    """Its source did not take it, being full or blocked; it is still a dead letter."""


class SentBack(NamedTuple):
    """A dead letter that was sent back to where it came from.

    Args:
        id: Its message's id.
        run: The run that it begins.
    """

    id: str
    run: int


class DeadLetterView(Protocol):
    """Goes once through the dead letters of one source. Used by one caller at a time; left when its context is.

    It shows what was there when it was opened, what came from other hands and cannot be read included; not what a
    consumer of the dead-letter queue holds, if the broker can tell. A broker that has to take entries to see them holds
    those it has shown until the context is left, and gives them back then, or when the process dies.
    """

    @property
    def complete(self) -> bool:
        """False when it has ended before all had been seen, because the broker does not let it hold more."""
        ...

    async def next(self, most: int) -> Sequence[DeadEntry]:
        """The next entries; none at the end. Oldest first within each lane, where the broker keeps that order: a quorum
        queue puts what was looked at behind what was not."""
        ...

    async def redrive(self, entries: Sequence[DeadEntry]) -> Sequence[Redriven]:
        """Send entries back to where they came from as a new run at attempt 1, an answer per entry in order.

        Each moves in one step or is published with confirmation first. After one that is refused none may be tried.
        """
        ...

    async def purge(self, tokens: Sequence[Any]) -> int:
        """Delete the entries of these tokens for good; returns how many of them were there."""
        ...


@runtime_checkable
class DeadLetters(Protocol):
    """Looks into dead-letter queues."""

    def dead_letters(
        self, source: str, *, ids: Collection[str] | None = None, since: float = 0.0
    ) -> AbstractAsyncContextManager[DeadLetterView]:
        """Look into the dead letters that came from a source, and those whose source nobody knows.

        Args:
            source: A queue's name or a group's key.
            ids: Only those of these messages; None for all.
            since: Entries that came before, seconds since the epoch, need not be shown.
        """
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


@runtime_checkable
class Leases(Protocol):
    """Gives something to one owner at a time. For stores.

    A process that was stopped for longer than its lease goes on without knowing: pair a lease with a fence.
    """

    async def lease(self, name: str, owner: str, seconds: float) -> bool:
        """Take it, or keep it, for so many seconds from now; 0 gives it back. False while it is somebody else's."""
        ...


@runtime_checkable
class AddOnce(Protocol):
    """Tells the first from all that come after. For stores."""

    async def add_once(self, key: str, seconds: float) -> bool:
        """True for whoever adds it first; it is forgotten after so many seconds."""
        ...


@runtime_checkable
class Counters(Protocol):
    """Counts. For stores."""

    async def count(self, name: str, by: int, seconds: float) -> int:
        """Add to a counter, which begins at 0, and return it. It is forgotten so many seconds after its last change."""
        ...


def atomic_commit_of(transport: Transport) -> AtomicCommit | None:
    """The ability to commit in one step, where the broker as connected has it."""
    offered = transport.capabilities.atomic_commit
    return transport if offered and isinstance(transport, AtomicCommit) else None


def cancel_waiting_of(transport: Transport) -> CancelWaiting | None:
    """The ability to cancel what waits, where the broker as connected has it."""
    offered = transport.capabilities.cancel != "none"
    return transport if offered and isinstance(transport, CancelWaiting) else None


def dead_letters_of(transport: Transport) -> DeadLetters | None:
    """The ability to handle dead letters, where the broker as connected has it."""
    offered = transport.capabilities.redrive
    return transport if offered and isinstance(transport, DeadLetters) else None


def signals_of(transport: Transport) -> Signals | None:
    """The ability to reach workers, where the broker as connected has it."""
    offered = transport.capabilities.signals
    return transport if offered and isinstance(transport, Signals) else None
