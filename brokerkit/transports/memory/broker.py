"""The memory broker: what a server would hold, shared by the transports of one event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from itertools import count

from brokerkit.abilities import NOTHING_REMOVED, Presence, Removed, Signal
from brokerkit.clock import Clock, SystemClock
from brokerkit.errors import TopologyConflict, TopologyError
from brokerkit.ids import new_id
from brokerkit.message import Message, Outgoing
from brokerkit.outcome import Redeliver
from brokerkit.records import cancelled
from brokerkit.store import Put, Retention
from brokerkit.stores.memory import MemoryStore
from brokerkit.topology import Topology, to_store, union
from brokerkit.topology.suggestion import unknown_source
from brokerkit.transport import INBOX_PREFIX, Published, QueueStats
from brokerkit.transports.memory.alarms import Alarms
from brokerkit.transports.memory.compile import Plan, QueuePlan, compile_topology
from brokerkit.transports.memory.entry import HELD, Entry, Index
from brokerkit.transports.memory.logs import MemoryLog
from brokerkit.transports.memory.mailbox import Mailbox
from brokerkit.transports.memory.queues import MemoryQueue

Target = MemoryQueue | MemoryLog

FIXED = ("lanes", "max_length", "message_ttl", "single_active")
"""What a queue is built with; the rest of its plan may follow a new topology."""


class MemoryBroker:
    """Queues, logs, dead letters, records, inboxes, signals and heartbeats in this process's memory.

    Every change is made between two awaits, hence in one step. One instance belongs to one event loop.

    Args:
        clock: Where the time comes from. Default the machine's.
        retention: How long records are kept. Default ``Retention()``.
    """

    def __init__(self, clock: Clock | None = None, retention: Retention | None = None) -> None:
        self.clock = clock or SystemClock()
        self.store = MemoryStore(self.clock, retention)
        self.queues: dict[str, MemoryQueue] = {}
        self.logs: dict[str, MemoryLog] = {}
        self.listeners: dict[Mailbox[Signal], None] = {}
        self._inboxes: dict[str, Mailbox[Message]] = {}
        self._presences: dict[str, tuple[Presence, float]] = {}
        self._fragments: dict[str, Topology] = {}
        self.changing = asyncio.Lock()
        self._plan = compile_topology(Topology("empty"))
        self._targets: dict[str, Target] = {}
        self._direct: dict[str, tuple[MemoryQueue]] = {}
        self._index = Index()
        self._alarms = Alarms(self.clock)
        self._next_seq = count().__next__

    def wind(self) -> None:
        """Set the timer on the running event loop: the one it was set on may have ended."""
        self._alarms.arm()

    # Topology

    def apply(self, topology: Topology) -> None:
        """Unite it with what the apps have declared, and create what is missing."""
        topology = to_store(topology, self._fragments.values())
        others = [fragment for name, fragment in self._fragments.items() if name != topology.name]
        mine = self._fragments.get(topology.name, Topology(topology.name))
        fragment = union([mine, topology], topology.name)
        plan = compile_topology(union([*others, fragment]))
        for queue in plan.queues:
            self._refuse_change(queue)
        if fragment != Topology(topology.name):
            self._fragments[topology.name] = fragment
        self._build(plan)

    @property
    def fragments(self) -> dict[str, Topology]:
        """What each app has declared."""
        return dict(self._fragments)

    def replace(self, fragments: Mapping[str, Topology], gone: Iterable[str]) -> None:
        """Keep other fragments.

        Args:
            fragments: Those of all apps from now on.
            gone: Queues, groups and logs that end with all that they hold.
        """
        for name in gone:
            self._end(name)
        plan = compile_topology(union(fragments.values()))
        self._fragments = dict(fragments)
        for queue in (*plan.queues, *(group.backlog for group in plan.groups)):
            if queue.name in self.queues:
                self.queues[queue.name].reshape(queue, self.clock.now())
        for log in plan.logs:
            if log.name in self.logs:
                self.logs[log.name].reshape(log, self.clock.now())
        self._build(plan)

    def _end(self, name: str) -> None:
        self._targets.pop(name, None)
        self._direct.pop(name, None)
        log = self.logs.pop(name, None)
        if log is not None:
            log.clear()
        queue = self.queues.pop(name, None)
        if queue is not None:
            queue.clear()
            for each in self.logs.values():
                each.groups.pop(name, None)

    def declared(self) -> Topology:
        """The union of all apps' fragments."""
        return union(self._fragments.values())

    def _build(self, plan: Plan) -> None:
        self._plan = plan
        for queue in plan.queues:
            self._targets[queue.name] = self._queue(queue)
            self._direct[queue.name] = (self.queues[queue.name],)
        for log in plan.logs:
            if log.name not in self.logs:
                self._targets[log.name] = self.logs[log.name] = MemoryLog(log, self._index, self._alarms)
        for group in plan.groups:
            if group.backlog.name not in self.queues:
                self.logs[group.log].add_group(group, self._queue(group.backlog), self.clock.now())

    def _refuse_change(self, plan: QueuePlan) -> None:
        """What ``union`` cannot see: a dead-letter queue that was implied so far, declared with other attributes."""
        known = self.queues.get(plan.name)
        if known is None:
            return
        for attribute in FIXED:
            wanted, found = getattr(plan, attribute), getattr(known.plan, attribute)
            if wanted != found:
                raise TopologyConflict(f"queue {plan.name}", attribute, wanted, found)

    def _queue(self, plan: QueuePlan) -> MemoryQueue:
        """The queue of that name, created if it is missing; its plan may have gained a dead-letter queue's traits."""
        queue = self.queues.get(plan.name)
        if queue is None:
            queue = self.queues[plan.name] = MemoryQueue(plan, self._index, self._alarms, self._next_seq)
        queue.plan = plan
        return queue

    def queue(self, name: str) -> MemoryQueue:
        """The queue or group's backlog of that name.

        Raises:
            TopologyError: There is none.
        """
        queue = self.queues.get(name)
        if queue is None:
            raise unknown_source(name, self.queues)
        return queue

    def stats(self, name: str) -> QueueStats:
        queue = self.queue(name)
        lanes = queue.stats()
        dead = self.queues[queue.plan.dead_letter].count_dead(name) if queue.plan.dead_letter else 0
        return QueueStats(
            name,
            sum(lane.ready or 0 for lane in lanes),
            sum(lane.in_flight or 0 for lane in lanes),
            sum(lane.delayed or 0 for lane in lanes),
            dead,
            len(queue.consumers),
            lanes,
            queue.lost if name in self._group_keys else None,
        )

    @property
    def _group_keys(self) -> set[str]:
        return {group.backlog.name for group in self._plan.groups}

    # Publishing

    def publish(self, outgoing: Outgoing, now: float) -> Published:
        """Put one message into every target, or nowhere."""
        targets = self.route(outgoing)
        if not targets:
            return self._reply(outgoing)
        for target in targets:
            if target.bounded and not target.has_room(now):
                return Published.FULL
        # A record that knows better stays; only one that cannot be stored keeps its message out.
        if outgoing.record is not None and self.store.write(outgoing.record, now) is Put.TOO_LARGE:
            return Published.REFUSED
        for target in targets:
            target.admit(outgoing.message, now)
        return Published.CONFIRMED

    def due(self, entry: Entry, again: Redeliver, now: float) -> float | None:
        """When an entry that is to run again may be delivered; None for at once."""
        return now + again.after if again.after > 0 else None

    def route(self, outgoing: Outgoing) -> Sequence[Target]:
        """The queues and logs it goes to; none when the exchange is unknown, as for a publish to nowhere."""
        if outgoing.exchange == "":
            return self._direct.get(outgoing.routing_key, ())
        try:
            names = self._plan.router.route(outgoing.exchange, outgoing.routing_key, outgoing.message.headers)
        except TopologyError:
            return ()
        return [self._targets[name] for name in names]

    def _reply(self, outgoing: Outgoing) -> Published:
        """What no queue takes may be a reply to an inbox that is still there."""
        if not self.has_inbox(outgoing):
            return Published.UNROUTABLE
        self._inboxes[outgoing.routing_key].put(outgoing.message)
        return Published.CONFIRMED

    def cancel(self, message_id: str, after_run: int) -> Removed:
        """Take the message out of every queue it waits in; not if a copy is in somebody's hands already."""
        entries = self._index.find(message_id)
        newest = max((entry.message for entry in entries), key=lambda message: message.run, default=None)
        if newest is None or newest.run <= after_run:
            return NOTHING_REMOVED
        if any(entry.state == HELD for entry in entries):
            return Removed(newest, held=True)
        for entry in entries:
            place = self.queues.get(entry.queue) or self.logs[entry.queue]
            place.remove(entry)
        self._report_cancelled(newest, self.clock.now())
        return Removed(newest)

    def _report_cancelled(self, message: Message, now: float) -> None:
        stored = self.store.read(message.id, now)
        report = cancelled(stored, message.run, now) if stored is not None else None
        if report is not None:
            self.store.write(report, now)

    # Inboxes and heartbeats

    def has_inbox(self, outgoing: Outgoing) -> bool:
        return outgoing.exchange == "" and outgoing.routing_key in self._inboxes

    def open_inbox(self) -> Mailbox[Message]:
        inbox: Mailbox[Message] = Mailbox(INBOX_PREFIX + new_id(self.clock.now()))
        self._inboxes[inbox.address] = inbox
        return inbox

    def close_inbox(self, inbox: Mailbox[Message]) -> None:
        self._inboxes.pop(inbox.address, None)
        inbox.close()

    def announce(self, presence: Presence, ttl: float) -> None:
        self._presences.pop(presence.worker, None)
        if ttl > 0:
            self._presences[presence.worker] = (presence, self.clock.now() + ttl)

    def present(self) -> list[Presence]:
        now = self.clock.now()
        self._presences = {name: kept for name, kept in self._presences.items() if kept[1] > now}
        return [presence for presence, _ in self._presences.values()]

    def signal(self, signal: Signal) -> None:
        for listener in self.listeners:
            listener.put(signal)
