"""Planning on Redis: one script changes what is declared and notes what is to be deleted or moved; that follows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import msgspec

from brokerkit.clock import Clock
from brokerkit.errors import DataAtRisk, PlanOutdated, PlanRefused
from brokerkit.planning.ability import Done
from brokerkit.planning.fragments import Descriptor, Key
from brokerkit.planning.lease import leased
from brokerkit.planning.stored import Holding, Obstacle, Swap
from brokerkit.topology import Exchange, Group, Log, Queue, Topology
from brokerkit.transports.redis import scripts
from brokerkit.transports.redis.compile import QUEUE_GROUP, LogPlan, Plan, Target, compile_topology
from brokerkit.transports.redis.errors import Replied
from brokerkit.transports.redis.link import Argument

if TYPE_CHECKING:
    from brokerkit.transports.redis.broker import RedisBroker

_AT_ONCE = 200
"""Entries moved in one step."""


class Leaving(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be deleted or moved.

    Args:
        key: What it was known by.
        target: A queue or group, as it was.
        log: Or a log.
        lanes: The lanes that it keeps; 0 when all of it is to be deleted.
    """

    key: Key
    target: Target | None = None
    log: LogPlan | None = None
    lanes: int = 0


_encode = msgspec.json.encode
_decode = msgspec.json.Decoder(Leaving).decode


class RedisKeeper:
    """A ``Keeper``.

    Args:
        broker: The connected servers.
        name: The broker and its version.
        clock: The time.
    """

    def __init__(self, broker: RedisBroker, name: str, clock: Clock) -> None:
        self._broker, self._clock = broker, clock
        self.name = name

    async def fragments(self) -> Mapping[str, Topology]:
        await self._broker.routes.refresh()
        return self._broker.routes.fragments

    async def holding(self, key: Key) -> Holding:
        plan, (kind, name) = self._broker.routes.plan, key
        place = plan.logs.get(name) if kind == "log" else plan.targets.get(name) if kind in ("queue", "group") else None
        if place is None:
            record = (await self._leaving()).get(key)
            if record is None or record.lanes:
                return Holding()
            place = record.target or record.log
            assert place is not None
        keys, args = _described(place)
        messages, consumers = await self._broker.asking.run(scripts.HOLD, keys, args)
        return Holding(int(messages), int(consumers))

    async def damaged(self) -> Collection[Key]:
        plan = self._broker.routes.plan
        found = await asyncio.gather(*map(self._is_whole, plan.targets.values()))
        return [_key(each) for each, whole in zip(plan.targets.values(), found, strict=True) if not whole]

    async def _is_whole(self, target: Target) -> bool:
        for read in target.all_reads:
            try:
                groups = await self._broker.asking.ask("XINFO", "GROUPS", read.stream)
            except Replied as error:
                if error.code == "ERR":  # no such key
                    return False
                raise
            if read.group.encode() not in [name for group in groups for name in _named(group)]:
                return False
        return True

    async def leaving(self) -> Collection[Key]:
        return [key for key, record in (await self._leaving()).items() if not record.lanes]

    async def _leaving(self) -> dict[Key, Leaving]:
        broker = self._broker
        found = await broker.asking.ask("HVALS", broker.keys.leaving)
        return {record.key: record for record in map(_decode, found)}

    def obstacles(self, before: Mapping[Key, Descriptor], after: Mapping[Key, Descriptor]) -> Mapping[Key, Obstacle]:
        old, new = self._compiled(before), self._compiled(after)
        found: dict[Key, Obstacle] = {}
        for name, target in new.targets.items():
            known = old.targets.get(name)
            if known is not None and known.base != target.base:
                found[_key(target)] = Obstacle("its keys have another hash tag then", movable=False)
            elif known is not None and known.lanes > target.lanes:
                found[_key(target)] = Obstacle("workers that run would go on using the lanes it loses", movable=True)
        for name, log in new.logs.items():
            if (was := old.logs.get(name)) is not None and was.base != log.base:
                found["log", name] = Obstacle("its keys have another hash tag then", movable=False)
        return found

    def _compiled(self, descriptors: Mapping[Key, Descriptor]) -> Plan:
        found: dict[type, list[Any]] = {Exchange: [], Queue: [], Log: [], Group: []}
        for each in descriptors.values():
            found[type(each)].append(each)
        whole = Topology("union", found[Exchange], found[Queue], found[Log], found[Group])
        return compile_topology(whole, self._broker.keys)

    @asynccontextmanager
    async def alone(self, seconds: float) -> AsyncIterator[None]:
        servers, key = self._broker.asking, self._broker.keys.planning

        async def take(owner: str, lease: float) -> bool:
            return bool(await servers.run(scripts.LEASE, [key], [owner, int(lease * 1000)]))

        async with leased(take, self._clock, seconds):
            yield

    async def swap(self, swap: Swap, done: Done) -> None:
        broker = self._broker
        if broker.routes.fragments != swap.expected:
            raise PlanOutdated("somebody has declared something meanwhile")
        records = list(_records(self._compiled(swap.before), self._compiled(swap.after)))
        leaving = {" ".join(record.key): _encode(record) for record in records}
        if not await broker.routes.replace(swap.fragments, swap.fragment.name, leaving):
            raise PlanOutdated("somebody has declared something meanwhile")
        broker.tend()
        done(f"stored the topology of {swap.fragment.name}")
        left = swap.allow_loss
        for record in (await self._leaving()).values():
            left -= await (self._move(record) if record.lanes else self._drop(record, left))
            await broker.asking.ask("HDEL", broker.keys.leaving, " ".join(record.key))
            done(f"{'moved the lanes of' if record.lanes else 'deleted'} {' '.join(record.key)}")

    async def _drop(self, record: Leaving, allow_loss: int) -> int:
        """Delete a place; returns how many messages that was."""
        place = record.target or record.log
        assert place is not None
        keys, (group, *rest) = _described(place)
        keys += _others(place)
        messages, consumers, gone = await self._broker.asking.run(scripts.DROP, keys, [group, allow_loss, *rest])
        name = " ".join(record.key)
        if not gone and consumers:
            raise PlanRefused(f"{name} is still read by {consumers} consumers; stop them, then apply again")
        if not gone:
            raise DataAtRisk(f"{messages} in {name}", int(messages), allow_loss)
        return int(messages)

    async def _move(self, record: Leaving) -> int:
        """Move what is in lanes that are no more; nothing is lost."""
        target = record.target
        assert target is not None
        keys: list[Argument] = [target.index, target.delayed, target.payloads, target.waiting, target.starts]
        keys += map(target.stream, range(target.lanes))
        args: list[Argument] = [QUEUE_GROUP, record.lanes, target.lanes, _AT_ONCE]
        while True:
            moved, held = await self._broker.asking.run(scripts.RELANE, keys, args)
            if held:
                raise PlanRefused(f"{held} messages in lanes of {target.key} are being worked on; apply again then")
            if not moved:
                for level in range(record.lanes, target.lanes):
                    await self._broker.asking.ask("DEL", target.stream(level))
                return 0


def _records(before: Plan, after: Plan) -> Iterator[Leaving]:
    """What has to be deleted or moved from one plan to the next."""
    for name, target in before.targets.items():
        new = after.targets.get(name)
        if new is None or new.base != target.base:
            yield Leaving(key=_key(target), target=target)
        elif new.lanes < target.lanes:
            yield Leaving(key=_key(target), target=target, lanes=new.lanes)
    for name, log in before.logs.items():
        if name not in after.logs or after.logs[name].base != log.base:
            yield Leaving(key=("log", name), log=log)


def _key(target: Target) -> Key:
    return ("group" if target.log else "queue"), target.key


def _described(place: Target | LogPlan) -> tuple[list[Argument], list[Argument]]:
    """Keys and arguments of ``hold.lua``."""
    if isinstance(place, LogPlan):
        return [f"{place.base}:leases", place.delayed, place.stream], ["", 1]
    streams = [place.stream(level) for level in range(place.lanes)]
    log: list[Argument] = [place.log_stream] if place.log else []
    return [place.leases, place.delayed, *streams, *log], [place.group, place.lanes]


def _others(place: Target | LogPlan) -> list[Argument]:
    """The rest of its keys."""
    if isinstance(place, LogPlan):
        return [place.payloads, place.index, place.meta]
    return [place.payloads, place.waiting, place.index, place.starts, place.active]


def _named(group: Any) -> list[bytes]:
    """The name in what the server says of a group."""
    pairs = group.items() if isinstance(group, dict) else zip(group[::2], group[1::2], strict=True)
    return [value for name, value in pairs if name == b"name"]
