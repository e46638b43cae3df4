"""Carrying out outcomes: what moves a message is published with confirmation first, then acknowledged."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from brokerkit.delivery import Delivery
from brokerkit.errors import ConfigurationError, TopologyConflict, TransportError
from brokerkit.message import Scalar
from brokerkit.outcome import Ack, DeadLetter, Outcome, Redeliver, Release
from brokerkit.transport import Published, Settled, StartMark
from brokerkit.transports.rabbitmq.arriving import Token
from brokerkit.transports.rabbitmq.lane import LaneConsumer
from brokerkit.transports.rabbitmq.publishing import Prepared

if TYPE_CHECKING:
    from brokerkit.transports.rabbitmq.broker import RabbitmqBroker

_log = logging.getLogger("brokerkit.rabbitmq")

PUBLISH_WITHIN = 10.0
"""Seconds that the broker gets to confirm a retry, a dead letter or a start mark."""
_LONGEST_ERROR = 8192
"""Characters of an error's text in a dead letter's header: a header has to fit into one frame."""


class _Move(NamedTuple):
    """A message to be published, and the delivery to be acknowledged after.

    Args:
        place: Of the outcome in the call.
        delivery: What is acknowledged when it is confirmed.
        item: What to publish.
    """

    place: int
    delivery: Delivery
    item: Prepared


class Settling:
    """Settles deliveries of any lane."""

    def __init__(self, broker: RabbitmqBroker) -> None:
        self._broker = broker

    async def settle(self, outcomes: Sequence[tuple[Delivery, Outcome]]) -> list[Settled]:
        """As ``Subscription.settle``."""
        answers = [Settled.LOST] * len(outcomes)
        work = _Sorted()
        for index, (delivery, outcome) in enumerate(outcomes):
            if delivery.token.lane.let_go(delivery):
                work.add(index, delivery, outcome)
        _answer(answers, work.acks, LaneConsumer.ack)
        _answer(answers, work.releases, LaneConsumer.requeue)
        if work.moving:
            await self._move(work.moving, answers)
        return answers

    async def _move(self, moving: Sequence[tuple[int, Delivery, Outcome]], answers: list[Settled]) -> None:
        open_ones = {index: delivery for index, delivery, _ in moving}
        try:
            moves = await self._moves(moving, answers, open_ones)
            published = await self._publish([move.item for move in moves])
            confirmed = [move for move, answer in zip(moves, published, strict=True) if answer is Published.CONFIRMED]
            _answer(answers, [_Entry(move.place, move.delivery.token) for move in confirmed], LaneConsumer.ack)
            for move in confirmed:
                del open_ones[move.place]
        finally:
            for index, delivery in open_ones.items():
                if delivery.token.lane.hold(delivery):
                    answers[index] = Settled.FAILED

    async def _moves(
        self,
        moving: Sequence[tuple[int, Delivery, Outcome]],
        answers: list[Settled],
        open_ones: dict[int, Delivery],
    ) -> list[_Move]:
        """What to publish; what the broker itself must dead-letter is done here."""
        moves: list[_Move] = []
        for index, delivery, outcome in moving:
            if isinstance(outcome, DeadLetter) and self._broker_must_bury(delivery):
                _answer(answers, [_Entry(index, delivery.token)], LaneConsumer.reject)
                del open_ones[index]
                continue
            try:
                item = await self._prepared(delivery, outcome)
            except (TransportError, ConfigurationError, TopologyConflict) as error:
                _log.warning("message %s stays in %s for now: %s", delivery.message.id, delivery.lane.source, error)
                continue
            if item is not None:
                moves.append(_Move(index, delivery, item))
        return moves

    async def _publish(self, items: Sequence[Prepared]) -> Sequence[Published]:
        if not items:
            return []
        try:
            return await self._broker.publisher.publish(items, deadline=PUBLISH_WITHIN)
        except TransportError as error:
            _log.warning("%d messages could not be moved: %s", len(items), error)
            return [Published.UNKNOWN] * len(items)

    def _broker_must_bury(self, delivery: Delivery) -> bool:
        """Nothing can be published now, but the broker itself moves what is rejected."""
        return self._broker.publisher.blocked and delivery.token.lane.source.rejects_survive

    async def _prepared(self, delivery: Delivery, outcome: Outcome) -> Prepared | None:
        """What to publish; None when there is nowhere to publish it to."""
        match outcome:
            case Redeliver():
                return await self._retry(delivery, outcome)
            case DeadLetter():
                return await self._dead_letter(delivery, outcome)
        return self._copy(delivery, starts=delivery.starts - 1, moved=False)

    async def _retry(self, delivery: Delivery, outcome: Redeliver) -> Prepared:
        lane: LaneConsumer = delivery.token.lane
        message = msgspec.structs.replace(delivery.message, attempt=outcome.attempt, postponed=outcome.postponed)
        now = self._broker.clock.now()
        if outcome.after <= 0:
            return self._broker.addressing.to_lane(lane.source, message, now, level=lane.lane.level)
        return await self._broker.addressing.to_lane_later(
            lane.source, message, now, outcome.after, level=lane.lane.level
        )

    async def _dead_letter(self, delivery: Delivery, outcome: DeadLetter) -> Prepared | None:
        name = delivery.token.lane.source.dead_letter
        if name is None:
            return None
        now = self._broker.clock.now()
        return await self._broker.addressing.to_grave(
            name,
            delivery.message,
            {
                "bk-reason": outcome.reason.value,
                "bk-error": outcome.error[:_LONGEST_ERROR],
                "bk-died": round(now * 1000),
                "bk-source": delivery.lane.source,
                "bk-died-after": delivery.deliveries,
            },
        )

    def _copy(self, delivery: Delivery, *, starts: int, moved: bool) -> Prepared:
        """The same message with another number of start marks, for the same lane; its count of deliveries goes on."""
        lane: LaneConsumer = delivery.token.lane
        extra: dict[str, Scalar | None] = {
            "bk-starts": starts or None,
            "bk-deliveries": delivery.deliveries - 1 or None,
            "bk-moved": moved or None,
        }
        entered: float = delivery.token.entered
        return self._broker.addressing.to_lane(
            lane.source, delivery.message, entered, level=lane.lane.level, extra=extra
        )

    async def mark_start(self, deliveries: Sequence[Delivery]) -> list[StartMark]:
        """As ``Subscription.mark_start``."""
        mine = [delivery.token.lane.let_go(delivery) for delivery in deliveries]
        ours = [delivery for delivery, held in zip(deliveries, mine, strict=True) if held]
        items = [self._copy(delivery, starts=delivery.starts + 1, moved=True) for delivery in ours]
        try:
            published = await self._publish(items)
        except BaseException:
            for delivery in ours:
                delivery.token.lane.hold(delivery)
            raise
        confirmed = Published.CONFIRMED
        moved = {id(delivery) for delivery, each in zip(ours, published, strict=True) if each is confirmed}
        for delivery in ours:
            token: Token = delivery.token
            if id(delivery) in moved:
                token.lane.ack(token.epoch, [token.tag])
            elif moved:
                token.lane.requeue(token.epoch, [token.tag])
                delivery.lose()
            else:
                token.lane.hold(delivery)
        if ours and not moved:
            raise TransportError("the broker took none of the start marks")
        return [StartMark.MOVED if id(delivery) in moved else StartMark.LOST for delivery in deliveries]


class _Entry(NamedTuple):
    place: int
    token: Token


class _Sorted:
    """Outcomes by what they take."""

    def __init__(self) -> None:
        self.acks: list[_Entry] = []
        self.releases: list[_Entry] = []
        self.moving: list[tuple[int, Delivery, Outcome]] = []

    def add(self, index: int, delivery: Delivery, outcome: Outcome) -> None:
        if isinstance(outcome, Ack):
            self.acks.append(_Entry(index, delivery.token))
        elif isinstance(outcome, Release) and not delivery.marked:
            self.releases.append(_Entry(index, delivery.token))
        else:
            self.moving.append((index, delivery, outcome))


def _answer(
    answers: list[Settled], entries: Sequence[_Entry], write: Callable[[LaneConsumer, int, Sequence[int]], bool]
) -> None:
    """Write what settles these, by channel, and note the answers."""
    groups: dict[tuple[LaneConsumer, int], list[_Entry]] = defaultdict(list)
    for entry in entries:
        groups[entry.token.lane, entry.token.epoch].append(entry)
    for (lane, epoch), group in groups.items():
        written = write(lane, epoch, [entry.token.tag for entry in group])
        for entry in group:
            answers[entry.place] = Settled.DONE if written else Settled.LOST
