"""What one consumer holds of its sources."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from brokerkit.abilities import Committed, Unit
from brokerkit.delivery import Delivery, Lane
from brokerkit.errors import ConnectionLost
from brokerkit.outcome import RELEASE, Outcome
from brokerkit.transport import Settled, StartMark
from brokerkit.transports import stash
from brokerkit.transports.gate import Gate
from brokerkit.transports.redis import scripts
from brokerkit.transports.redis.feed import Feed
from brokerkit.transports.redis.fetching import Wanted
from brokerkit.transports.redis.holding import Held, Seat, held_as
from brokerkit.transports.redis.link import Argument
from brokerkit.transports.redis.settling import SETTLED

if TYPE_CHECKING:
    from brokerkit.transports.redis.broker import RedisBroker


class RedisSubscription:
    """A ``Subscription``. Feeds put what comes into a stash, from which it is received.

    Args:
        broker: The broker.
        number: Tells it from others of this process.
        seats: Its sources.
    """

    def __init__(self, broker: RedisBroker, number: int, seats: Sequence[Seat]) -> None:
        self._broker, self.number, self.seats = broker, number, seats
        self._held: dict[Held, Delivery] = {}
        self._leaving: set[Held] = set()
        self._stash: list[Delivery] = []
        self._want: tuple[Mapping[Lane, int], Mapping[str, int]] | None = None
        self._gate = Gate()
        self._paused = self.closed = self._dead = False
        together: dict[str, list[Seat]] = {}
        for seat in seats:
            together.setdefault(seat.target.near, []).append(seat)
        self.feeds = [Feed(broker, self, near, some) for near, some in together.items()]
        self._feed_of = {seat: feed for feed in self.feeds for seat in feed.seats}

    # Receiving

    async def receive(self, limit: Mapping[Lane, int], most: Mapping[str, int] | None = None) -> list[Delivery]:
        while not self._paused and not self.closed:
            if self._stash and (found := self._take(limit, most or {})):
                return found
            self._want = (limit, most or {})
            for feed in self.feeds:
                if not feed.waits:
                    feed.look()
            try:
                await self._gate.wait()
            finally:
                self._want = None
        if self._dead:
            raise ConnectionLost("the use of the Redis server was abandoned")
        return []

    def _take(self, limit: Mapping[Lane, int], most: Mapping[str, int]) -> list[Delivery]:
        """From the stash, as far as asked for."""
        found, self._stash = stash.split(self._stash, limit, most)
        return found

    # What feeds ask and bring

    @property
    def asked(self) -> Mapping[Lane, int]:
        """How much is asked for now."""
        return {} if self._want is None or self._paused or self.closed else self._want[0]

    def wanted(self, seats: Sequence[Seat]) -> Wanted | None:
        """What is to be asked for now of some sources; None for nothing."""
        limit = self.asked
        if not limit or any(not each.lost and limit.get(each.lane, 0) > 0 for each in self._stash):
            return None
        asking = [
            seat
            for seat in seats
            if any(limit.get(lane, 0) > 0 and lane.level not in seat.asleep for lane in seat.lanes)
        ]
        return Wanted(asking, limit, self._want[1] if self._want is not None else {}) if asking else None

    def take_in(self, deliveries: Sequence[Delivery], *, unasked: bool = False) -> bool:
        """Hold what has come; false if nobody may have it any more, so that it has to be released.

        What was asked for waits for the next to ask when the call that wanted it was cancelled; what comes unasked goes
        to somebody else.
        """
        for delivery in deliveries:
            self._held[held_as(delivery)] = delivery
        asked = self.asked
        if self._paused or self.closed or (unasked and any(asked.get(each.lane, 0) <= 0 for each in deliveries)):
            return False
        self._stash += deliveries
        self._gate.open()
        return True

    def knows(self, held: Held) -> bool:
        """Whether it is held, or on its way out."""
        return held in self._held or held in self._leaving

    async def release(self, deliveries: Sequence[Delivery]) -> None:
        """Hand back what nobody here wants."""
        mine = [(delivery, RELEASE) for delivery in deliveries if self.holds(delivery)]
        if mine:
            await self.settle(mine)

    def wake_all(self) -> None:
        """Look everywhere: something may have been missed."""
        for feed in self.feeds:
            feed.wake_all()

    # Settling

    async def settle(self, outcomes: Sequence[tuple[Delivery, Outcome]]) -> Sequence[Settled]:
        answers = await self.commit([Unit(delivery, outcome) for delivery, outcome in outcomes])
        return [SETTLED.get(answer, Settled.FAILED) for answer in answers]

    async def commit(self, units: Sequence[Unit]) -> list[Committed]:
        """Carry out units, letting go of their deliveries; what was not settled is held again."""
        mine = [self._let_go(unit.delivery) for unit in units]
        going = [unit for unit, held in zip(units, mine, strict=True) if held]
        try:
            done = iter(await self._broker.settling.settle(going) if going else [])
        except BaseException:
            for unit in going:
                self._hold(unit.delivery)
            raise
        finally:
            self._leaving.difference_update(held_as(unit.delivery) for unit in going)
        answers = [next(done) if held else Committed.LOST for held in mine]
        for unit, held, answer in zip(units, mine, answers, strict=True):
            if held and answer is Committed.LOST:
                unit.delivery.lose()
            elif held and answer is not Committed.DONE:
                self._hold(unit.delivery)
        return answers

    async def mark_start(self, deliveries: Sequence[Delivery]) -> Sequence[StartMark]:
        parts: dict[str, list[Delivery]] = {}
        for delivery in deliveries:
            if self.holds(delivery):
                parts.setdefault(delivery.token.seat.target.near, []).append(delivery)
        marked: set[int] = set()
        for near, mine in parts.items():
            marked |= await self._mark(near, mine)
        return [StartMark.MARKED if id(delivery) in marked else StartMark.LOST for delivery in deliveries]

    async def _mark(self, near: str, deliveries: Sequence[Delivery]) -> set[int]:
        keys: list[Argument] = []
        args: list[Argument] = [len(deliveries)]
        for delivery in deliveries:
            token = delivery.token
            keys += (token.seat.target.leases, token.seat.target.starts)
            args += (token.owner, token.entry)
        letters = await self._broker.calls.once(near, scripts.MARK, keys, args)
        marked = [delivery for delivery, letter in zip(deliveries, letters, strict=True) if letter == ord("d")]
        for delivery in marked:
            delivery.starts += 1
            delivery.marked = True
        return set(map(id, marked))

    def holds(self, delivery: Delivery) -> bool:
        return self._held.get(held_as(delivery)) is delivery

    def _let_go(self, delivery: Delivery) -> bool:
        """Forget a delivery that is about to be settled; False if it is not held."""
        held = held_as(delivery)
        if self._held.get(held) is not delivery:
            return False
        del self._held[held]
        self._leaving.add(held)
        return True

    def _hold(self, delivery: Delivery) -> None:
        """Settling it did not work: it is still ours, unless it was lost meanwhile."""
        if delivery.token.owner == delivery.token.seat.consumer and not self.closed:
            self._held[held_as(delivery)] = delivery
        else:
            delivery.lose()

    def lose(self, seat: Seat, consumer: str) -> None:
        """What was held of a source is lost; from now on we are another consumer there."""
        before, seat.consumer = seat.consumer, consumer
        seat.registered = False
        for held, delivery in list(self._held.items()):
            if held[0] == before:
                del self._held[held]
                delivery.lose()
        _ = self._feed_of[seat].wake(seat.target.waiting)

    # Pausing and ending

    async def pause(self) -> None:
        if not self._paused and not self.closed:
            self._paused = True
            self._gate.open()
            waiting, self._stash = self._stash, []
            try:
                await self.release(waiting)
            finally:  # what has not gone back is here when intake goes on
                self._stash += [delivery for delivery in waiting if self.holds(delivery)]
            for feed in self.feeds:
                feed.look()  # what is on its way goes back, too
                await feed.offer(feed.seats, left=True)

    async def resume(self) -> None:
        if self._paused and not self.closed:
            self._paused = False
            self.wake_all()

    def close(self, *, dead: bool = False) -> None:
        """End intake and forget what is held; the caller hands it back at the server."""
        self.closed, self._dead = True, dead
        for feed in self.feeds:
            feed.stop_timer()
        self._gate.open()

    def forget(self) -> list[Delivery]:
        """All that is held, which is now lost here."""
        held, self._held = list(self._held.values()), {}
        for delivery in held:
            delivery.lose()
        return held
