"""What the servers know of the topology, as this process has read it."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple

import msgspec

from brokerkit.errors import TopologyConflict, TopologyError
from brokerkit.message import Outgoing
from brokerkit.topology import Router, Topology, implied, is_entry, start_time, to_store, union
from brokerkit.topology.suggestion import unknown_source
from brokerkit.transports.redis import keys as naming
from brokerkit.transports.redis import scripts
from brokerkit.transports.redis.compile import LogPlan, Plan, Target, compile_topology
from brokerkit.transports.redis.errors import Replied
from brokerkit.transports.redis.insisting import Insistent
from brokerkit.transports.redis.keys import Keys
from brokerkit.transports.redis.link import Argument

_log = logging.getLogger("brokerkit")

_encode = msgspec.json.encode
_decode = msgspec.json.Decoder(Topology).decode

Place = Target | LogPlan
_LAST = (1 << 64) - 1
"""No entry of a millisecond has a higher number."""


class Ways(NamedTuple):
    """Places of one message that one script reaches.

    Args:
        near: What keys begin with that lie beside them.
        places: The places.
    """

    near: str
    places: tuple[Place, ...]


class Routes:
    """The union of all apps' topologies, read again whenever a script finds that it has changed.

    Args:
        servers: The connections.
        keys: What keys are called.
        on_forgotten: Awaited when the servers had forgotten what this process declared.

    Attributes:
        plan: What the topology becomes here.
        epoch: Numbers the state of the topology that was read; it grows with each change.
        mine: What this process has declared, to be declared again should the servers forget it.
    """

    def __init__(self, servers: Insistent, keys: Keys, on_forgotten: Callable[[], Awaitable[None]]) -> None:
        self._servers, self._keys, self._on_forgotten = servers, keys, on_forgotten
        self.plan = Plan()
        self.epoch = "0"
        self.mine: dict[str, Topology] = {}
        self._fragments: dict[str, Topology] = {}
        self._router = Router(Topology("union"))
        self._ways: dict[tuple[str, ...], tuple[Ways, ...]] = {}
        self._straight: dict[str, tuple[Ways, ...]] = {}
        self._changing, self._restoring = asyncio.Lock(), asyncio.Lock()

    async def refresh(self) -> None:
        """Read what is declared."""
        async with self._changing:
            await self._read()

    async def renew(self, near: str) -> None:
        """A script there knows another state of the topology: read what is declared, and tell if that is no news."""
        before = self.epoch
        await self.restore()
        if self.epoch == before and near != self._keys.home:
            there = await self._raise(near)
            if int(there) > int(self.epoch):  # what is declared has been forgotten, and a clock was set back
                await self._servers.run(scripts.EPOCH, [naming.epoch(self._keys.home)], [there])
                await self.refresh()

    async def _raise(self, near: str) -> bytes:
        there: bytes = await self._servers.run(scripts.EPOCH, [naming.epoch(near)], [self.epoch])
        return there

    async def look(self) -> None:
        """Read what is declared, if it is not what we know."""
        if ((await self._servers.ask("GET", naming.epoch(self._keys.home))) or b"0").decode() != self.epoch:
            await self.restore()

    async def _read(self) -> None:
        # Two commands, but the epoch first: a change between them only makes the next script say so.
        epoch = await self._servers.ask("GET", naming.epoch(self._keys.home))
        fragments = await self._servers.ask("HGETALL", self._keys.topology)
        self._load((epoch or b"0").decode(), {name.decode(): _decode(text) for name, text in fragments.items()})

    def _load(self, epoch: str, fragments: dict[str, Topology]) -> None:
        topology = implied(union(fragments[name] for name in sorted(fragments)))
        self.plan = compile_topology(topology, self._keys)
        self._router = Router(topology)
        self._fragments, self.epoch = fragments, epoch
        self._ways, self._straight = {}, {}

    async def restore(self) -> None:
        """Read what is declared, and declare again what this process has declared if the servers have forgotten it."""
        async with self._restoring:
            await self.refresh()
            missing = [each for name, each in self.mine.items() if name not in self._fragments]
            for topology in missing:
                _log.error("Redis has forgotten the topology of %s: declaring it again", topology.name)
                await self.apply(topology)
            if missing:
                await self._on_forgotten()

    @property
    def fragments(self) -> dict[str, Topology]:
        """Each app's, as it was read."""
        return dict(self._fragments)

    def declared(self) -> Topology:
        """The union of all apps' fragments."""
        return union(self._fragments.values())

    def target(self, key: str) -> Target:
        """A queue or group. Raises ``TopologyError`` for one that nobody has declared."""
        found = self.plan.targets.get(key)
        if found is None:
            raise unknown_source(key, self.plan.targets)
        return found

    def ways(self, outgoing: Outgoing) -> tuple[Ways, ...]:
        """Where a message goes, one for each script that it takes; () for nowhere."""
        if not outgoing.exchange and (straight := self._straight.get(outgoing.routing_key)) is not None:
            return straight
        try:
            names = self._router.route(outgoing.exchange, outgoing.routing_key, outgoing.message.headers)
        except TopologyError:
            return ()
        ways = self._ways.get(names)
        if ways is None:
            ways = self._ways[names] = self._grouped(names)
        if ways and not outgoing.exchange:
            self._straight[outgoing.routing_key] = ways
        return ways

    def _grouped(self, names: tuple[str, ...]) -> tuple[Ways, ...]:
        grouped: dict[str, list[Place]] = {}
        for name in names:
            place: Place = self.plan.logs[name] if name in self.plan.logs else self.plan.targets[name]
            grouped.setdefault(place.near, []).append(place)
        return tuple(Ways(near, tuple(places)) for near, places in grouped.items())

    async def apply(self, topology: Topology) -> None:
        """Add a fragment, and create what is missing."""
        async with self._changing:
            while True:
                await self._read()
                mine = self._fragments.get(topology.name)
                topology = to_store(topology, self._fragments.values())
                merged = topology if mine is None else union([mine, topology], topology.name)
                others = {name: each for name, each in self._fragments.items() if name != topology.name}
                plan = compile_topology(implied(union([*others.values(), merged])), self._keys)
                self._refuse_change(plan)
                await self._create(plan)
                if await self._store(merged, changed=merged != (mine or Topology(topology.name))):
                    break
            before = self.mine.get(topology.name)
            self.mine[topology.name] = topology if before is None else union([before, topology], topology.name)
            await self._read()
            await self._announce()

    async def replace(self, fragments: Mapping[str, Topology], name: str, leaving: Mapping[str, bytes]) -> bool:
        """Keep another fragment of one app, or none any more; False if another state is known by now.

        Args:
            fragments: Those of all apps from now on.
            name: The app whose fragment is another.
            leaving: What is to be deleted or moved then, noted in the same step.
        """
        async with self._changing:
            await self._create(compile_topology(implied(union(fragments.values())), self._keys))
            fragment = _encode(fragments[name]) if name in fragments else b""
            keys: list[Argument] = [self._keys.topology, naming.epoch(self._keys.home), self._keys.leaving]
            args: list[Argument] = [self.epoch, name, fragment, len(leaving)]
            for field, record in leaving.items():
                args += (field, record)
            if await self._servers.run(scripts.SWAP, keys, args) == b"E":
                return False
            self.mine.pop(name, None)
            await self._read()
            await self._announce()
            return True

    async def _create(self, plan: Plan) -> None:
        """Create the groups that are missing, before anybody is told of what they belong to."""
        starts = {group.key: group.start for each in plan.logs.values() for group in each.groups}
        rows: dict[str, list[tuple[str, str, str]]] = {}
        for target in plan.targets.values():
            for read in target.all_reads:
                start = "0" if read.own else _first(starts[target.key])
                rows.setdefault(target.near, []).append((read.stream, read.group, start))
        for part in rows.values():
            args: list[Argument] = [len(part)]
            for _, group, start in part:
                args += (group, start)
            try:
                await self._servers.run(scripts.CREATE, [stream for stream, _, _ in part], args)
            except Replied as error:
                if error.code == "WRONGTYPE":
                    key = error.text.rpartition("(")[2].rstrip(")")
                    raise TopologyConflict(f"key {key}", "kind", "stream", "something else") from error
                raise

    async def _store(self, fragment: Topology, *, changed: bool) -> bool:
        keys: list[Argument] = [self._keys.topology, naming.epoch(self._keys.home)]
        args: list[Argument] = [self.epoch, fragment.name, _encode(fragment) if changed else b""]
        return bool(await self._servers.run(scripts.APPLY, keys, args) != b"E")

    async def _announce(self) -> None:
        """Tell wherever messages are published that publishers must know the topology as it is now."""
        for near in dict.fromkeys(target.near for target in self.plan.targets.values()):
            if near != self._keys.home:
                await self._raise(near)

    def _refuse_change(self, plan: Plan) -> None:
        """What ``union`` cannot see: a dead-letter queue that was implied so far, declared with other attributes."""
        for key, target in plan.targets.items():
            known = self.plan.targets.get(key)
            if known is None:
                continue
            for field in ("lanes", "max_length", "single_active", "base"):
                wanted, found = getattr(target, field), getattr(known, field)
                if wanted != found:
                    raise TopologyConflict(f"queue {key}", field, wanted, found)


def _first(start: str) -> str:
    """After which entry a group begins that begins there."""
    if is_entry(start):
        return start
    since = start_time(start)
    return "$" if since is None else f"{math.ceil(since * 1000) - 1}-{_LAST}" if since else "0"
