"""Taking deliveries in: as many as there is room for, each to where it belongs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

from brokerkit.clock import Clock
from brokerkit.delivery import Delivery, Flag
from brokerkit.handlers.handler import Handler, SourceHandlers
from brokerkit.lanes import LaneScheduler
from brokerkit.message import Message
from brokerkit.outcome import Reason
from brokerkit.store import Store
from brokerkit.transport import Subscription
from brokerkit.worker.commit import GroupCommit
from brokerkit.worker.decision import CANCELLED, RELEASED, Decision, expired, refused
from brokerkit.worker.finished import Key, describe, unstarted
from brokerkit.worker.quarantine import SUSPECT_DELIVERIES, Quarantine
from brokerkit.worker.recovery import Recovery
from brokerkit.worker.slots import Ready, Slots

_log = logging.getLogger("brokerkit.worker")

LONG_RUN = 1.0
"""Seconds; when the mean run is longer nothing is fetched ahead."""
AHEAD = 0.02
"""Seconds of work that are fetched ahead, so that a round trip to the broker never leaves the slots idle."""
NOTHING_TAKEN = 0.05
"""Seconds before a subscription that gave nothing is asked again."""
WAITED = 1.0
"""Seconds after which a message that waited may have been cancelled meanwhile; see ``Capabilities.cancel``."""
CANCEL_REMEMBERED = 60.0
"""Seconds for which a message that was asked to be cancelled does not start here: it may be on its way to this worker,
or about to be retried, which takes that long unless its policy says otherwise."""
MOST_REMEMBERED = 10_000
"""Such messages at most, the latest."""
MOST_AHEAD = 8
"""Most messages fetched ahead for each slot; the least is one."""


class Intake:
    """Receives, and starts what can start.

    Args:
        subscription: Where deliveries come from.
        scheduler: Chooses who is served next.
        slots: Where they run.
        commit: Where those go that are not run.
        handlers: By source key.
        clock: Supplies the time.
        store: The store of records, or None.
        worker: This worker's name.
        max_unsettled: Finished deliveries that may wait for their commit before intake stops.
        tombstones: A message that has waited is looked up before it starts: it may have been cancelled.
    """

    def __init__(
        self,
        subscription: Subscription,
        scheduler: LaneScheduler,
        slots: Slots,
        commit: GroupCommit,
        handlers: Mapping[str, SourceHandlers],
        clock: Clock,
        *,
        store: Store | None,
        worker: str,
        max_unsettled: int,
        tombstones: bool = False,
    ) -> None:
        self._subscription = subscription
        self._scheduler = scheduler
        self._slots = slots
        self._commit = commit
        self.quarantine = Quarantine(
            subscription, slots, clock, handlers=handlers, finish=commit.add, room_changed=self.room_changed
        )
        self.recovery = Recovery(store, clock, worker, finish=commit.add, again=self.recovered, announced=self.ready)
        self._handlers = handlers
        self._clock = clock
        self._max_unsettled = max_unsettled
        self._room_changed = asyncio.Event()
        self._copies: dict[Key, list[Delivery]] = {}
        self._reports_start = any(handler.record == "full" for source in handlers.values() for handler in source.all())
        self._tombstones = tombstones and store is not None
        self._cancelled: dict[tuple[str, int], float] = {}  # oldest first
        self._hears_since = float("inf")
        self._full = False
        self._allowed = 0
        self.stopped = False

    async def run(self) -> None:
        """Receive until stopped or cancelled."""
        while not self.stopped:
            room = self._room()
            limits, most = self._scheduler.limits(room, self._slots.free) if room > 0 else ({}, {})
            if not limits:
                self._full = True
                self._room_changed.clear()
                await self._room_changed.wait()
                continue
            deliveries = await self._subscription.receive(limits, most)
            self._scheduler.observe(limits, deliveries)
            self.admit(deliveries)
            if not deliveries:  # paused or closed by somebody else: it answers at once, and the loop must not spin
                await self._clock.sleep(NOTHING_TAKEN)

    async def relieve(self) -> None:
        """Hand back what was fetched ahead when no slot has become free for a while: other workers may have one."""
        while True:
            ended, waiting = self._slots.ended, self._scheduler.waiting
            await self._clock.sleep(LONG_RUN)
            if waiting and self._slots.ended == ended and not self._slots.free:
                self._slots.mean_run = max(self._slots.mean_run, 2 * LONG_RUN)  # fetch nothing ahead for now
                self._hand_back(self._scheduler.drain())

    def stop(self) -> None:
        """Take nothing more, and hand back what waits to start."""
        self.stopped = True
        self._room_changed.set()
        copies = [delivery for held in self._copies.values() for delivery in held]
        self._copies.clear()
        self._hand_back(self._scheduler.drain() + copies + self.quarantine.drain())

    def _room(self) -> int:
        """How many deliveries to ask for; nothing while the buffer is at least half full."""
        if self._commit.pending >= self._max_unsettled or self.quarantine.waiting >= self._max_unsettled:
            return 0
        ahead = self._allowed = self._ahead()
        waiting = self._scheduler.waiting + self.recovery.waiting
        if waiting * 2 > ahead:
            return 0
        return self._slots.free + ahead - waiting

    def _ahead(self) -> int:
        """How many to fetch ahead: what runs in ``AHEAD`` seconds, nothing while runs are long."""
        slots = self._slots
        if slots.mean_run > LONG_RUN:
            return 0
        factor = AHEAD / max(slots.mean_run, AHEAD / MOST_AHEAD)
        return int(slots.concurrency * max(1.0, factor))

    def room_changed(self) -> None:
        """Something ended or was settled: let intake look again if it waits for room."""
        if self._full and self._room() > 0:
            self._full = False
            self._room_changed.set()

    def admit(self, deliveries: list[Delivery]) -> None:
        """Send each delivery where it belongs."""
        plain = [delivery for delivery in deliveries if not self._set_aside(delivery)]
        self.ready(plain)

    def ready(self, deliveries: list[Delivery]) -> None:
        """Start deliveries, or let them wait for a slot."""
        if self.stopped:
            self._hand_back(deliveries)
            return
        if self._cancelled:
            deliveries = [delivery for delivery in deliveries if not self._end_cancelled(delivery)]
        self._scheduler.add(deliveries)
        # One slot may be enough, if its handlers never wait; if they do, it wakes the others.
        self._slots.wake(1)

    def hears_since(self, now: float) -> None:
        """From now on this worker is told of what is cancelled."""
        self._hears_since = now

    def cancel(self, message_id: str, run: int) -> None:
        """End a message that waits here for a slot, and let none that comes soon start."""
        self._remember((message_id, run), self._clock.monotonic())
        for delivery in self._scheduler.remove(message_id, run) + self.quarantine.remove(message_id, run):
            self._finish_unstarted(delivery, CANCELLED, self.handler_of(delivery))

    def _remember(self, key: tuple[str, int], now: float) -> None:
        cancelled = self._cancelled
        cancelled.pop(key, None)
        cancelled[key] = now + CANCEL_REMEMBERED
        while (oldest := next(iter(cancelled))) != key and (
            cancelled[oldest] <= now or len(cancelled) > MOST_REMEMBERED
        ):
            del cancelled[oldest]

    def _hand_back(self, deliveries: list[Delivery]) -> None:
        for delivery in deliveries:
            self._finish_unstarted(delivery, RELEASED, None)

    def _set_aside(self, delivery: Delivery) -> bool:
        """True for a delivery that does not simply start."""
        if delivery.deliveries > 1 or delivery.starts:  # before its flags: what expired meanwhile may have finished
            self._came_again(delivery)
            return True
        if delivery.flags:
            self._refuse_flagged(delivery)
            return True
        if self._tombstones and self._may_be_cancelled(delivery.message):
            self.recovery.take(delivery, self.handler_of(delivery))
            return True
        return self._announced(delivery)

    def _end_cancelled(self, delivery: Delivery) -> bool:
        """True for a message that was to be cancelled: it has ended now."""
        message = delivery.message
        if self._cancelled.get((message.id, message.run), 0.0) <= self._clock.monotonic():
            return False
        self._finish_unstarted(delivery, CANCELLED, self.handler_of(delivery))
        return True

    def _may_be_cancelled(self, message: Message) -> bool:
        """It has waited, or this worker did not hear yet what was cancelled when it was sent."""
        return message.due is not None or message.created < max(self._clock.now() - WAITED, self._hears_since)

    def _came_again(self, delivery: Delivery) -> None:
        key = (delivery.lane.source, delivery.message.id)
        if self._in_hand(key):
            if not self._adopted(delivery):
                self._copies.setdefault(key, []).append(delivery)
        else:
            self.recovery.take(delivery, self.handler_of(delivery))

    def _in_hand(self, key: Key) -> bool:
        """True while a message runs here, or has ended and its report is not stored."""
        return key in self._slots.running or key in self._commit.reporting

    def _announced(self, delivery: Delivery) -> bool:
        """True for a delivery whose start is written before it runs."""
        if self._reports_start and (handler := self.handler_of(delivery)) is not None and handler.record == "full":
            return self.recovery.announce(delivery)
        return False

    def recovered(self, deliveries: list[Delivery]) -> None:
        """Deliveries that came again and whose run is not known to be over."""
        plain: list[Delivery] = []
        for delivery in deliveries:
            if delivery.flags:
                self._refuse_flagged(delivery)
            elif self._cancelled and self._end_cancelled(delivery):
                continue
            elif delivery.deliveries >= SUSPECT_DELIVERIES or delivery.starts:
                self.quarantine.add(delivery)
            elif not self._announced(delivery):
                plain.append(delivery)
        self.ready(plain)
        self.room_changed()

    @property
    def waiting(self) -> int:
        """Messages that wait to start."""
        return self._scheduler.waiting

    def next_ready(self) -> Ready | None:
        """The next message to run, None when nothing waits. Called by the slots."""
        scheduler = self._scheduler
        while scheduler.waiting:
            delivery = scheduler.next(self._clock.now)
            handler = self._handlers[delivery.lane.source].find(delivery.message.name)
            if delivery.lost:
                self._commit.counts.lost += 1
            elif handler is None:
                self.refuse(delivery, Reason.UNKNOWN_TASK, _unknown(delivery.message, self._handlers))
            elif self._in_hand(key := (delivery.lane.source, delivery.message.id)):
                self._copies.setdefault(key, []).append(delivery)
            else:
                return delivery, handler
        self.room_changed()  # what was dropped here has made room
        return None

    def ended(self) -> None:
        """A message has ended."""
        if self._copies:
            self._release_copies()
        if self._full and self._scheduler.waiting * 2 <= self._allowed:
            self.room_changed()

    def settled(self) -> None:
        """Some messages have been settled."""
        if self._copies:
            self._release_copies()
        self.room_changed()

    def _release_copies(self) -> None:
        """Copies of messages that are no longer in hand go on: by now the store knows what became of those."""
        for key in [key for key in self._copies if not self._in_hand(key)]:
            for delivery in self._copies.pop(key):
                self.recovery.take(delivery, self.handler_of(delivery))

    def handler_of(self, delivery: Delivery) -> Handler | None:
        """Who takes it."""
        return self._handlers[delivery.lane.source].find(delivery.message.name)

    def _adopted(self, delivery: Delivery) -> bool:
        """A message this worker still executes, delivered again: the new delivery replaces the lost one."""
        execution = self._slots.running.get((delivery.lane.source, delivery.message.id))
        if execution is None or not execution.delivery.lost or not _same_attempt(delivery, execution.delivery):
            return False
        execution.delivery = delivery
        execution.context.adopt(delivery)
        _log.info("%s was delivered again while it runs here; it goes on", describe(delivery.message))
        return True

    def _refuse_flagged(self, delivery: Delivery) -> None:
        if Flag.UNDECODABLE in delivery.flags:
            self.refuse(delivery, Reason.DECODE_ERROR, "not a message that brokerkit or its codecs can read")
        else:
            self._finish_unstarted(delivery, expired(), self.handler_of(delivery))

    def refuse(self, delivery: Delivery, reason: Reason, text: str) -> None:
        """Dead-letter a message that is not run."""
        self._finish_unstarted(delivery, refused(reason, text), self.handler_of(delivery))

    def _finish_unstarted(self, delivery: Delivery, decision: Decision, handler: Handler | None) -> None:
        self._commit.add(unstarted(delivery, decision, handler, self._clock.now()))


def _same_attempt(one: Delivery, other: Delivery) -> bool:
    a, b = one.message, other.message
    return (a.run, a.attempt, a.postponed) == (b.run, b.attempt, b.postponed)


def _unknown(message: Message, handlers: Mapping[str, SourceHandlers]) -> str:
    known = sorted({name for source in handlers.values() for name in source.names()})
    shown = ", ".join(known[:10]) + (" ..." if len(known) > 10 else "")
    return f"no task or subscriber here takes {message.name[:200]!r}; this worker knows: {shown or 'no tasks'}"
