"""One log: what it retains, and the backlogs of its groups."""

from __future__ import annotations

from collections import deque

from brokerkit.message import Message
from brokerkit.transports.memory.alarms import Alarms
from brokerkit.transports.memory.compile import GroupPlan, LogPlan
from brokerkit.transports.memory.entry import DELAYED, GONE, WAITING, Entry, Index
from brokerkit.transports.memory.queues import MemoryQueue


class LogItem:
    """One retained message and its copies in the groups' backlogs."""

    __slots__ = ("at", "entries", "message")

    def __init__(self, message: Message, at: float, entries: list[Entry]) -> None:
        self.message = message
        self.at = at
        self.entries = entries

    @property
    def read(self) -> bool:
        """True when every copy has been settled."""
        return all(entry.state == GONE for entry in self.entries)

    def unread(self) -> list[Entry]:
        """The copies that no member of their group has received. A retry (another message object) was."""
        return [
            entry
            for entry in self.entries
            if entry.state == WAITING and not entry.deliveries and entry.message is self.message
        ]


class MemoryLog:
    """State of one log. What it retains is needed only for history or to enforce limits.

    Args:
        plan: What it is.
        index: Where delayed messages can be found by id.
        alarms: For delays and retention.
    """

    def __init__(self, plan: LogPlan, index: Index, alarms: Alarms) -> None:
        self.plan = plan
        self.bounded = plan.hold_for_groups
        self.groups: dict[str, MemoryQueue] = {}
        self._index, self._alarms = index, alarms
        self._items: deque[LogItem] = deque()
        self._bytes = 0
        self._alarm_set = False

    def admit(self, message: Message, now: float) -> None:
        """Take a new message; a delayed one enters the log when it is due."""
        if message.due is not None and message.due > now:
            entry = Entry(message, self.plan.name, 0, DELAYED)
            self._index.add(entry)
            self._alarms.set(message.due, self._came_due, entry)
        else:
            self._append(message, now)

    def remove(self, entry: Entry) -> bool:
        """Take out a delayed message."""
        if entry.state == DELAYED:
            self._forget(entry)
            self._alarms.forget_one()
        return True

    def add_group(self, plan: GroupPlan, backlog: MemoryQueue, now: float) -> None:
        self.groups[plan.backlog.name] = backlog
        if plan.since is not None and self.plan.history:
            self.replay(backlog, plan.since, now)

    def reshape(self, plan: LogPlan, now: float) -> None:
        """Become what another plan says."""
        self.plan = plan
        self.bounded = plan.hold_for_groups
        self.trim(now)
        self._watch_age(now)

    def clear(self) -> None:
        """Forget everything."""
        self._items.clear()
        self._bytes = 0

    @property
    def size(self) -> int:
        """How many messages it retains."""
        return len(self._items)

    def replay(self, backlog: MemoryQueue, since: float, now: float) -> int:
        """Put retained messages into a backlog; returns how many."""
        items = [item for item in self._items if item.at >= since]
        for item in items:
            item.entries.append(backlog.admit(item.message, now))
        return len(items)

    def has_room(self, now: float, wanted: int = 1) -> bool:
        """True when so many more fit; only what is held for groups can be in the way."""
        if not self.plan.hold_for_groups:
            return True
        self.trim(now, room=wanted)
        return not self._items or not self._over_size(wanted)

    def trim(self, now: float, *, room: int = 0) -> None:
        """Let go of what was read and is not kept as history, then of what is over the limits."""
        items = self._items
        while items and not self.plan.history and items[0].read:
            self._drop_oldest()
        while items and self._over(items[0], now, room):
            unread = items[0].unread()
            if unread and self.plan.hold_for_groups:
                break
            for entry in unread:
                backlog = self.groups[entry.queue]
                backlog.lost += backlog.remove(entry)
            self._drop_oldest()

    def _append(self, message: Message, now: float) -> None:
        entries = [backlog.admit(message, now) for backlog in self.groups.values()]
        if self.plan.history or self.plan.limited:
            self._items.append(LogItem(message, now, entries))
            self._bytes += len(message.body)
            self.trim(now)
            self._watch_age(now)

    def _came_due(self, entry: Entry | None, now: float) -> None:
        if entry is not None and entry.state == DELAYED:
            self._forget(entry)
            self._append(entry.message, now)

    def _forget(self, entry: Entry) -> None:
        entry.state = GONE
        self._index.discard(entry)

    def _over(self, oldest: LogItem, now: float, room: int) -> bool:
        aged = self.plan.retention is not None and now - oldest.at > self.plan.retention
        return aged or self._over_size(room)

    def _over_size(self, room: int) -> bool:
        plan = self.plan
        return (plan.max_length is not None and len(self._items) > plan.max_length - room) or (
            plan.max_bytes is not None and self._bytes > plan.max_bytes - room
        )

    def _drop_oldest(self) -> None:
        self._bytes -= len(self._items.popleft().message.body)

    def _watch_age(self, now: float) -> None:
        """One alarm at a time, for the oldest entry; one that is held for a group is looked at again later."""
        if self.plan.retention is not None and self._items and not self._alarm_set:
            self._alarm_set = True
            # A little later than the limit itself, at which an entry is not over it yet.
            ends = self._items[0].at + self.plan.retention + 1e-3
            self._alarms.set(ends if ends > now else now + self.plan.retention, self._aged)

    def _aged(self, _entry: Entry | None, now: float) -> None:
        self._alarm_set = False
        self.trim(now)
        self._watch_age(now)
