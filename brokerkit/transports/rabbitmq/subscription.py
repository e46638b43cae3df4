"""What one consumer holds of its sources."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from brokerkit.delivery import Delivery, Lane
from brokerkit.errors import TransportError
from brokerkit.outcome import RELEASE, Outcome
from brokerkit.transport import Settled, StartMark
from brokerkit.transports.rabbitmq.lane import LaneConsumer
from brokerkit.transports.rabbitmq.plan import SourcePlan
from brokerkit.transports.rabbitmq.settling import Settling

if TYPE_CHECKING:
    from brokerkit.transports.rabbitmq.broker import RabbitmqBroker

_log = logging.getLogger("brokerkit.rabbitmq")

_CLOSE_WITHIN = 10.0
"""Seconds to hand back what is held; the connection's end does it, too."""


class RabbitmqSubscription:
    """A ``Subscription``.

    Args:
        broker: The connections.
        sources: What to consume.
    """

    def __init__(self, broker: RabbitmqBroker, sources: Sequence[SourcePlan]) -> None:
        self._clock = broker.clock
        self._settling = Settling(broker)
        self.lanes = [
            LaneConsumer(broker, source, level, self._wake, self._hand_back)
            for source in sources
            for level in reversed(range(len(source.lanes)))
        ]
        self._tasks = [broker.background.spawn(lane.run(), f"queue {lane.queue}") for lane in self.lanes]
        self._woken: asyncio.Future[None] | None = None
        self._patience = 0.0
        self._paused = self._closed = False

    async def receive(self, limit: Mapping[Lane, int], most: Mapping[str, int] | None = None) -> list[Delivery]:
        asked = [(lane, count) for lane in self.lanes if (count := limit.get(lane.lane, 0)) > 0]
        bounds = dict(most or {})
        for lane in self.lanes:
            if not limit.get(lane.lane):
                lane.ask(0)
        try:
            while not self._paused and not self._closed:
                for lane, count in asked:
                    lane.ask(min(count, bounds.get(lane.source.key, count)))
                if found := self._take(asked, dict(bounds)):
                    for lane, _ in asked:
                        lane.answered()
                    return found
                await self._wait(self._patience)
        except BaseException:
            self._unask(asked)
            raise
        self._unask(asked)
        return []

    def _take(self, asked: Sequence[tuple[LaneConsumer, int]], bounds: dict[str, int]) -> list[Delivery]:
        """What is at hand, the most urgent first."""
        found: list[Delivery] = []
        above: dict[str, list[LaneConsumer]] = {}  # those of a source of which nothing is left here
        now = self._clock.now()
        self._patience = 0.0
        for lane, count in asked:
            key = lane.source.key
            if lane.waiting:
                if key in above and self._overtakes(above[key], ask=not found):
                    continue
                bound = bounds.get(key, count)
                taken = lane.take(min(count, bound), now)
                if key in bounds:
                    bounds[key] = bound - len(taken)
                found += taken
                if not lane.source.strict:
                    continue
            if not lane.waiting:
                above.setdefault(key, []).append(lane)
        return found

    def _overtakes(self, above: Sequence[LaneConsumer], *, ask: bool) -> bool:
        """Whether more urgent lanes may get more, which should come first. If nothing else is found, the broker is
        asked."""
        waits = [(lane, seconds) for lane in above if (seconds := lane.more())]
        if ask:
            for lane, seconds in waits:
                lane.inquire()
                self._patience = max(self._patience, seconds)
        return bool(waits)

    async def _wait(self, seconds: float) -> None:
        """Until woken, or for so many seconds if they are not 0."""
        self._woken = asyncio.get_running_loop().create_future()
        timer = self._clock.call_later(seconds, self._wake) if seconds > 0 else None
        try:
            await self._woken
        finally:
            if timer is not None:
                timer.cancel()

    def _unask(self, asked: Sequence[tuple[LaneConsumer, int]]) -> None:
        for lane, _ in asked:
            lane.ask(0)

    def _wake(self) -> None:
        if self._woken is not None and not self._woken.done():
            self._woken.set_result(None)

    async def settle(self, outcomes: Sequence[tuple[Delivery, Outcome]]) -> Sequence[Settled]:
        return await self._settling.settle(outcomes)

    async def mark_start(self, deliveries: Sequence[Delivery]) -> Sequence[StartMark]:
        return await self._settling.mark_start(deliveries)

    async def pause(self) -> None:
        self._paused = True
        for lane in self.lanes:
            lane.pause()
        self._wake()

    async def resume(self) -> None:
        self._paused = False
        for lane in self.lanes:
            lane.resume()

    def abandon(self) -> None:
        """End intake; what is held is lost."""
        self._closed = True
        self._wake()
        for lane in self.lanes:
            lane.close()

    async def close(self) -> None:
        """End intake and hand back what is held. Idempotent."""
        self.abandon()
        running = [task for task in self._tasks if not task.done()]
        if not running:
            return
        _, late = await asyncio.wait(running, timeout=_CLOSE_WITHIN)
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late)

    async def _hand_back(self, marked: Sequence[Delivery]) -> None:
        """Release deliveries, their start marks included."""
        if not marked:
            return
        try:
            answers = await self._settling.settle([(delivery, RELEASE) for delivery in marked])
        except TransportError as error:
            _log.warning("%d start marks could not be taken back: %s", len(marked), error)
            return
        if Settled.FAILED in answers:
            _log.warning("%d start marks could not be taken back", answers.count(Settled.FAILED))
