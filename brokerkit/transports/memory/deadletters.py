"""Dead letters: into their queue, out of it again, and back to where they came from."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Collection, Sequence
from typing import Any

from brokerkit.abilities import DeadEntry, DeadMessage, Redriven, foreign
from brokerkit.message import rerun
from brokerkit.outcome import DeadLetter
from brokerkit.transports.memory.broker import MemoryBroker
from brokerkit.transports.memory.entry import WAITING, Entry
from brokerkit.transports.memory.queues import MemoryQueue


def can_bury(broker: MemoryBroker, queue: MemoryQueue, now: float) -> bool:
    """True when the queue has a dead-letter queue that is not full. Without one, the message blocks."""
    name = queue.plan.dead_letter
    return name is not None and broker.queues[name].has_room(now)


def bury(broker: MemoryBroker, queue: MemoryQueue, entry: Entry, outcome: DeadLetter, now: float) -> None:
    """Move a held entry to the dead-letter queue; ``can_bury`` has been asked."""
    assert queue.plan.dead_letter is not None
    grave = broker.queues[queue.plan.dead_letter]
    dead = DeadMessage(
        message=entry.message,
        source=queue.plan.name,
        reason=outcome.reason,
        error=outcome.error,
        deliveries=entry.deliveries,
        died=now,
    )
    copy = Entry(entry.message, grave.plan.name, grave.level_of(entry.message.priority), dead=dead)
    queue.finish(entry)
    grave.admit_dead(copy, queue.plan.dead_ttl, now)


class MemoryDeadLetters:
    """A look into the dead letters of one source, as they were when it began.

    Args:
        broker: The broker.
        source: A queue or group.
        ids: Only those of these messages, or None.
    """

    complete = True

    def __init__(self, broker: MemoryBroker, source: str, ids: Collection[str] | None) -> None:
        self._broker, self._home = broker, broker.queue(source)
        name = self._home.plan.dead_letter
        self._grave = None if name is None else broker.queues[name]
        there = [] if self._grave is None else self._grave.dead_letters(source)
        wanted = None if ids is None else frozenset(ids)
        self._left = deque(entry for entry in there if wanted is None or entry.message.id in wanted)

    async def next(self, most: int) -> list[DeadEntry]:
        found: list[DeadEntry] = []
        while self._left and len(found) < most:
            entry = self._left.popleft()
            if entry.state == WAITING:
                found.append(DeadEntry(entry.dead or self._foreign(entry), entry))
        await asyncio.sleep(0)  # who goes through many lets others work
        return found

    async def redrive(self, entries: Sequence[DeadEntry]) -> list[Redriven]:
        now = self._broker.clock.now()
        return [self._send_back(entry.token, now) for entry in entries]

    async def purge(self, tokens: Sequence[Any]) -> int:
        return sum(map(self._take, tokens))

    def _send_back(self, entry: Entry, now: float) -> Redriven:
        if entry.state != WAITING:
            return Redriven.GONE
        if not self._home.has_room(now):
            return Redriven.REFUSED
        self._take(entry)
        self._home.admit(rerun(entry.message, now), now)
        return Redriven.DONE

    def _take(self, entry: Entry) -> bool:
        return entry.state == WAITING and self._grave is not None and self._grave.remove(entry)

    def _foreign(self, entry: Entry) -> DeadMessage:
        return foreign(entry.message, self._home.name, entry.message.created)
