"""What only some brokers can do: one protocol each. A transport that declares an ability is tested for it by the
conformance suite; asking another for it raises ``MissingCapability``.

A class that has the methods may still not have the ability as connected (a cluster, an old version): ask the functions
``…_of``, which look at its ``capabilities`` too.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol, runtime_checkable

import msgspec

from brokerkit.delivery import Delivery
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


@runtime_checkable
class Listing(Protocol):
    """Knows what has been declared."""

    async def declared(self) -> Topology:
        """The union of all apps' fragments."""
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

    async def dead_letters(
        self, source: str, *, limit: int = 100, ids: Sequence[str] | None = None
    ) -> list[DeadMessage]:
        """The entries that came from ``source``, oldest first; only those of these messages where ids are given."""
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
