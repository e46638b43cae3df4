"""Planning on SQLite: one transaction compares and changes everything."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import msgspec

from brokerkit.errors import PlanOutdated
from brokerkit.planning.ability import Done
from brokerkit.planning.fragments import Descriptor, Key
from brokerkit.planning.lease import leased
from brokerkit.planning.stored import Holding, Obstacle, Swap
from brokerkit.topology import Topology
from brokerkit.transports.sqlite import sql
from brokerkit.transports.sqlite.compile import Target
from brokerkit.transports.sqlite.placing import decode
from brokerkit.transports.sqlite.transaction import Transaction, array

if TYPE_CHECKING:
    from brokerkit.transports.sqlite.broker import SqliteBroker

_LOCK = "topology"


class SqliteKeeper:
    """A ``Keeper``.

    Args:
        broker: The open file.
        name: The broker and its version.
    """

    def __init__(self, broker: SqliteBroker, name: str) -> None:
        self._broker = broker
        self.name = name

    async def fragments(self) -> Mapping[str, Topology]:
        return await self._broker.do(self._broker.routes.fragments)

    async def holding(self, key: Key) -> Holding:
        broker = self._broker
        await broker.do(broker.routes.refresh)
        number = broker.routes.ids.get(key[1]) if key[0] != "exchange" else None
        if number is None:
            return Holding()
        return await broker.database.ask(lambda connection: _holding(connection, number, key[0] == "log"))

    async def damaged(self) -> Collection[Key]:
        return ()

    async def leaving(self) -> Collection[Key]:
        return ()

    def obstacles(self, before: Mapping[Key, Descriptor], after: Mapping[Key, Descriptor]) -> Mapping[Key, Obstacle]:
        return {}

    @asynccontextmanager
    async def alone(self, seconds: float) -> AsyncIterator[None]:
        broker = self._broker

        async def take(owner: str, lease: float) -> bool:
            return await broker.do(lambda tx: bool(tx.run(sql.LEASE, _LOCK, owner, tx.now + lease, tx.now)))

        async with leased(take, broker.database.clock, seconds):
            yield

    async def swap(self, swap: Swap, done: Done) -> None:
        await self._broker.do(lambda tx: self._swap(tx, swap), durable=True)
        done(f"stored the topology of {swap.fragment.name}")

    def _swap(self, tx: Transaction, swap: Swap) -> None:
        routes = self._broker.routes
        if routes.fragments(tx) != swap.expected:
            raise PlanOutdated("somebody has declared something meanwhile")
        known = dict(routes.plan.targets)
        self._delete(tx, swap)
        if swap.fragments != swap.expected:
            self._broker.store_fragments(tx, swap.fragments, swap.fragment.name)
        for key, target in routes.plan.targets.items():
            if key in known and known[key].lanes != target.lanes:
                _change_lanes(tx, routes.ids[key], target)

    def _delete(self, tx: Transaction, swap: Swap) -> None:
        ids = self._broker.routes.ids
        numbers = {key: ids[key[1]] for key in swap.gone if key[0] != "exchange" and key[1] in ids}
        swap.check({key: _holding(tx.connection, number, key[0] == "log") for key, number in numbers.items()})
        for statement in sql.EMPTY_SOURCES:
            tx.run(statement, array(numbers.values()))


def _holding(connection: sqlite3.Connection, number: int, log: bool) -> Holding:
    counts = [
        connection.execute(query, (number,)).fetchall()
        for query in (sql.COUNT_READY, sql.COUNT_HELD, sql.COUNT_DELAYED)
    ]
    messages = sum(count for rows in counts for _, count in rows)
    if log:
        messages += connection.execute(sql.COUNT_LOG, (number,)).fetchone()[0]
    consumers = connection.execute(sql.COUNT_CONSUMERS, (time.monotonic(), number)).fetchone()[0]
    return Holding(messages, consumers)


def _change_lanes(tx: Transaction, number: int, target: Target) -> None:
    """Move what is there to the lane of its priority."""
    moved: dict[int, list[int]] = {}
    for seq, body in tx.connection.execute(sql.BODIES, (number,)):
        moved.setdefault(_lane(body, target), []).append(seq)
    for lane, rows in moved.items():
        tx.run(sql.SET_LANE, lane, array(rows))
    tx.woken.add(number)


def _lane(body: bytes, target: Target) -> int:
    try:
        return target.lane(decode(body).priority)
    except (msgspec.MsgspecError, ValueError):  # it will be delivered as what cannot be read
        return target.lane(0)
