"""Consumers at the servers: they are entered among the leases, and what they hold goes back when they end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import count
from typing import TYPE_CHECKING

from brokerkit.abilities import Committed, Unit
from brokerkit.delivery import Delivery, Source
from brokerkit.errors import TransportError
from brokerkit.message import Message
from brokerkit.outcome import RELEASE
from brokerkit.transports.redis import scripts
from brokerkit.transports.redis.compile import Read
from brokerkit.transports.redis.feed import Feed
from brokerkit.transports.redis.holding import Seat, Token
from brokerkit.transports.redis.keeper import Lease
from brokerkit.transports.redis.link import Argument
from brokerkit.transports.redis.subscription import RedisSubscription

if TYPE_CHECKING:
    from brokerkit.transports.redis.broker import RedisBroker

_log = logging.getLogger("brokerkit")

OPENING, LEAVING = 2.0, 3.0
"""Seconds that the servers get to take note of a consumer, and of its end."""


class Consuming:
    """The subscriptions of a broker.

    Args:
        broker: The broker.
        lease: Seconds.
    """

    def __init__(self, broker: RedisBroker, lease: float) -> None:
        self._broker, self._lease = broker, lease
        self._subscriptions = broker.hearing.subscriptions
        self._numbers = count(1)
        self._feeding: dict[RedisSubscription, list[asyncio.Task[None]]] = {}

    @property
    def leases(self) -> tuple[Lease, ...]:
        """What is to be renewed."""
        return tuple(
            Lease(seat.target.near, seat.target.leases, seat.target.waiting, seat.consumer, seat.reads)
            for subscription in self._subscriptions.values()
            for seat in subscription.seats
            if seat.consumer
        )

    @asynccontextmanager
    async def consume(self, sources: Sequence[Source]) -> AsyncIterator[RedisSubscription]:
        """Subscribe."""
        broker = self._broker
        if any(source.key not in broker.routes.plan.targets for source in sources):
            await broker.routes.refresh()
        seats = [Seat(source, broker.routes.target(source.key)) for source in dict.fromkeys(sources)]
        subscription = RedisSubscription(broker, next(self._numbers), seats)
        self._subscriptions[subscription.number] = subscription
        self._feeding[subscription] = [broker.background.spawn(feed.run(), "feed") for feed in subscription.feeds]
        try:
            await self._entered(subscription)
            yield subscription
        finally:
            subscription.close()
            if self._subscriptions.pop(subscription.number, None) is not None:
                broker.tend()
                await self.stop(subscription)
                await self._leave_or_tell(subscription)
            else:
                subscription.forget()

    async def _entered(self, subscription: RedisSubscription) -> None:
        """Wait until it is entered at all servers, but not for ever: what the others have is not to wait for one."""
        _, late = await asyncio.wait([feed.entered for feed in subscription.feeds], timeout=OPENING)
        problems = [feed.entered.exception() for feed in subscription.feeds if feed.entered not in late]
        for problem in filter(None, problems):
            raise problem
        for feed in subscription.feeds:
            if not feed.entered.cancel():
                continue
            names = ", ".join(seat.target.key for seat in feed.seats)
            _log.warning("nothing comes from %s until %s answers again", names, self._broker.servers.where)

    async def _leave_or_tell(self, subscription: RedisSubscription) -> None:
        try:
            async with asyncio.timeout(LEAVING):
                await self._leave(subscription)
        except (TransportError, TimeoutError) as error:
            _log.warning(
                "Redis was not told that a consumer ends; its lease runs out by itself: %s", str(error) or "no answer"
            )

    async def stop(self, subscription: RedisSubscription) -> None:
        """End its feeds."""
        tasks = self._feeding.pop(subscription, [])
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def close(self) -> None:
        """End all of them, handing back what they hold. Raises ``TransportError`` or ``TimeoutError``."""
        subscriptions = self.end()
        for subscription in subscriptions:
            await self.stop(subscription)
        async with asyncio.timeout(LEAVING):
            for subscription in subscriptions:
                await self._leave(subscription)

    def end(self, *, dead: bool = False) -> list[RedisSubscription]:
        """Close all of them; the servers are told nothing. Returns them."""
        subscriptions = list(self._subscriptions.values())
        self._subscriptions.clear()
        for subscription in subscriptions:
            subscription.close(dead=dead)
            if dead:
                subscription.forget()
        return subscriptions

    def _new_consumer(self) -> str:
        return f"{self._broker.name}-{next(self._numbers)}"

    # At the servers

    async def register(self, subscription: RedisSubscription, seats: Sequence[Seat]) -> None:
        """Enter consumers with new names, which hold nothing yet."""
        consumers = {seat: self._new_consumer() for seat in seats}
        keys: list[Argument] = []
        args: list[Argument] = [int(self._lease * 1000), len(seats)]
        for seat in seats:
            keys.append(seat.target.leases)
            args += (consumers[seat], len(seat.reads))
            for read in seat.reads:
                keys.append(read.stream)
                args.append(read.group)
        await self._broker.asking.run(scripts.REGISTER, keys, args)
        for seat in seats:
            subscription.lose(seat, consumers[seat])
        self._broker.tend()

    async def _leave(self, subscription: RedisSubscription) -> None:
        """Hand back all that a subscription holds."""
        marked = [delivery for delivery in subscription.forget() if delivery.marked]
        for feed in subscription.feeds:
            await self._give_up(feed, marked, released=True)

    async def _give_up(self, feed: Feed, marked: Sequence[Delivery], *, released: bool) -> None:
        keys: list[Argument] = []
        seats = [seat for seat in feed.seats if seat.consumer]
        args: list[Argument] = [feed.ear, int(released), len(seats)]
        for seat in seats:
            target = seat.target
            keys += (target.leases, target.waiting, target.starts, target.active)
            marks = [each.token.entry for each in marked if each.token.seat is seat]
            args += (seat.consumer, len(marks), *marks, len(seat.reads))
            for level in range(target.lanes):
                for read in target.reads(level):
                    keys.append(read.stream)
                    args += (read.group, level)
        if seats:
            await self._broker.asking.run(scripts.LEAVE, keys, args)

    async def lose_all(self) -> None:
        """Lose what is held, as by a lease that ran out; all else goes on."""
        for subscription in self._subscriptions.values():
            for feed in subscription.feeds:
                await self._give_up(feed, (), released=False)
                await self.register(subscription, feed.seats)

    async def restore(self, subscription: RedisSubscription, seats: Sequence[Seat]) -> None:
        """Others took us for dead, or the server has forgotten us: what was held is lost, and we go on."""
        names = ", ".join(seat.target.key for seat in seats)
        _log.error("what this process held of %s is lost: its lease ran out, or Redis has lost its data", names)
        await self._broker.routes.restore()
        await self.register(subscription, seats)

    def renewal_lost(self, consumers: list[str]) -> None:
        """Called on the event loop: the keeper found that these are not among the leases any more."""
        for subscription in self._subscriptions.values():
            for feed in subscription.feeds:
                if any(seat.consumer in consumers for seat in feed.seats):
                    feed.lost_leases.update(consumers)
                    feed.wake_all()

    async def held_entries(self, read: Read, consumer: str) -> list[bytes]:
        """The entries of a stream that a consumer holds, as the server knows it."""
        found: list[bytes] = []
        first = b"-"
        while True:
            try:
                part = await self._broker.asking.ask("XPENDING", read.stream, read.group, first, "+", 1000, consumer)
            except TransportError as error:
                if getattr(error, "code", "") == "NOGROUP":
                    return found
                raise
            found += [each[0] for each in part]
            if len(part) < 1000:
                return found
            first = b"(" + part[-1][0]

    async def hand_back(self, seat: Seat, number: int, entries: Sequence[bytes]) -> None:
        """Release what we hold without knowing more of it than its entry."""
        level = number // (len(seat.reads) // seat.target.lanes)
        lane = next(each for each in seat.lanes if each.level == level)
        units = []
        for entry in entries:
            token = Token(seat, number, entry, seat.consumer)
            units.append(Unit(Delivery(Message(id="", name="", body=b""), lane, 1, token), RELEASE))
        await self._broker.settling.settle(units)

    # What any of them holds

    async def commit(self, units: Sequence[Unit]) -> list[Committed]:
        """Carry out units of any subscription."""
        owners = [self._owner(unit.delivery) for unit in units]
        answers: dict[int, Committed] = {}
        for subscription in dict.fromkeys(owners):
            mine = [at for at, owner in enumerate(owners) if owner is subscription]
            done = await subscription.commit([units[at] for at in mine]) if subscription is not None else None
            answers.update(zip(mine, done or [Committed.LOST] * len(mine), strict=True))
        return [answers[at] for at in range(len(units))]

    def _owner(self, delivery: Delivery) -> RedisSubscription | None:
        for subscription in self._subscriptions.values():
            if subscription.holds(delivery):
                return subscription
        return None
