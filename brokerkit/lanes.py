"""Who is served next: queues by weight, the lanes of a queue by weight, age or strictly."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence

import msgspec

from brokerkit.delivery import Delivery, Lane


class SourcePlan(msgspec.Struct, frozen=True):
    """How one source is served.

    Args:
        key: The source's key.
        weights: One weight per lane, least urgent first.
        strict: Always the most urgent lane that has something.
        max_wait: Seconds since a message was sent after which it is served before its lane's turn; None for never.
        weight: The source's own weight among the sources.
    """

    key: str
    weights: tuple[int, ...] = (1,)
    strict: bool = False
    max_wait: float | None = None
    weight: int = 1


class _LaneBuffer:
    __slots__ = ("deliveries", "lane", "seen", "weight")

    def __init__(self, lane: Lane, weight: int) -> None:
        self.lane = lane
        self.weight = weight
        self.seen = True  # it gave something when it was last asked
        self.deliveries: deque[Delivery] = deque()


class _SourceBuffer:
    __slots__ = ("credit", "lanes", "plan", "served", "turns", "waiting")

    def __init__(self, plan: SourcePlan) -> None:
        self.plan = plan
        self.credit = 0
        self.waiting = 0
        self.served: dict[Lane, int] = {}  # credits of the lanes' turns to be served, and to be asked
        self.turns: dict[Lane, int] = {}
        self.lanes = [_LaneBuffer(Lane(plan.key, level), weight) for level, weight in enumerate(plan.weights)]

    @property
    def lively(self) -> bool:
        """True when a lane gave something when last asked."""
        return any(lane.seen for lane in self.lanes)

    def shares(self, room: int) -> tuple[dict[Lane, int], int]:
        """How many to ask for in each lane of this source, and at most of all of them.

        Every lane is asked: to wait for those alone whose turn it is would be to wait while another has something.
        """
        if self.plan.strict:
            return {lane.lane: room for lane in self.lanes}, room
        lively = [lane for lane in reversed(self.lanes) if lane.seen] or self.lanes[::-1]
        rounds, rest = divmod(room, sum(lane.weight for lane in lively))
        asked = {lane.lane: 0 for lane in self.lanes}
        asked.update((lane.lane, rounds * lane.weight) for lane in lively)
        for _ in range(rest):  # by turns, so that small rooms add up to the weights over time
            asked[_by_weight(lively, self.turns).lane] += 1
        # Out of turn one more is taken of a lane that is silent, whose age counts, or that is above one whose turn it
        # is, since the more urgent come first; of a lane below only what the others leave of the bound.
        lowest = min(lane.level for lane, count in asked.items() if count)
        ages = self.plan.max_wait is not None
        idle = [lane for lane in self.lanes if not asked[lane.lane]]
        extra = sum(ages or not lane.seen or lane.lane.level > lowest for lane in idle)
        return {lane: count or 1 for lane, count in asked.items()}, room + extra

    def pop(self, now: Callable[[], float]) -> Delivery:
        self.waiting -= 1
        lanes = self.lanes
        if len(lanes) == 1:
            return lanes[0].deliveries.popleft()
        ready = [lane for lane in reversed(lanes) if lane.deliveries]
        if len(ready) == 1 or self.plan.strict:
            return ready[0].deliveries.popleft()
        return (self._aged(ready, now()) or _by_weight(ready, self.served)).deliveries.popleft()

    def _aged(self, ready: list[_LaneBuffer], now: float) -> _LaneBuffer | None:
        """The lane whose first message has waited longest, if that is beyond ``max_wait``."""
        if self.plan.max_wait is None:
            return None
        oldest = min(ready, key=lambda lane: _available(lane.deliveries[0]))
        return oldest if now - _available(oldest.deliveries[0]) > self.plan.max_wait else None


def _available(delivery: Delivery) -> float:
    message = delivery.message
    return message.created if message.due is None else message.due


def _by_weight(ready: Sequence[_LaneBuffer], turns: dict[Lane, int]) -> _LaneBuffer:
    """Smooth weighted round robin: turns in proportion to weight, spread evenly (the algorithm of nginx)."""
    best = ready[0]
    total = 0
    for lane in ready:
        turns[lane.lane] = turns.get(lane.lane, 0) + lane.weight
        total += lane.weight
        if turns[lane.lane] > turns[best.lane]:
            best = lane
    turns[best.lane] -= total
    return best


class LaneScheduler:
    """Buffers deliveries per lane and chooses the next one. Pure: no clock, no I/O.

    Args:
        plans: How each source is served.
    """

    def __init__(self, plans: Sequence[SourcePlan]) -> None:
        self._sources = {plan.key: _SourceBuffer(plan) for plan in plans}
        self._order = list(self._sources.values())
        self.waiting = 0

    def add(self, deliveries: Sequence[Delivery]) -> None:
        """Buffer deliveries, each lane in the order given."""
        for delivery in deliveries:
            source = self._sources[delivery.lane.source]
            source.lanes[delivery.lane.level].deliveries.append(delivery)
            source.waiting += 1
        self.waiting += len(deliveries)

    def next(self, now: Callable[[], float]) -> Delivery:
        """The delivery to serve now; only while ``waiting`` is positive. ``now`` gives the time when ages matter."""
        self.waiting -= 1
        if len(self._order) == 1:
            return self._order[0].pop(now)
        best: _SourceBuffer | None = None
        total = 0
        for source in self._order:
            if source.waiting:
                source.credit += source.plan.weight
                total += source.plan.weight
                if best is None or source.credit > best.credit:
                    best = source
        if best is None:
            raise IndexError("nothing is waiting")
        best.credit -= total
        return best.pop(now)

    def remove(self, message_id: str, run: int) -> list[Delivery]:
        """Take out what waits of one message."""
        taken: list[Delivery] = []
        for source in self._order:
            for lane in source.lanes:
                found = [each for each in lane.deliveries if each.message.id == message_id and each.message.run == run]
                for delivery in found:
                    lane.deliveries.remove(delivery)
                source.waiting -= len(found)
                taken += found
        self.waiting -= len(taken)
        return taken

    def drain(self) -> list[Delivery]:
        """Take everything out, for handing it back."""
        taken: list[Delivery] = []
        for source in self._order:
            source.waiting = 0
            for lane in source.lanes:
                taken.extend(lane.deliveries)
                lane.deliveries.clear()
        self.waiting = 0
        return taken

    def limits(self, room: int, free: int) -> tuple[dict[Lane, int], dict[str, int]]:
        """How many to ask for in each lane, and at most of each source altogether.

        Lanes that gave something when last asked share the room by weight; the others are asked for one, so that
        they are noticed: at most ``room`` plus one per silent lane. Of a strict source nothing is fetched ahead, lest
        something less urgent be at hand while something more urgent waits at the broker.

        Args:
            room: How many more there is room for.
            free: How many could start at once.
        """
        if len(self._order) == 1 and len(self._order[0].lanes) == 1:
            return {self._order[0].lanes[0].lane: room}, {}
        asked: dict[Lane, int] = {}
        most: dict[str, int] = {}
        lively = [source for source in self._order if source.lively] or self._order
        total = sum(source.plan.weight for source in lively)
        for source in self._order:
            share = -(-room * source.plan.weight // total) if source in lively else 1
            if source.plan.strict:
                share = min(share, free - self.waiting)
            if share > 0:
                shares, bound = source.shares(share)
                asked.update(shares)
                most[source.plan.key] = bound
        return asked, most

    def observe(self, asked: Mapping[Lane, int], deliveries: Sequence[Delivery]) -> None:
        """Learn from an answer which of the lanes that were asked have something."""
        if len(self._order) == 1 and len(self._order[0].lanes) == 1:
            return
        given = {delivery.lane for delivery in deliveries}
        for source in self._order:
            for lane in source.lanes:
                if lane.lane in asked:
                    lane.seen = lane.lane in given
