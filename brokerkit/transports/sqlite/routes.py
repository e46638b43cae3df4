"""What the file knows of the topology, as the writer's thread sees it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec

from brokerkit.errors import TopologyError
from brokerkit.message import Outgoing
from brokerkit.topology import Router, Topology, implied, to_store, union
from brokerkit.transports.sqlite import schema, sql
from brokerkit.transports.sqlite.compile import LogPlan, Plan, Target, compile_topology
from brokerkit.transports.sqlite.transaction import Transaction

_encode = msgspec.json.encode
_decode = msgspec.json.Decoder(Topology).decode


Line = tuple[int, int, float | None, float | None]
"""What some messages have in common: their source and lane, when they are due, when they expire."""


class Way(NamedTuple):
    """Where messages of one route go.

    Args:
        queues: The queues, with their numbers.
        logs: The logs.
        bounded: Whether one of them may be full.
        inbox: The number of the inbox's owner, for replies; then there is nothing else.
        line: Where all of its messages that are not delayed stand, if that is one place for all.
    """

    queues: tuple[tuple[int, Target], ...] = ()
    logs: tuple[LogPlan, ...] = ()
    bounded: bool = False
    inbox: int | None = None
    line: Line | None = None


class Routes:
    """The union of all apps' topologies, read again whenever one has changed.

    Attributes:
        plan: What the topology becomes here.
        ids: The number of each source, by its key.
        keys: The key of each source, by its number.
        straight: Ways through the default exchange, by queue, as far as they have been used.
        newest_owner: The highest owner's id seen; a higher one means that somebody new listens.
    """

    def __init__(self) -> None:
        self.plan = Plan({}, {})
        self.ids: dict[str, int] = {}
        self.keys: dict[int, str] = {}
        self.newest_owner = 0
        self.single: frozenset[str] = frozenset()
        self._router = Router(Topology("union"))
        self._ways: dict[tuple[str, ...], Way] = {}
        self.straight: dict[str, Way] = {}
        self._version = 0
        self._latest = 0.0
        self._fresh_in: Transaction | None = None

    def refresh(self, tx: Transaction) -> None:
        """Once per transaction: see what other processes have declared."""
        if self._fresh_in is tx:
            return
        version, owner = tx.row(sql.STATE)
        self.newest_owner = owner or 0
        if version != self._version:
            self._load(tx, [_decode(body) for (body,) in tx.connection.execute(sql.FRAGMENTS)])
            # A rollback takes an apply back, and then the version that is stored is lower again.
            self._version = version
        self._fresh_in = tx

    def stamp(self, tx: Transaction) -> float:
        """When a message becomes available: now, but never before an earlier one, even if the clock is set back."""
        self._latest = max(self._latest, tx.now)
        return self._latest

    def way(self, outgoing: Outgoing) -> Way | None:
        """Where a message goes; None if nowhere."""
        try:
            names = self._router.route(outgoing.exchange, outgoing.routing_key, outgoing.message.headers)
        except TopologyError:
            return None
        if not names:
            return None
        way = self._ways.get(names) or self._ways.setdefault(names, self._way(names))
        if not outgoing.exchange:
            self.straight[outgoing.routing_key] = way
        return way

    def target(self, source: int) -> Target:
        """The queue or group of that number."""
        return self.plan.targets[self.keys[source]]

    def apply(self, tx: Transaction, topology: Topology) -> list[str]:
        """Add a fragment; returns the groups that are new."""
        self.refresh(tx)
        fragments = self.fragments(tx)
        topology = to_store(topology, fragments.values())
        mine = fragments.pop(topology.name, None)
        known = set(self.plan.targets)
        merged = topology if mine is None else union([mine, topology], topology.name)
        everything = [*fragments.values(), merged]
        self._check_limits(union(everything))
        if merged != (mine or Topology(topology.name)):
            tx.run(sql.PUT_FRAGMENT, topology.name, _encode(merged))
            self._changed(tx, everything)
        return [key for plan in self.plan.logs.values() for g in plan.groups if (key := g.key) not in known]

    def replace(self, tx: Transaction, fragments: Mapping[str, Topology], name: str) -> list[str]:
        """Keep another fragment of one app, or none any more; returns the groups that are new.

        Args:
            tx: The transaction.
            fragments: Those of all apps from now on.
            name: The app whose fragment is another.
        """
        self.refresh(tx)
        known = set(self.plan.targets)
        if name in fragments:
            tx.run(sql.PUT_FRAGMENT, name, _encode(fragments[name]))
        else:
            tx.run(sql.DROP_FRAGMENT, name)
        self._changed(tx, [*fragments.values()])
        return [key for plan in self.plan.logs.values() for g in plan.groups if (key := g.key) not in known]

    def _changed(self, tx: Transaction, fragments: Sequence[Topology]) -> None:
        tx.run(sql.NEXT_TOPOLOGY)
        self._load(tx, fragments)
        self._add_sources(tx)
        self._version = -1
        self._fresh_in = None

    def declared(self, tx: Transaction) -> Topology:
        """The union of all apps' fragments."""
        return union(self.fragments(tx).values())

    def fragments(self, tx: Transaction) -> dict[str, Topology]:
        """Those of all apps."""
        found = [_decode(body) for (body,) in tx.connection.execute(sql.FRAGMENTS)]
        return {fragment.name: fragment for fragment in found}

    def _check_limits(self, topology: Topology) -> None:
        """Declared dead-letter queues must agree with what their owners ask for."""
        implied(topology)

    def _way(self, names: Sequence[str]) -> Way:
        plan = self.plan
        logs = tuple(plan.logs[name] for name in names if name in plan.logs)
        queues = tuple((self.ids[name], plan.targets[name]) for name in names if name not in plan.logs)
        bounded = any(target.max_length is not None for _, target in queues) or any(
            each.log.hold_for_groups for each in logs
        )
        plain = not logs and len(queues) == 1 and queues[0][1].lanes == 1 and queues[0][1].ttl is None
        return Way(queues, logs, bounded, line=(queues[0][0], 0, None, None) if plain else None)

    def _load(self, tx: Transaction, fragments: Sequence[Topology]) -> None:
        topology = implied(union(fragments))
        self.plan = compile_topology(topology)
        self._router = Router(topology)
        self.single = self.plan.single
        self._number(tx)

    def _number(self, tx: Transaction) -> None:
        self.ids = dict(tx.connection.execute(sql.SOURCES).fetchall())
        self.keys = {number: key for key, number in self.ids.items()}
        self.straight, self._ways = {}, {}

    def _add_sources(self, tx: Transaction) -> None:
        for key in self.plan.keys:
            if key not in self.ids:
                tx.run(sql.ADD_SOURCE, key)
        self._number(tx)
        counted = self.plan.counted
        for statement in schema.statements(schema.COUNTERS) if counted else ():
            tx.run(statement)
        for key in counted:
            tx.run(sql.ADD_BOUND, self.ids[key])


class Room:
    """How much each limited source still takes, within one batch."""

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx
        self._stored: dict[int, tuple[int, int]] = {}
        self._added: dict[int, tuple[int, int]] = {}

    def takes(self, source: int, max_length: int | None, max_bytes: int | None = None) -> bool:
        """Whether one more message is within the limits."""
        if max_length is None and max_bytes is None:
            return True
        if source not in self._stored:
            self._stored[source] = self._tx.row(sql.BOUND, source) or (0, 0)
        length, size = map(sum, zip(self._stored[source], self._added.get(source, (0, 0)), strict=True))
        return (max_length is None or length < max_length) and (max_bytes is None or size < max_bytes)

    def add(self, source: int, count: int = 1, size: int = 0) -> None:
        """Count messages that will be there, or with a negative count will not."""
        before = self._added.get(source, (0, 0))
        self._added[source] = (before[0] + count, before[1] + size)

    def mark(self) -> dict[int, tuple[int, int]]:
        """What was counted until now, for ``back``."""
        return self._added.copy()

    def back(self, mark: dict[int, tuple[int, int]]) -> None:
        """Undo what was counted since."""
        self._added = mark
