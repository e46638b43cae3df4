"""Memory brokers for the tests of programs: they remember what was sent, and may do without delays."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import msgspec

from brokerkit.clock import Clock
from brokerkit.delivery import Source
from brokerkit.message import Outgoing
from brokerkit.outcome import Redeliver
from brokerkit.records import ErrorInfo, TaskStatus
from brokerkit.replies import Reply, pack
from brokerkit.testing.skipping import SkippingClock
from brokerkit.transport import Published
from brokerkit.transports.memory import MemoryBroker, MemoryTransport
from brokerkit.transports.memory.entry import DELAYED, HELD, Entry, Index
from brokerkit.transports.memory.subscription import MemorySubscription

MOST_POSTPONED = 1_000
"""Times that a message may say "not now" inside one ``send``."""
A_MOMENT = 0.001
"""Real seconds without a change after which nothing is expected to happen by itself."""


class WatchedIndex(Index):
    """Tells when a copy of a message has left its queue for good."""

    def __init__(self, left: Callable[[], None]) -> None:
        super().__init__()
        self._left = left

    def discard(self, entry: Entry) -> None:
        super().discard(entry)
        self._left()

    def entries(self) -> list[Entry]:
        """Everything that is somewhere; dead letters apart."""
        return [entry for message_id in self.first for entry in self.find(message_id)]


class RecordingBroker(MemoryBroker):
    """Remembers what it has accepted.

    Attributes:
        sent: What was sent and published, in order; replies apart.
    """

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.sent: list[Outgoing] = []
        self._index: WatchedIndex = WatchedIndex(self.changed)

    def publish(self, outgoing: Outgoing, now: float) -> Published:
        answer = super().publish(self.accepted(outgoing), now)
        if answer is Published.CONFIRMED and not self.has_inbox(outgoing):
            self.sent.append(outgoing)
            self.noticed(outgoing)
        return answer

    def accepted(self, outgoing: Outgoing) -> Outgoing:
        """What is taken for it."""
        return outgoing

    def noticed(self, outgoing: Outgoing) -> None:
        """It has been taken."""
        self.changed()

    def changed(self) -> None:
        """Something has come or gone."""

    def served(self, entry: Entry) -> bool:
        """True when somebody consumes its queue."""
        return entry.queue in self.queues and bool(self.queues[entry.queue].consumers)


class SkippingBroker(RecordingBroker):
    """Has its clock jump to what is due next, whenever nothing else can happen."""

    def __init__(self, clock: SkippingClock) -> None:
        super().__init__(clock)
        self._skipping = clock
        self._timer: asyncio.TimerHandle | None = None

    def due(self, entry: Entry, again: Redeliver, now: float) -> float | None:
        self.changed()
        return super().due(entry, again, now)

    def changed(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(A_MOMENT, self._look)

    def _look(self) -> None:
        self._timer = None
        delayed = []
        for entry in self._index.entries():
            if entry.state == DELAYED and entry.message.due is not None:
                delayed.append(entry.message.due)
            elif entry.state == HELD or self.served(entry):
                return
        if delayed:
            self._skipping.skipped += max(0.0, min(delayed) - self._skipping.now())
            self.wind()
            self.changed()


class Family:
    """What was sent together, and the follow-ups of it.

    Args:
        roots: The ids of what was sent.
    """

    __slots__ = ("members", "roots")

    def __init__(self, roots: set[str]) -> None:
        self.roots = roots
        self.members: list[str] = []


class ImmediateBroker(RecordingBroker):
    """Has no delays, and tells when all that was set in motion has come to rest."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self._families: dict[Family, None] = {}
        self._waiting: list[asyncio.Future[None]] = []
        self._endless: set[str] = set()

    def accepted(self, outgoing: Outgoing) -> Outgoing:
        if outgoing.message.due is None:
            return outgoing
        return msgspec.structs.replace(outgoing, message=msgspec.structs.replace(outgoing.message, due=None))

    def due(self, entry: Entry, again: Redeliver, now: float) -> float | None:
        if again.postponed <= MOST_POSTPONED:
            return None
        self._endless.add(entry.message.id)
        self.changed()
        return super().due(entry, again, now)

    def noticed(self, outgoing: Outgoing) -> None:
        message = outgoing.message
        for family in self._families:
            if (message.root or message.id) in family.roots:
                family.members.append(message.id)
        self.changed()

    def changed(self) -> None:
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)

    @asynccontextmanager
    async def at_rest(self, messages: Sequence[Outgoing]) -> AsyncIterator[None]:
        """Leave the context when what is published in it, and all that it leads to, has ended.

        Raises:
            RuntimeError: It does not end.
        """
        family = Family({outgoing.message.id for outgoing in messages if outgoing.message.parent is None})
        self._families[family] = None
        try:
            yield
            while family.members:
                if any(self.served(entry) for entry in self._live(family.members[-1])):
                    await self._change()
                else:
                    family.members.pop()
        finally:
            del self._families[family]

    def _live(self, message_id: str) -> list[Entry]:
        entries = self._index.find(message_id)
        if entries and message_id in self._endless:
            name = entries[0].message.name
            raise RuntimeError(f'{name} has said "not now" {MOST_POSTPONED} times: what it waits for does not happen')
        return entries

    async def _change(self) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        await future


class ImmediateTransport(MemoryTransport):
    """Returns from a publish when all that it has set in motion has ended; a worker's follow-ups apart."""

    def __init__(self, broker: ImmediateBroker) -> None:
        super().__init__(broker)
        self._at_rest = broker.at_rest

    async def publish(self, messages: Sequence[Outgoing], *, deadline: float) -> Sequence[Published]:
        async with self._at_rest(messages):
            return await super().publish(messages, deadline=deadline)


class DummyBroker(RecordingBroker):
    """Answers at once, to whoever waits for a result, that there will be none."""

    def noticed(self, outgoing: Outgoing) -> None:
        message = outgoing.message
        if message.reply_to is not None:
            error = ErrorInfo("NothingRuns", "dummy(app) runs nothing, so there is no result; immediate(app) does")
            reply = Reply(message.id, message.run, TaskStatus.FAILURE, None, message.content_type, error, 0)
            now = self.clock.now()
            MemoryBroker.publish(self, pack(message.reply_to, [reply], f"{message.id}-reply", now), now)


class DummyTransport(MemoryTransport):
    """Delivers nothing."""

    @asynccontextmanager
    async def consume(self, sources: Sequence[Source]) -> AsyncIterator[MemorySubscription]:
        async with super().consume(()) as subscription:
            yield subscription
