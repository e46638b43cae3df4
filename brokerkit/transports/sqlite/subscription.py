"""What one consumer holds of its sources."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence

from brokerkit.clock import Timer
from brokerkit.delivery import Delivery, Lane
from brokerkit.errors import ConnectionLost, TransportError
from brokerkit.outcome import RELEASE, Outcome
from brokerkit.transport import Settled, StartMark
from brokerkit.transports import stash
from brokerkit.transports.gate import Gate
from brokerkit.transports.sqlite.claiming import Claim, Claimed, Wanted, deliveries
from brokerkit.transports.sqlite.database import Call, Database
from brokerkit.transports.sqlite.owners import Owner, Owners
from brokerkit.transports.sqlite.routes import Routes
from brokerkit.transports.sqlite.settling import MarkStart, Settle, verdict

_RETRY = 0.5
"""Seconds after which a claim that failed (a full disk, a locked file) is tried again."""


class SqliteSubscription:
    """A ``Subscription``.

    Messages reach ``receive`` through a stash: a claim goes on when the call that asked for it is cancelled.

    Args:
        database: The file.
        routes: For the numbers of sources.
        owners: Where leases are kept.
    """

    def __init__(self, database: Database, routes: Routes, owners: Owners) -> None:
        self._database, self._owners = database, owners
        self.owner = Owner(self.lost, self.wake)
        self._claim_work, self._settle_work = Claim(routes, owners.restore), Settle(routes)
        self._mark_work = MarkStart()
        self._lanes: list[tuple[Lane, int]] = []
        self._sources: tuple[int, ...] = ()
        self._keys: dict[int, str] = {}
        self._held: dict[int, Delivery] = {}
        self._stash: list[Delivery] = []
        self._empty: set[Lane] = set()
        self._gate = Gate()
        self._claiming: asyncio.Future[list[Claimed]] | None = None
        self._wakes = 0
        self._waiting: tuple[Mapping[Lane, int], Mapping[str, int]] | None = None
        self._timer: Timer | None = None
        self._paused = self._closed = self._dead = False

    def bind(self, lanes: Sequence[tuple[Lane, int]], sources: tuple[int, ...], keys: dict[int, str]) -> None:
        """Say what is consumed.

        Args:
            lanes: Each lane with the number of its source, in the order of urgency.
            sources: The numbers of all sources, with the logs of groups.
            keys: The key of each source.
        """
        self._lanes, self._sources, self._keys = list(lanes), sources, keys
        self.owner.sources = sources

    # Receiving

    async def receive(self, limit: Mapping[Lane, int], most: Mapping[str, int] | None = None) -> list[Delivery]:
        while not self._paused and not self._closed:
            if self._stash and (found := self._take(limit, most or {})):
                return found
            self._ask(limit, most or {})
            self._waiting = (limit, most or {})
            try:
                await self._gate.wait()
            finally:
                self._waiting = None
        if self._dead:
            raise ConnectionLost(f"the use of {self._database.path} was abandoned")
        return []

    def wake(self, sources: Iterable[int] = ()) -> None:
        """Something became available in these sources, or anywhere."""
        keys = {self._keys[source] for source in sources if source in self._keys}
        self._empty = {lane for lane in self._empty if lane.source not in keys} if keys else set()
        self._wakes += 1
        if self._waiting is None or self._paused or self._closed:
            self._gate.open()
            return
        try:  # a turn of the event loop sooner than by waking whoever waits to ask
            self._ask(*self._waiting)
        except TransportError:
            self._gate.open()

    def _take(self, limit: Mapping[Lane, int], most: Mapping[str, int]) -> list[Delivery]:
        """From the stash, as far as asked for."""
        found, self._stash = stash.split(self._stash, limit, most)
        return found

    def _ask(self, limit: Mapping[Lane, int], most: Mapping[str, int]) -> None:
        """Start a claim, unless one is on its way or nothing can be there."""
        if self._claiming is not None:
            return
        asked_for = [(lane, number, limit.get(lane, 0)) for lane, number in self._lanes if lane not in self._empty]
        wanted = [each for each in asked_for if each[2] > 0]
        if not wanted:
            return
        lanes = [(number, lane.level, count) for lane, number, count in wanted]
        bounds = {number: most[key] for number, key in self._keys.items() if key in most}
        item = Wanted(self.owner, lanes, self._sources, bounds)
        self._claiming = self._database.writer.start_doing(self._claim_work, [item])
        # A lane of a bounded source that gives less than asked for is not known to be empty.
        asked = {lane: count for lane, _, count in wanted if lane.source not in most}
        wakes = self._wakes
        self._claiming.add_done_callback(lambda future: self._claimed(future, asked, wakes))

    def _claimed(self, future: asyncio.Future[list[Claimed]], asked: dict[Lane, int], wakes: int) -> None:
        self._claiming = None
        if future.cancelled() or future.exception() is not None:
            self._wake_in(_RETRY)
            return
        claimed = future.result()[0]
        if claimed.owner != self.owner.id or self._closed:
            # Lost while it was on its way, or handed back by closing.
            self._gate.open()
            return
        now = self._database.clock.now()
        found = deliveries(claimed, self._keys, now)
        for delivery in found:
            if delivery.lane in asked:
                asked[delivery.lane] -= 1
            self._held[delivery.token.seq] = delivery
        if wakes == self._wakes:
            self._empty.update(lane for lane, left in asked.items() if left > 0)
        if claimed.next_due is not None:
            self._wake_in(max(claimed.next_due - now, 0.0) + 0.001)
        self._stash += found
        if self._paused:
            self._release_stash()
        elif found or wakes != self._wakes:
            self._gate.open()

    def _wake_in(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if not self._closed:
            self._timer = self._database.clock.call_later(seconds, self.wake)

    # Settling

    async def settle(self, outcomes: Sequence[tuple[Delivery, Outcome]]) -> Sequence[Settled]:
        mine = [self.let_go(delivery) for delivery, _ in outcomes]
        verdicts = [verdict(*pair) for pair, held in zip(outcomes, mine, strict=True) if held]
        try:
            done = iter(await self._database.do(self._settle_work, verdicts))
        except BaseException:
            for (delivery, _), held in zip(outcomes, mine, strict=True):
                if held:
                    self.hold(delivery)
            raise
        answers = [next(done) if held else Settled.LOST for held in mine]
        for (delivery, _), answer in zip(outcomes, answers, strict=True):
            if answer is Settled.FAILED:
                self.hold(delivery)
        return answers

    async def mark_start(self, deliveries: Sequence[Delivery]) -> Sequence[StartMark]:
        mine = [delivery for delivery in deliveries if self.holds(delivery)]
        marks = await self._database.do(self._mark_work, [delivery.token for delivery in mine])
        marked = {id(delivery) for delivery, mark in zip(mine, marks, strict=True) if mark is StartMark.MARKED}
        for delivery in mine:
            if id(delivery) in marked:
                delivery.starts += 1
                delivery.marked = True
        return [StartMark.MARKED if id(delivery) in marked else StartMark.LOST for delivery in deliveries]

    def holds(self, delivery: Delivery) -> bool:
        return self._held.get(delivery.token.seq) is delivery

    def let_go(self, delivery: Delivery) -> bool:
        """Forget a delivery that is about to be settled; False if it is not held."""
        if self.holds(delivery):
            del self._held[delivery.token.seq]
            return True
        return False

    def hold(self, delivery: Delivery) -> None:
        """Settling it did not work: it is still ours, unless it was lost meanwhile."""
        if delivery.token.owner == self.owner.id and not self._closed:
            self._held[delivery.token.seq] = delivery
        else:
            delivery.lose()

    def lost(self, owner: int) -> None:
        """Nothing is held under that number any more."""
        for delivery in [each for each in self._held.values() if each.token.owner == owner]:
            del self._held[delivery.token.seq]
            delivery.lose()
        self.wake()

    # Pausing and ending

    async def pause(self) -> None:
        if not self._paused and not self._closed:
            self._paused = True
            self._gate.open()
            self._release_stash()
            await self._set_active(False)

    async def resume(self) -> None:
        if self._paused and not self._closed:
            self._paused = False
            await self._set_active(True)
            self.wake()

    def close(self, *, dead: bool = False) -> None:
        """End intake and forget what is held; the caller hands it back in the file."""
        self._closed, self._dead = True, dead
        if self._timer is not None:
            self._timer.cancel()
        held, self._held = self._held, {}
        self.owner.marked = tuple(seq for seq, delivery in held.items() if delivery.marked)
        for delivery in held.values():
            delivery.lose()
        self._gate.open()

    def _release_stash(self) -> None:
        waiting, self._stash = self._stash, []
        mine = [verdict(delivery, RELEASE) for delivery in waiting if self.let_go(delivery)]
        if mine:
            self._database.writer.send(self._settle_work, mine)

    async def _set_active(self, active: bool) -> None:
        await self._database.do(
            Call(durable=False), [lambda tx: self._owners.set_active(tx, self.owner, active=active)]
        )
