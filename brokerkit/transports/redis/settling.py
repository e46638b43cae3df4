"""Settling: outcomes, with records and follow-ups, in one script call for a batch."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Sequence
from typing import NamedTuple

from hiredis import ReplyError

from brokerkit.abilities import Committed, Unit
from brokerkit.clock import Clock
from brokerkit.delivery import Delivery
from brokerkit.errors import TransportError
from brokerkit.message import Outgoing
from brokerkit.outcome import Ack, DeadLetter, Redeliver, Release
from brokerkit.records import TaskRecord, accepts, merged
from brokerkit.transport import Settled
from brokerkit.transports.redis import keys as naming
from brokerkit.transports.redis import scripts
from brokerkit.transports.redis.calls import Calls
from brokerkit.transports.redis.entries import Overlay, Story, encode_part
from brokerkit.transports.redis.errors import while_running
from brokerkit.transports.redis.holding import Seat, Token
from brokerkit.transports.redis.insisting import Insistent
from brokerkit.transports.redis.link import Argument
from brokerkit.transports.redis.packing import Packing, is_reply
from brokerkit.transports.redis.reports import RecordWriter, encode, stored
from brokerkit.transports.redis.routes import Place, Routes

_log = logging.getLogger("brokerkit")

AT_ONCE = 300
"""Units of one script call at most."""
_COMMITTED = {
    ord("d"): Committed.DONE,
    ord("l"): Committed.LOST,
    ord("f"): Committed.FAILED,
    ord("s"): Committed.STALE,
    ord("t"): Committed.TOO_LARGE,
    ord("u"): Committed.UNROUTABLE,
    ord("F"): Committed.FULL,
}
SETTLED = {Committed.DONE: Settled.DONE, Committed.LOST: Settled.LOST}
_MERGE = ord("m")


class _Merged(NamedTuple):
    """A record merged with what was stored, and the version that it was."""

    record: TaskRecord
    version: bytes


class Settling:
    """Settles batches.

    Args:
        servers: For reading records.
        calls: For calls that are carried out once.
        routes: The topology.
        records: For records.
        clock: For the time of death of dead letters.
        patience: Seconds until what a server has not answered counts as not done; None for as long as it takes, which
            what has follow-ups must be given.
    """

    def __init__(
        self,
        servers: Insistent,
        calls: Calls,
        routes: Routes,
        records: RecordWriter,
        clock: Clock,
        *,
        patience: float | None,
    ) -> None:
        self._servers, self._calls, self._routes = servers, calls, routes
        self._records, self._clock, self._patience = records, clock, patience

    async def settle(self, units: Sequence[Unit]) -> list[Committed]:
        """Carry out units whose deliveries are held, an answer per unit in order."""
        parts: dict[str, list[int]] = {}
        for at, unit in enumerate(units):
            parts.setdefault(unit.delivery.token.seat.target.near, []).append(at)
        if len(parts) == 1:
            return await self._settle_part(next(iter(parts)), units)
        mine = [[units[at] for at in numbers] for numbers in parts.values()]
        found = await asyncio.gather(*map(self._settle_or_fail, parts, mine))
        answers = {at: one for numbers, some in zip(parts.values(), found, strict=True)
                   for at, one in zip(numbers, some, strict=True)}  # fmt: skip
        return [answers[at] for at in range(len(units))]

    async def _settle_or_fail(self, near: str, units: Sequence[Unit]) -> list[Committed]:
        """One server's trouble is none of the others'."""
        try:
            return await self._settle_part(near, units)
        except (TransportError, TimeoutError) as error:
            return self._failed(units, error)

    async def _settle_part(self, near: str, units: Sequence[Unit]) -> list[Committed]:
        answers: list[Committed] = []
        for start in range(0, len(units), AT_ONCE):
            part = units[start : start + AT_ONCE]
            try:
                answers += await self._settle_some(near, part)
            except (TransportError, TimeoutError) as error:
                if not answers:
                    raise
                answers += self._failed(part, error)  # what is settled is not to be called in question
        return answers

    def _failed(self, units: Sequence[Unit], error: Exception) -> list[Committed]:
        _log.warning("%d messages could not be settled at Redis: %s", len(units), str(error) or "no answer")
        return [Committed.FAILED] * len(units)

    async def _settle_some(self, near: str, units: Sequence[Unit]) -> list[Committed]:
        answers: dict[int, Committed] = {}
        left = dict(enumerate(units))
        known: dict[str, _Merged | None] = {}
        while left:
            try:
                letters = await self._run(near, list(left.values()), known)
                for at, letter in zip(list(left), letters, strict=True):
                    if letter != _MERGE:
                        answers[at] = _COMMITTED[letter]
                        del left[at]
                if left:
                    known = await self._read([unit.record for unit in left.values() if unit.record is not None])
            except (TransportError, TimeoutError) as error:
                if not answers:
                    raise
                answers.update(zip(left, self._failed(list(left.values()), error), strict=True))
                break
        return [answers[at] for at in range(len(units))]

    async def _run(self, near: str, units: Sequence[Unit], known: dict[str, _Merged | None]) -> bytes:
        while True:
            batch = _Batch(near, self._routes, self._records, self._clock.now())
            for unit in units:
                batch.add(unit, known)
            answer: bytes = await self._calls.once(near, scripts.COMMIT, *batch.packed(), within=self._patience)
            if answer != b"E":
                letters, _, problem = answer.partition(b"\n")
                if problem:
                    where = self._servers.where
                    _log.error("not all could be settled: %s", while_running(where, ReplyError(problem.decode())))
                return letters
            await self._routes.renew(near)

    async def _read(self, records: Sequence[TaskRecord]) -> dict[str, _Merged | None]:
        """What is stored, merged with the new reports; None where that is stale or gone."""
        keys = [self._records.keys.record(record.id) for record in records]
        found: dict[str, _Merged | None] = {}
        for record, value in zip(records, await self._servers.ask("MGET", *keys), strict=True):
            if value is None or record.id in found:
                continue
            version, old = stored(value)
            if accepts(old.fence, old.stage, record.fence, record.stage):
                found[record.id] = _Merged(merged(old, record), version)
        return found


class _Batch:
    """The arguments of one call, in the order in which ``lua/commit.lua`` reads them."""

    def __init__(self, near: str, routes: Routes, records: RecordWriter, now: float) -> None:
        self._near, self._routes, self._records, self._now = near, routes, records, now
        self._packing = Packing(routes, records)
        self._seats: dict[tuple[int, str], int] = {}
        self._seat_keys: list[Argument] = []
        self._seat_args: list[Argument] = []
        self._keys: list[Argument] = []
        self._args: list[Argument] = []
        self._count = 0
        self._routed = False

    def packed(self) -> tuple[list[Argument], list[Argument]]:
        keys = [naming.epoch(self._near), *self._packing.target_keys, *self._seat_keys, *self._keys]
        epoch = self._routes.epoch if self._routed else ""
        targets = self._packing.targets
        args = [epoch, *targets, len(self._seats), *self._seat_args, self._count, *self._args]
        return keys, args

    def add(self, unit: Unit, known: dict[str, _Merged | None]) -> None:
        delivery = unit.delivery
        token: Token = delivery.token
        self._count += 1
        self._args += (self._seat(token.seat, token.owner), token.read + 1, token.entry, delivery.message.id)
        self._args.append("1" if delivery.starts else "")
        self._outcome(unit, token)
        record, version = unit.record, b""
        if record is not None and (fresh := known.get(record.id)) is not None:
            record, version = fresh
        self._records.add(record, self._keys, self._args, version)
        self._followups(unit)

    def _followups(self, unit: Unit) -> None:
        if not unit.followups:
            self._args += ("", 0)
            return
        self._routed = True
        ways = [self._packing.ways(outgoing, self._places(outgoing)) for outgoing in unit.followups]
        self._args.append(self._trouble(unit, ways))
        self._args.append(len(ways))
        for outgoing, way in zip(unit.followups, ways, strict=True):
            self._packing.add(outgoing, way, self._keys, self._args)

    def _places(self, outgoing: Outgoing) -> Sequence[Place]:
        """Where a follow-up goes; where these are sent in one step, all places lie together."""
        if is_reply(outgoing):
            return ()
        return [place for _, places in self._routes.ways(outgoing) for place in places]

    def _trouble(self, unit: Unit, ways: Sequence[Sequence[int]]) -> str:
        limit = self._records.retention.max_bytes
        if any(outgoing.record is not None and len(encode(outgoing.record)) > limit for outgoing in unit.followups):
            return "t"
        return "" if all(ways) else "u"

    def _seat(self, seat: Seat, owner: str) -> int:
        number = self._seats.get((id(seat), owner))
        if number is None:
            number = self._seats[id(seat), owner] = len(self._seats) + 1
            target = seat.target
            self._seat_keys += (target.leases, target.waiting, target.delayed, target.payloads)
            self._seat_keys += (target.index, target.starts)
            self._seat_args += (owner, int(target.single_active), len(seat.reads))
            for read in seat.reads:
                self._seat_keys.append(read.stream)
                self._seat_args += (read.group, int(read.own))
        return number

    def _outcome(self, unit: Unit, token: Token) -> None:
        delivery, outcome, level = unit.delivery, unit.outcome, unit.delivery.lane.level
        match outcome:
            case Ack():
                self._args.append("a")
            case Release():
                self._args += ("r", int(delivery.marked), max(0, delivery.deliveries - 1), level)
            case Redeliver():
                message = delivery.message
                expires = _own_expiry(delivery)
                overlay = Overlay(message.run, outcome.attempt, outcome.postponed, expires)
                back = token.seat.read_number(level, 0) + 1
                self._args += ("R", math.ceil(max(0.0, outcome.after) * 1000), encode_part(overlay), back, level)
            case DeadLetter():
                self._bury(delivery, outcome, token)

    def _bury(self, delivery: Delivery, outcome: DeadLetter, token: Token) -> None:
        target = token.seat.target
        grave = self._routes.plan.targets.get(target.dead_letter or "")
        if grave is None:
            self._args += ("d", 0, 0, "", "")
            return
        self._routed = True
        story = Story(target.key, outcome.reason.value, outcome.error, delivery.deliveries, self._now)
        ends = "" if target.dead_ttl is None else int(target.dead_ttl * 1000)
        lane = grave.lane(delivery.message.priority)
        self._args += ("d", self._packing.number(grave), lane, encode_part(story), ends)


def _own_expiry(delivery: Delivery) -> float | None:
    """The message's own expiry: that of its queue begins anew with each attempt."""
    token: Token = delivery.token
    return delivery.message.expires if token.seat.target.ttl is None else token.expires
