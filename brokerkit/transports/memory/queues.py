"""One queue: its lanes, what is delayed, what is held, and who waits for it."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Mapping
from typing import Protocol

import msgspec

from brokerkit.delivery import Delivery, Flag, Lane
from brokerkit.message import Message
from brokerkit.topology import MAX_PRIORITY
from brokerkit.transport import LaneStats
from brokerkit.transports.memory.alarms import Alarms
from brokerkit.transports.memory.compile import QueuePlan
from brokerkit.transports.memory.entry import DELAYED, GONE, HELD, WAITING, Entry, Index

REBUILD_AT = 64
"""Removed entries a lane carries along before it is rebuilt."""


class Consumer(Protocol):
    """A subscription, as its queues see it."""

    def wake_for(self, lane: Lane) -> bool:
        """Wake it if it waits for this lane; True when it does and had not been woken yet."""
        ...


class MemoryQueue:
    """State and transitions of one queue; every method is synchronous, hence one step.

    Args:
        plan: What it is.
        index: Where entries can be found by message id.
        alarms: For delays.
        next_seq: Numbers entries in the order in which they become available.
    """

    def __init__(self, plan: QueuePlan, index: Index, alarms: Alarms, next_seq: Callable[[], int]) -> None:
        self.plan = plan
        self._single_active = plan.single_active
        self._ttl = plan.message_ttl
        self.bounded = plan.max_length is not None
        self.lanes = tuple(Lane(plan.name, level) for level in range(plan.lanes))
        self.consumers: dict[Consumer, None] = {}
        self.waiters: dict[Consumer, None] = {}
        self.lost = 0
        self.dead: dict[str, dict[Entry, None]] = {}
        self.name = plan.name
        self._index, self._alarms, self._next_seq = index, alarms, next_seq
        self._by_id = index.first
        self._active: Consumer | None = None
        self._fresh: list[deque[Entry]] = [deque() for _ in self.lanes]
        # What came back keeps its place: it is older than anything in the deque and is served first.
        self._returned: list[list[tuple[int, Entry]]] = [[] for _ in self.lanes]
        self._removed = [0] * plan.lanes
        self._held = [0] * plan.lanes
        self._delayed = [0] * plan.lanes

    def level_of(self, priority: int) -> int:
        """The lane of a priority; one out of range, as foreign messages may have, counts as the nearest."""
        levels = self.plan.levels
        return levels[priority] if 0 <= priority <= MAX_PRIORITY else levels[0 if priority < 0 else MAX_PRIORITY]

    def ready(self, level: int) -> int:
        return len(self._fresh[level]) + len(self._returned[level]) - self._removed[level]

    @property
    def size(self) -> int:
        """Everything in it: ready, delayed and held."""
        return sum(self.ready(lane.level) for lane in self.lanes) + sum(self._held) + sum(self._delayed)

    def has_room(self, _now: float, wanted: int = 1) -> bool:
        """True when so many more fit."""
        return self.plan.max_length is None or self.size + wanted <= self.plan.max_length

    def stats(self) -> tuple[LaneStats, ...]:
        return tuple(
            LaneStats(self.ready(lane.level), self._held[lane.level], self._delayed[lane.level]) for lane in self.lanes
        )

    def dead_letters(self, source: str) -> list[Entry]:
        """The waiting dead letters that came from a source, and what was put here by others, as it comes next."""
        own = [entry for entry in self.dead.get(source, ()) if entry.state == WAITING]
        return own + [entry for lane in self.lanes for entry in self._foreign(lane.level)] if self._others else own

    def count_dead(self, source: str) -> int:
        """How many dead letters of a source are here, held ones included, and others' messages."""
        return len(self.dead.get(source, ())) + self._others

    @property
    def _others(self) -> int:
        return self.size - sum(self._delayed) - sum(map(len, self.dead.values()))

    def _foreign(self, level: int) -> list[Entry]:
        returned = [entry for _, entry in sorted(self._returned[level], key=lambda item: item[0])]
        waiting = (*returned, *self._fresh[level])
        return [entry for entry in waiting if entry.state == WAITING and entry.dead is None]

    # Into the queue

    def admit(self, message: Message, now: float) -> Entry:
        """Take a new message."""
        entry = Entry(message, self.name, self.level_of(message.priority))
        if self._by_id.setdefault(message.id, entry) is not entry:
            self._index.add(entry)
        if message.due is not None and message.due > now:
            self._delay(entry, message.due)
        else:
            self._make_ready(entry, now)
        return entry

    def admit_dead(self, entry: Entry, ttl: float | None, now: float) -> None:
        """Take a dead letter; it is not in the index, because a dead message cannot be cancelled."""
        assert entry.dead is not None
        self.dead.setdefault(entry.dead.source, {})[entry] = None
        self._make_ready(entry, now)
        if ttl is not None:
            self._alarms.set(now + ttl, self._outlived, entry)

    def _make_ready(self, entry: Entry, now: float) -> None:
        entry.state = WAITING
        entry.seq = self._next_seq()
        if self._ttl is not None:
            expires = entry.message.expires
            entry.expires = min(now + self._ttl, float("inf") if expires is None else expires)
        self._fresh[entry.level].append(entry)
        if self.waiters:
            self.wake(entry.level)

    def _delay(self, entry: Entry, due: float) -> None:
        entry.state = DELAYED
        self._delayed[entry.level] += 1
        self._alarms.set(due, self._came_due, entry)

    def _came_due(self, entry: Entry | None, now: float) -> None:
        if entry is not None and entry.state == DELAYED:
            self._delayed[entry.level] -= 1
            self._make_ready(entry, now)

    def _outlived(self, entry: Entry | None, now: float) -> None:
        """The ttl of a dead letter has run out; one that somebody holds is looked at again later."""
        if entry is not None and not self.remove(entry):
            self._alarms.set(now + 60.0, self._outlived, entry)

    # Another plan

    @property
    def entries(self) -> list[Entry]:
        """What waits, in order."""
        waiting = [item for lane in self._returned for item in lane]
        waiting += [(entry.seq, entry) for lane in self._fresh for entry in lane]
        return [entry for _, entry in sorted(waiting, key=lambda item: item[0]) if entry.state == WAITING]

    def reshape(self, plan: QueuePlan, now: float) -> None:
        """Become what another plan says; what waits goes to the lane of its priority, what is held stays held."""
        waiting = self.entries
        moved = plan.levels != self.plan.levels
        self.plan, self._ttl, self._single_active = plan, plan.message_ttl, plan.single_active
        self.bounded = plan.max_length is not None
        if not moved:
            return
        held, delayed = sum(self._held), sum(self._delayed)
        self.lanes = tuple(Lane(plan.name, level) for level in range(plan.lanes))
        self._fresh = [deque() for _ in self.lanes]
        self._returned = [[] for _ in self.lanes]
        self._removed = [0] * plan.lanes
        self._held, self._delayed = ([count, *[0] * (plan.lanes - 1)] for count in (held, delayed))
        for entry in self._elsewhere():
            entry.level = 0
        for entry in waiting:
            entry.level = self.level_of(entry.message.priority)
            self._fresh[entry.level].append(entry)
        self.offer()

    def clear(self) -> None:
        """Forget everything that waits or is delayed."""
        for entry in [*self.entries, *self._elsewhere()]:
            if entry.state != HELD:
                self.remove(entry)

    def _elsewhere(self) -> list[Entry]:
        """What is delayed or held."""
        return [entry for entry in self._index.of(self.name) if entry.state in (DELAYED, HELD)]

    # To a consumer and back

    def take(self, lane: Lane, count: int, now: float, held: dict[Entry, Delivery], out: list[Delivery]) -> None:
        """Move up to ``count`` entries of a lane into the consumer's hands."""
        level = lane.level
        returned, fresh = self._returned[level], self._fresh[level]
        taken = 0
        while taken < count:
            if returned:
                entry = heapq.heappop(returned)[1]
            elif fresh:
                entry = fresh.popleft()
            else:
                break
            if entry.state != WAITING:
                self._removed[level] -= 1
                continue
            entry.state = HELD
            entry.deliveries += 1
            message = entry.message
            if entry.expires is not None:
                message = msgspec.structs.replace(message, expires=entry.expires)
            delivery = Delivery(message, lane, entry.deliveries, entry, entry.starts)
            # A dead letter that had expired is not expired once more: whoever reads it there wants to see it.
            if message.expires is not None and message.expires < now and entry.dead is None:
                delivery.flags = Flag.EXPIRED
            held[entry] = delivery
            out.append(delivery)
            taken += 1
        self._held[level] += taken

    def finish(self, entry: Entry) -> None:
        """A held entry has had its outcome and leaves."""
        entry.state = GONE
        self._held[entry.level] -= 1
        self._unlist(entry)
        if self._single_active:
            self.offer()

    def give_back(self, entry: Entry) -> None:
        """A held entry returns to its place in the lane."""
        entry.state = WAITING
        self._held[entry.level] -= 1
        heapq.heappush(self._returned[entry.level], (entry.seq, entry))
        self.wake(entry.level)

    def again(self, entry: Entry, due: float | None, now: float) -> None:
        """A held entry starts its next attempt, from the back of the lane, when it is due."""
        self._held[entry.level] -= 1
        entry.deliveries = entry.starts = 0
        if due is not None and due > now:
            self._delay(entry, due)
        else:
            self._make_ready(entry, now)
        if self._single_active:
            self.offer()

    def remove(self, entry: Entry) -> bool:
        """Take out an entry; False if somebody holds it, then it stays."""
        if entry.state == WAITING:
            self._removed[entry.level] += 1
        elif entry.state == DELAYED:
            self._delayed[entry.level] -= 1
        else:
            return entry.state == GONE
        delayed, entry.state = entry.state == DELAYED, GONE
        if delayed:
            self._alarms.forget_one()
        elif self._removed[entry.level] > REBUILD_AT:
            self._rebuild(entry.level)
        self._unlist(entry)
        return True

    def _unlist(self, entry: Entry) -> None:
        """Nobody finds it by its id, or among the dead letters, any more."""
        if entry.dead is None:
            self._index.discard(entry)
        else:
            self.dead[entry.dead.source].pop(entry, None)

    def _rebuild(self, level: int) -> None:
        """Drop the removed entries of a lane once they are the greater part of it."""
        if self._removed[level] <= self.ready(level):
            return
        self._fresh[level] = deque(entry for entry in self._fresh[level] if entry.state == WAITING)
        self._returned[level] = [item for item in self._returned[level] if item[1].state == WAITING]
        heapq.heapify(self._returned[level])
        self._removed[level] = 0

    # Who is served

    def serves(self, consumer: Consumer) -> bool:
        """True when this consumer may receive now. A single active one keeps the queue until it leaves and what it
        held is settled, so that order survives the change."""
        if not self._single_active or self._active is consumer:
            return True
        if self._active not in self.consumers and not sum(self._held):
            self._active = next(iter(self.consumers), None)
        return self._active is consumer

    def join(self, consumer: Consumer) -> None:
        self.consumers[consumer] = None

    def leave(self, consumer: Consumer) -> None:
        self.consumers.pop(consumer, None)
        self.waiters.pop(consumer, None)
        if self._active is consumer and consumer not in self.consumers:
            self._active = None
        self.offer()

    def wake(self, level: int) -> None:
        """An entry has become ready: wake one consumer that waits for its lane and has not been woken yet.

        One wake per entry is enough: who is woken takes at least one, or passes the wake on (``offer``).
        """
        lane = self.lanes[level]
        for consumer in self.waiters:
            if self.serves(consumer) and consumer.wake_for(lane):
                return

    def offer(self, limit: Mapping[Lane, int] | None = None) -> None:
        """Wake somebody else for what is ready: in every lane, or in those of a limit that is no longer waited for."""
        if self.waiters:
            for lane in self.lanes:
                if (limit is None or limit.get(lane)) and self.ready(lane.level):
                    self.wake(lane.level)
