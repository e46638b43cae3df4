"""One connection of one process to a memory broker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from typing import Self

from brokerkit.abilities import Committed, Presence, Removed, Signal, Unit
from brokerkit.delivery import Source
from brokerkit.errors import ConnectionLost, MissingCapability, TopologyError
from brokerkit.message import Message, Outgoing
from brokerkit.planning.stored import StoredPlanner
from brokerkit.stores.memory import MemoryStore
from brokerkit.topology import Topology
from brokerkit.transport import Capabilities, Published, QueueStats
from brokerkit.transports.memory.broker import MemoryBroker
from brokerkit.transports.memory.deadletters import MemoryDeadLetters
from brokerkit.transports.memory.dialect import CAPABILITIES
from brokerkit.transports.memory.mailbox import Mailbox
from brokerkit.transports.memory.planning import MemoryKeeper
from brokerkit.transports.memory.settling import commit
from brokerkit.transports.memory.subscription import MemorySubscription

TURN = 256
"""Messages published after which the event loop gets a turn."""


class MemoryTransport:
    """A ``Transport`` with every ability: ``AtomicCommit``, ``CancelWaiting``, ``DeadLetters``, ``Signals``,
    ``Presences`` and ``Replay``.

    Args:
        broker: The broker; transports that share it reach each other. Default a new one.
    """

    def __init__(self, broker: MemoryBroker | None = None) -> None:
        self.broker = broker or MemoryBroker()
        self._open = False
        self._subscriptions: dict[MemorySubscription, None] = {}
        self._inboxes: dict[Mailbox[Message], None] = {}
        self._listeners: dict[Mailbox[Signal], None] = {}
        self._turn = 0

    async def __aenter__(self) -> Self:
        self._open = True
        self.broker.wind()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._open = False
        for subscription in self._subscriptions:
            subscription.close()
        self._disappear()

    def abandon(self) -> None:
        """End as a killed process does: what is held goes back counted as delivered, and is ``lost`` here."""
        self._open = False
        for subscription in self._subscriptions:
            subscription.abandon()
        self._disappear()

    def disconnect(self) -> None:
        """Lose what is held, as by a connection that breaks and is restored at once; all else goes on."""
        self._check_open()
        for subscription in self._subscriptions:
            subscription.disconnect()

    @property
    def capabilities(self) -> Capabilities:
        return CAPABILITIES

    @property
    def store(self) -> MemoryStore:
        """The store that shares the broker's transactions."""
        return self.broker.store

    async def apply(self, topology: Topology) -> None:
        self._check_open()
        self.broker.apply(topology)

    async def publish(self, messages: Sequence[Outgoing], *, deadline: float) -> Sequence[Published]:
        self._turn += len(messages)
        if self._turn > TURN:
            self._turn = 0
            await asyncio.sleep(0)
        self._check_open()
        now = self.broker.clock.now()
        publish = self.broker.publish
        return [publish(outgoing, now) for outgoing in messages]

    async def commit(self, units: Sequence[Unit]) -> Sequence[Committed]:
        now = self.broker.clock.now()
        return [self._commit(unit, now) for unit in units]

    def _commit(self, unit: Unit, now: float) -> Committed:
        for subscription in self._subscriptions:
            if subscription.holds(unit.delivery):
                answer = commit(self.broker, unit, now)
                if answer is Committed.DONE:
                    subscription.forget(unit.delivery)
                return answer
        return Committed.LOST

    @asynccontextmanager
    async def consume(self, sources: Sequence[Source]) -> AsyncIterator[MemorySubscription]:
        self._check_open()
        subscription = MemorySubscription(self.broker, sources)
        self._subscriptions[subscription] = None
        try:
            yield subscription
        finally:
            self._subscriptions.pop(subscription, None)
            subscription.close()

    @asynccontextmanager
    async def replies(self) -> AsyncIterator[Mailbox[Message]]:
        self._check_open()
        inbox = self.broker.open_inbox()
        self._inboxes[inbox] = None
        try:
            yield inbox
        finally:
            self._inboxes.pop(inbox, None)
            self.broker.close_inbox(inbox)

    async def stats(self, queue: str) -> QueueStats:
        self._check_open()
        await asyncio.sleep(0)  # somebody who asks again and again lets the others work
        return self.broker.stats(queue)

    async def cancel(self, message_id: str, *, after_run: int = 0) -> Removed:
        self._check_open()
        return self.broker.cancel(message_id, after_run)

    @asynccontextmanager
    async def dead_letters(
        self, source: str, *, ids: Collection[str] | None = None, since: float = 0.0
    ) -> AsyncIterator[MemoryDeadLetters]:
        self._check_open()
        yield MemoryDeadLetters(self.broker, source, ids)

    @property
    def planner(self) -> StoredPlanner:
        """What plans changes of the topology."""
        return StoredPlanner(lambda: MemoryKeeper(self._opened()))

    def _opened(self) -> MemoryBroker:
        self._check_open()
        return self.broker

    async def declared(self) -> Topology:
        self._check_open()
        return self.broker.declared()

    async def signal(self, signal: Signal) -> None:
        self._check_open()
        self.broker.signal(signal)

    @asynccontextmanager
    async def signals(self) -> AsyncIterator[Mailbox[Signal]]:
        self._check_open()
        listener: Mailbox[Signal] = Mailbox()
        self._listeners[listener] = self.broker.listeners[listener] = None
        try:
            yield listener
        finally:
            self._listeners.pop(listener, None)
            self.broker.listeners.pop(listener, None)
            listener.close()

    async def announce(self, presence: Presence, *, ttl: float) -> None:
        self._check_open()
        self.broker.announce(presence, ttl)

    async def present(self) -> list[Presence]:
        self._check_open()
        return self.broker.present()

    async def replay(self, log: str, group: str, *, since: float = 0.0) -> int:
        self._check_open()
        found = self.broker.logs.get(log)
        if found is None:
            raise TopologyError([f"logs: {log!r} is not a log of this broker; apply its topology first"])
        if not found.plan.history:
            raise MissingCapability(f"log {log!r} keeps no history; declare it with history=True to replay it")
        return found.replay(self.broker.queue(f"{log}@{group}"), since, self.broker.clock.now())

    def _check_open(self) -> None:
        if not self._open:
            raise ConnectionLost("this memory transport is not open; use it inside: async with transport")

    def _disappear(self) -> None:
        """Inboxes and listeners end with the process, however it ended."""
        self._subscriptions.clear()
        for inbox in self._inboxes:
            self.broker.close_inbox(inbox)
        self._inboxes.clear()
        for listener in self._listeners:
            self.broker.listeners.pop(listener, None)
            listener.close()
        self._listeners.clear()
