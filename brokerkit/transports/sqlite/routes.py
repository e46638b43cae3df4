"""What the file knows of the topology, as the writer's thread sees it."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from brokerkit.errors import TopologyError
from brokerkit.message import Outgoing
from brokerkit.topology import Router, Topology, implied, union
from brokerkit.transports.sqlite import schema, sql
from brokerkit.transports.sqlite.compile import Plan, Target, compile_topology
from brokerkit.transports.sqlite.transaction import Transaction

_encode = msgspec.json.encode
_decode = msgspec.json.Decoder(Topology).decode


class Routes:
    """The union of all apps' topologies, read again whenever one has changed.

    Attributes:
        plan: What the topology becomes here.
        ids: The number of each source, by its key.
        keys: The key of each source, by its number.
        newest_owner: The highest owner's id seen; a higher one means that somebody new listens.
    """

    def __init__(self) -> None:
        self.plan = Plan({}, {})
        self.ids: dict[str, int] = {}
        self.keys: dict[int, str] = {}
        self.newest_owner = 0
        self.single: frozenset[str] = frozenset()
        self._router = Router(Topology("union"))
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

    def route(self, outgoing: Outgoing) -> tuple[str, ...]:
        """The queues and logs a message reaches, () for none."""
        try:
            return self._router.route(outgoing.exchange, outgoing.routing_key, outgoing.message.headers)
        except TopologyError:
            return ()

    def target(self, source: int) -> Target:
        """The queue or group of that number."""
        return self.plan.targets[self.keys[source]]

    def apply(self, tx: Transaction, topology: Topology) -> list[str]:
        """Add a fragment; returns the groups that are new."""
        self.refresh(tx)
        fragments = {fragment.name: fragment for fragment in self._fragments(tx)}
        mine = fragments.pop(topology.name, None)
        known = set(self.plan.targets)
        merged = topology if mine is None else union([mine, topology], topology.name)
        everything = [*fragments.values(), merged]
        self._check_limits(union(everything))
        if merged != mine:
            tx.run(sql.PUT_FRAGMENT, topology.name, _encode(merged))
            tx.run(sql.NEXT_TOPOLOGY)
            self._load(tx, everything)
            self._add_sources(tx)
            self._version = -1
            self._fresh_in = None
        return [key for plan in self.plan.logs.values() for g in plan.groups if (key := g.key) not in known]

    def declared(self, tx: Transaction) -> Topology:
        """The union of all apps' fragments."""
        return union(self._fragments(tx))

    def _fragments(self, tx: Transaction) -> list[Topology]:
        return [_decode(body) for (body,) in tx.connection.execute(sql.FRAGMENTS)]

    def _check_limits(self, topology: Topology) -> None:
        """Declared dead-letter queues must agree with what their owners ask for."""
        implied(topology)

    def _load(self, tx: Transaction, fragments: Sequence[Topology]) -> None:
        topology = implied(union(fragments))
        self.plan = compile_topology(topology)
        self._router = Router(topology)
        self.single = self.plan.single
        self._number(tx)

    def _number(self, tx: Transaction) -> None:
        self.ids = dict(tx.connection.execute(sql.SOURCES).fetchall())
        self.keys = {number: key for key, number in self.ids.items()}

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
