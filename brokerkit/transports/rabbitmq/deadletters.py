"""Looking into dead-letter queues: their entries are taken, held, and handed back at the end.

Until then nobody else sees them, and nothing is taken twice. The broker hands them back by itself if the connection
breaks or the process dies.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import msgspec

from brokerkit.abilities import DeadEntry, DeadMessage, Redriven, foreign
from brokerkit.message import rerun
from brokerkit.outcome import Reason
from brokerkit.topology.queue import dead_letter_name
from brokerkit.transport import Published
from brokerkit.transports.rabbitmq import envelope
from brokerkit.transports.rabbitmq.plan import SourcePlan
from brokerkit.transports.rabbitmq.taking import Hand, Taken

if TYPE_CHECKING:
    from brokerkit.transports.rabbitmq.broker import RabbitmqBroker

MOST_HELD = 100_000
"""Entries that are held in one look; what lies behind them is seen when they have gone."""
AT_ONCE = 100
"""Entries that are published in one go."""
_PUBLISH_WITHIN = 10.0
_TIMEOUT_SHARE = 0.5
"""Of the time after which the broker takes back what is held: then a look ends, and gives it back itself."""

_REASONS = {
    "rejected": Reason.FAILED,
    "delivery_limit": Reason.CRASH_LOOP,
    "expired": Reason.EXPIRED,
    "maxlen": Reason.FAILED,
}
"""Reasons of the broker's own: https://www.rabbitmq.com/docs/dlx#effects"""


class _Lane(NamedTuple):
    """A lane of the dead-letter queue.

    Args:
        name: Its queue's name.
        left: How many of it are to be looked at yet.
    """

    name: str
    left: int


class RabbitmqDeadLetters:
    """A look into the dead letters of one source.

    Args:
        broker: The connections.
        source: Whose dead letters.
        ids: Only those of these messages; None for all.
    """

    def __init__(self, broker: RabbitmqBroker, source: SourcePlan, ids: Collection[str] | None) -> None:
        self._broker, self._source = broker, source
        self._ids = frozenset(ids) if ids is not None else None
        self._hand = Hand(broker)
        self._lanes: list[_Lane] | None = None
        self._entered = broker.clock.monotonic()
        self.complete = True

    async def __aenter__(self) -> Self:
        await self._hand.open()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._hand.close()

    async def next(self, most: int) -> list[DeadEntry]:
        lanes = self._lanes = await self._begin() if self._lanes is None else self._lanes
        while lanes and self.complete:
            room = MOST_HELD - self._hand.held
            if room <= 0 or self._held_for_long():
                self.complete = False
                break
            name, left = lanes[-1]
            taken = await self._hand.take(name, min(most, left, room))
            lanes[-1] = _Lane(name, left - len(taken))
            if not taken or left == len(taken):
                lanes.pop()
            if found := [entry for entry in map(self._entry, taken) if entry is not None]:
                return found
        return []

    async def _begin(self) -> list[_Lane]:
        """The lanes of the dead-letter queue, the first of them last, with what is there: what is sent back and fails
        again is behind it, and would never end."""
        if self._source.dead_letter is None:
            return []
        queues = await self._broker.queues(self._source.dead_letter)
        # Asked before anything is held: a question about a missing queue costs its channel.
        there = [queue for queue in queues if await self._broker.exists("queue", queue)]
        return [_Lane(queue, await self._hand.count(queue)) for queue in reversed(there)]

    def _held_for_long(self) -> bool:
        timeout = self._broker.server.options.consumer_timeout
        return 0 < _TIMEOUT_SHARE * timeout < self._broker.clock.monotonic() - self._entered

    def _entry(self, taken: Taken) -> DeadEntry | None:
        """What is taken as an entry of the source; None for what is none."""
        name = _name_of(taken.body)
        letter = envelope.decode(taken.header, taken.body, "", taken.routing_key, fresh=lambda: name)
        if not letter.message.id:
            letter.message = msgspec.structs.replace(letter.message, id=name)
        return DeadEntry(shown(letter, self._source.key), taken.tag) if self._is_ours(letter) else None

    def _is_ours(self, letter: envelope.Envelope) -> bool:
        if self._ids is not None and letter.message.id not in self._ids:
            return False
        if letter.source:
            return letter.source == self._source.key
        origin = next(iter(letter.deaths()), None)
        # A dead-letter queue of its own has no other owner, whatever queue somebody else has pointed at it.
        own = self._source.dead_letter == dead_letter_name(self._source.key, True)
        return own or origin is None or origin.get("queue") in self._source.lanes

    async def redrive(self, entries: Sequence[DeadEntry]) -> list[Redriven]:
        answers: list[Redriven] = []
        for start in range(0, len(entries), AT_ONCE):
            answers += await self._send_back(entries[start : start + AT_ONCE])
            if Redriven.REFUSED in answers:
                answers += [Redriven.REFUSED] * (len(entries) - len(answers))
                break
        return answers

    async def _send_back(self, entries: Sequence[DeadEntry]) -> list[Redriven]:
        """Publish, and acknowledge what is confirmed: in between they are there twice, never not at all."""
        now = self._broker.clock.now()
        items = [
            self._broker.addressing.to_lane(self._source, rerun(entry.dead.message, now), now) for entry in entries
        ]
        answers = await self._broker.publisher.publish(items, deadline=_PUBLISH_WITHIN)
        confirmed = [answer is Published.CONFIRMED for answer in answers]
        self._hand.acknowledge([entry.token for entry, done in zip(entries, confirmed, strict=True) if done])
        return [Redriven.DONE if done else Redriven.REFUSED for done in confirmed]

    async def purge(self, tokens: Sequence[Any]) -> int:
        self._hand.acknowledge(tokens)
        return len(tokens)


def _name_of(body: bytes) -> str:
    """An id for what has none: the same in every look."""
    return f"foreign-{blake2b(body, digest_size=8).hexdigest()}"


def shown(letter: envelope.Envelope, source: str) -> DeadMessage:
    """A dead letter as callers see it."""
    if letter.reason:
        return _told(letter, source, Reason.named(letter.reason), letter.error, letter.died)
    death = next(iter(letter.deaths()), None)
    if death is None:
        return foreign(letter.message, letter.source or source, letter.died or letter.entered or letter.message.created)
    why, when = str(death.get("reason")), death.get("time")
    error = f"{why}: RabbitMQ dead-lettered it from {death.get('queue')}"
    died = letter.died or (float(when) if isinstance(when, (int, float)) else letter.entered)
    return _told(letter, source, _REASONS.get(why, Reason.FAILED), letter.error or error, died)


def _told(letter: envelope.Envelope, source: str, reason: Reason, error: str, died: float) -> DeadMessage:
    return DeadMessage(
        message=letter.message,
        source=letter.source or source,
        reason=reason,
        error=error,
        deliveries=letter.died_after or letter.carried + 1,
        died=died,
    )
