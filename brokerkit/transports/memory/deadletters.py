"""Dead letters: into their queue, out of it again, and back to where they came from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

import msgspec

from brokerkit.abilities import DeadMessage
from brokerkit.outcome import DeadLetter
from brokerkit.transports.memory.broker import MemoryBroker
from brokerkit.transports.memory.entry import HELD, Entry
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


def dead_letters(broker: MemoryBroker, source: str, limit: int, ids: Sequence[str] | None) -> list[DeadMessage]:
    found = (entry.dead for entry in _entries(broker, source) if ids is None or entry.message.id in ids)
    return [dead for dead in islice(found, limit) if dead is not None]


def redrive(broker: MemoryBroker, source: str, ids: Sequence[str] | None, now: float) -> int:
    """Send entries back until the source is full; the rest stay dead letters."""
    queue, count = broker.queue(source), 0
    for grave, entry in _free(broker, source, ids):
        if not queue.has_room(now):
            break
        grave.remove(entry)
        message = entry.message
        expired = message.expires is not None and message.expires <= now
        queue.admit(
            msgspec.structs.replace(
                message,
                run=message.run + 1,
                attempt=1,
                postponed=0,
                due=None,
                expires=None if expired else message.expires,
            ),
            now,
        )
        count += 1
    return count


def purge(broker: MemoryBroker, source: str, ids: Sequence[str] | None) -> int:
    return sum(grave.remove(entry) for grave, entry in _free(broker, source, ids))


def _entries(broker: MemoryBroker, source: str) -> Iterator[Entry]:
    grave = broker.queue(source).plan.dead_letter
    return iter(broker.queues[grave].dead.get(source, ())) if grave is not None else iter(())


def _free(broker: MemoryBroker, source: str, ids: Sequence[str] | None) -> list[tuple[MemoryQueue, Entry]]:
    """The wanted entries that no consumer of the dead-letter queue holds."""
    wanted = None if ids is None else set(ids)
    return [
        (broker.queues[entry.queue], entry)
        for entry in _entries(broker, source)
        if entry.state != HELD and (wanted is None or entry.message.id in wanted)
    ]
