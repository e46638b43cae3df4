"""Fetching what one script reaches, whenever somebody waits for it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from hiredis import ReplyError

from brokerkit.delivery import Delivery
from brokerkit.errors import ConnectionLost, TransportError
from brokerkit.transports.redis import fetching, scripts
from brokerkit.transports.redis import keys as naming
from brokerkit.transports.redis.complaints import Complaints
from brokerkit.transports.redis.errors import NotYet, while_running
from brokerkit.transports.redis.fetching import Fetched, Wanted
from brokerkit.transports.redis.holding import Held, Seat, held_as
from brokerkit.transports.redis.link import Argument

if TYPE_CHECKING:
    from brokerkit.transports.redis.broker import RedisBroker
    from brokerkit.transports.redis.subscription import RedisSubscription

_log = logging.getLogger("brokerkit")

LOOK_OUT = 1.0
"""Seconds between two looks of somebody who waits, for wake-ups that got lost."""
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0
"""Seconds until a fetch that failed is tried again."""
RESTING = 2.0
"""Seconds until a source that could not be read is read again."""


class Feed:
    """Fetches for the sources of a subscription whose keys lie together, in a task of its own: a fetch goes on when the
    call that asked for it is cancelled.

    Args:
        broker: The broker.
        subscription: Whose sources they are.
        near: What keys begin with that lie beside theirs.
        seats: The sources.

    Attributes:
        ear: What wakes us is said to this.
        lost_leases: Consumers of ours that were found not to be among the leases any more.
        unwanted: What came when nobody asked for it any more.
    """

    def __init__(self, broker: RedisBroker, subscription: RedisSubscription, near: str, seats: Sequence[Seat]) -> None:
        self._broker, self._subscription = broker, subscription
        self.near, self.seats = near, seats
        self.channel = naming.channel(near, broker.name)
        self.ear = f"{self.channel}/{subscription.number}"
        self.lost_leases: set[str] = set()
        self.unwanted: list[Delivery] = []
        self._by_waiting = {seat.target.waiting: seat for seat in seats}
        self._turn = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._woken: set[Seat] = set()
        self._losses = broker.losses
        self.entered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when the server knows our consumers; cancelled when nobody waits for that any more."""
        self._resting: set[Seat] = set()
        self._complaints = Complaints()
        self._returned: set[Held] = set()
        """What went back because nobody here knew of it: it may still be on its way to us."""

    # Being woken

    @property
    def waits(self) -> bool:
        """Whether nothing is there as far as known, and the server has word that we wait."""
        return all(len(seat.asleep) == len(seat.lanes) for seat in self.seats)

    def look(self) -> None:
        """Somebody waits, or something else is to be done."""
        self._turn.set()

    def wake(self, waiting: str) -> bool:
        """Something became available in the source whose waiting consumers are listed there; false if it is no source
        of ours."""
        seat = self._by_waiting.get(waiting)
        if seat is not None:
            seat.asleep.clear()
            self._woken.add(seat)
            self._turn.set()
        return seat is not None

    def hand(self, waiting: str, rest: bytes) -> bool:
        """A message comes by itself to somebody who waits for it; false if it is not ours."""
        seat = self._by_waiting.get(waiting)
        if seat is None:
            return False
        seat.asleep.clear()
        for delivery in fetching.handed(seat, rest):
            if delivery.token.owner != seat.consumer:
                continue  # to one whom we have given up since; it goes back with all that he held
            if (held := held_as(delivery)) in self._returned:
                self._returned.discard(held)
            elif not self._subscription.take_in([delivery], unasked=True):
                self.unwanted.append(delivery)
                self._turn.set()
        return True

    def wake_all(self) -> None:
        """Look everywhere: something may have been missed."""
        for seat in self.seats:
            seat.asleep.clear()
        self._turn.set()

    def stop_timer(self) -> None:
        """Look no more by itself."""
        if self._timer is not None:
            self._timer.cancel()

    # The task

    async def run(self) -> None:
        """Fetch whenever somebody waits for what may be there; runs until it is cancelled."""
        if not await self._enter():
            return
        pause = FIRST_PAUSE
        while True:
            await self._turn.wait()
            self._turn.clear()
            try:
                await self._broker.servers.ready(self.seats[0].target.leases)
                await self._mourn()
                await self._pass_on()
                if self._losses != self._broker.losses:
                    await self._find_unknown()
                while await self._fetch():
                    pass
                pause = FIRST_PAUSE
            except (TransportError, TimeoutError) as error:
                pause = min(2 * pause, LONGEST_PAUSE)
                await self._rest(error, pause)

    async def _rest(self, error: BaseException, pause: float) -> None:
        """Before it is tried again; after a lost connection that is soon."""
        if isinstance(error, NotYet):
            self._broker.servers.complain(str(error))
            pause = min(pause, LOOK_OUT)
        elif not isinstance(error, ConnectionLost):
            _log.error("nothing can be received from Redis: %s", error)
        else:
            pause = FIRST_PAUSE
        self._turn.set()
        await asyncio.sleep(pause)

    async def _enter(self) -> bool:
        """Become consumers; false if the server does not let us, which is then for the subscriber to see."""
        pause = FIRST_PAUSE
        while True:
            try:
                with contextlib.suppress(TimeoutError):  # what is said there only makes us quicker
                    async with asyncio.timeout(LOOK_OUT):
                        await self._broker.hearing.servers.listen(self.channel)
                await self._broker.consuming.register(self._subscription, self.seats)
            except TransportError as error:
                if not self.entered.done() and not isinstance(error, ConnectionLost):
                    self.entered.set_exception(error)
                    return False
                pause = min(2 * pause, LONGEST_PAUSE)
                await self._rest(error, pause)
            else:
                if not self.entered.done():
                    self.entered.set_result(None)
                return True

    async def _mourn(self) -> None:
        """Give up what the keeper has found lost."""
        consumers, self.lost_leases = self.lost_leases, set()
        if seats := [seat for seat in self.seats if seat.consumer in consumers]:
            await self._broker.consuming.restore(self._subscription, seats)

    async def _fetch(self) -> bool:
        """One round; true if another one is to follow at once."""
        wanted = self._subscription.wanted([seat for seat in self.seats if seat not in self._resting])
        if wanted is None:
            return False
        consumers = [seat.consumer for seat in wanted.seats]
        keys, args = fetching.question(self.ear, wanted, self._broker.log_delayed())
        self._woken.difference_update(wanted.seats)
        for seat in wanted.seats:
            seat.asleep = {lane.level for lane in seat.lanes if wanted.limit.get(lane, 0) > 0}
        try:
            reply = await self._broker.servers.run(scripts.FETCH, keys, args)
        except BaseException:
            for seat in wanted.seats:
                seat.asleep.clear()
            raise
        fetched = fetching.answer(wanted, consumers, reply)
        self._take_note(wanted, fetched)
        if fetched.recreated:
            _log.error("consumer groups were missing and have been created again: %s", ", ".join(fetched.recreated))
        for seat, problem in fetched.failed:
            self._leave_alone(seat, problem)
        if fetched.lost:
            await self._broker.consuming.restore(self._subscription, fetched.lost)
        if fetched.logs:
            await self._broker.promote([seat.target.log for seat in fetched.logs])
            for seat in fetched.logs:
                seat.asleep.clear()
        return bool(fetched.lost or fetched.logs)

    def _leave_alone(self, seat: Seat, problem: str) -> None:
        """For a while, so that it does not keep us from the others."""
        error = while_running(self._broker.servers.where, ReplyError(problem))
        self._complaints.add(f"nothing can be received from {seat.target.key}: {error}")
        self._resting.add(seat)
        seat.asleep.clear()
        _ = asyncio.get_running_loop().call_later(RESTING, self._try_again, seat)

    def _try_again(self, seat: Seat) -> None:
        self._resting.discard(seat)
        self._turn.set()

    def _take_note(self, wanted: Wanted, fetched: Fetched) -> None:
        for seat in wanted.seats:
            seat.registered = seat in fetched.empty
            if not seat.registered:
                seat.asleep.clear()
            elif seat in self._woken:  # while the answer was on its way
                seat.asleep.clear()
                self._turn.set()
        wait = LOOK_OUT if fetched.wait is None else min(LOOK_OUT, fetched.wait + 0.001)
        self._wake_in(wait)
        if fetched.deliveries and not self._subscription.take_in(fetched.deliveries):
            self.unwanted += fetched.deliveries
            self._turn.set()

    def _wake_in(self, seconds: float) -> None:
        self.stop_timer()
        if not self._subscription.closed:
            self._timer = asyncio.get_running_loop().call_later(seconds, self.wake_all)

    async def _pass_on(self) -> None:
        """Whoever woke us counted on us to take the message: if nobody waits for it here, wake somebody else."""
        woken, self._woken = self._woken, set()
        limit = self._subscription.asked
        idle = [seat for seat in woken if not any(limit.get(lane, 0) > 0 for lane in seat.lanes)]
        self._woken = woken.difference(idle)
        unwanted, self.unwanted = self.unwanted, []
        try:
            await self._subscription.release(unwanted)
        finally:  # what has not gone back goes back later
            self.unwanted += [delivery for delivery in unwanted if self._subscription.holds(delivery)]
        if self.unwanted:
            self._wake_in(LOOK_OUT)
        if idle:
            await self.offer(idle, left=False)

    async def offer(self, seats: Iterable[Seat], *, left: bool) -> None:
        """Take back that we wait, and have others look; ``left``: we receive no more."""
        seats = list(seats)
        keys: list[Argument] = []
        args: list[Argument] = [self.ear, len(seats)]
        for seat in seats:
            target = seat.target
            seat.registered = False
            seat.asleep.clear()
            keys += (target.waiting, target.leases, target.active)
            args += (seat.consumer, int(left), target.lanes)
            for level in range(target.lanes):
                reads = target.reads(level)
                args += (level, len(reads))
                for read in reads:
                    keys.append(read.stream)
                    args.append(read.group)
        if seats:
            await self._broker.servers.run(scripts.OFFER, keys, args)

    async def _find_unknown(self) -> None:
        """After a lost connection: what the server gave us in an answer that never arrived goes back."""
        losses = self._broker.losses
        self._returned.clear()
        for seat in self.seats:
            for number, read in enumerate(seat.reads):
                entries = await self._broker.consuming.held_entries(read, seat.consumer)
                lost = [entry for entry in entries if not self._subscription.knows((seat.consumer, number, entry))]
                if lost:
                    self._returned.update((seat.consumer, number, entry) for entry in lost)
                    _log.warning("%d messages of an answer that got lost go back to %s", len(lost), seat.target.key)
                    await self._broker.consuming.hand_back(seat, number, lost)
        self._losses = losses
        self.wake_all()
