"""Putting messages where they are routed: queues, logs and their groups, inboxes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import msgspec

from brokerkit.message import Message, Outgoing
from brokerkit.transport import INBOX_PREFIX, Published
from brokerkit.transports.sqlite import sql
from brokerkit.transports.sqlite.compile import LogPlan, Target
from brokerkit.transports.sqlite.retention import trim
from brokerkit.transports.sqlite.routes import Room, Routes
from brokerkit.transports.sqlite.transaction import Transaction, array

encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder(Message).decode


class Parcel(NamedTuple):
    """A message with its encoded form."""

    outgoing: Outgoing
    body: bytes


def parcel(outgoing: Outgoing) -> Parcel:
    """Encode a message; done on the event loop, so that the writer's thread has less to do."""
    return Parcel(outgoing, encode(outgoing.message))


def is_reply(outgoing: Outgoing) -> bool:
    """Whether it goes to an inbox."""
    return not outgoing.exchange and outgoing.routing_key.startswith(INBOX_PREFIX)


class Placing:
    """Collects what a batch publishes, then writes it in few steps."""

    def __init__(self, tx: Transaction, routes: Routes, room: Room) -> None:
        routes.refresh(tx)
        self._tx, self._routes, self._room = tx, routes, room
        self._at = routes.stamp(tx)
        self._messages: list[tuple[Any, ...]] = []
        self._entries: list[tuple[Any, ...]] = []
        self._replies: list[tuple[Any, ...]] = []
        self._inboxes: dict[str, int] = {}
        self._logs: dict[str, LogPlan] = {}

    def look_up(self, parcels: Iterable[Parcel]) -> None:
        """Find the inboxes that replies are for."""
        addresses = {each.outgoing.routing_key for each in parcels if is_reply(each.outgoing)}
        if addresses:
            self._inboxes.update(self._tx.connection.execute(sql.INBOXES, (array(addresses),)).fetchall())

    def reserve(self, parcels: Sequence[Parcel]) -> Published:
        """Whether all would be accepted together, and if so keep their room for them."""
        mark = self._room.mark() if len(parcels) > 1 else None
        for each in parcels:
            answer = self._reserve(each)
            if answer is not Published.CONFIRMED:
                if mark is not None:
                    self._room.back(mark)
                return answer
        return Published.CONFIRMED

    def add(self, parcel: Parcel) -> None:
        """Place what ``reserve`` has confirmed."""
        if is_reply(parcel.outgoing):
            owner = self._inboxes[parcel.outgoing.routing_key]
            self._replies.append((owner, parcel.body))
            self._tx.inboxes.add(owner)
            return
        for name in self._routes.route(parcel.outgoing):
            log = self._routes.plan.logs.get(name)
            if log is None:
                self._add_message(self._routes.plan.targets[name], parcel.outgoing.message, parcel.body)
            else:
                self.add_entry(log, parcel.outgoing.message, parcel.body)

    def add_entry(self, plan: LogPlan, message: Message, body: bytes) -> None:
        """Append to a log, or leave it to be appended when it is due."""
        source = self._routes.ids[plan.log.name]
        if message.due is not None and message.due > self._tx.now:
            self._messages.append((source, 0, message.id, message.due, None, self._tx.now, body))
            self._tx.woken.update(self._routes.ids[group.key] for group in plan.groups)
            return
        if plan.log.history:
            self._entries.append((source, self._tx.now, message.id, body))
        for group in plan.groups:
            self._add_message(self._routes.plan.targets[group.key], message, body)
        if plan.retained:
            self._logs[plan.log.name] = plan

    def write(self) -> None:
        """Insert all."""
        self._tx.insert(sql.INSERT_MESSAGES, self._messages)
        self._tx.insert(sql.INSERT_LOG, self._entries)
        self._tx.insert(sql.INSERT_REPLIES, self._replies)
        for plan in self._logs.values():
            trim(self._tx, self._routes, plan)

    def _reserve(self, parcel: Parcel) -> Published:
        if is_reply(parcel.outgoing):
            return Published.CONFIRMED if parcel.outgoing.routing_key in self._inboxes else Published.UNROUTABLE
        names = self._routes.route(parcel.outgoing)
        if not names:
            return Published.UNROUTABLE
        if not all(map(self._takes, names)):
            return Published.FULL
        for name in names:
            self._count(name, len(parcel.body))
        return Published.CONFIRMED

    def _takes(self, name: str) -> bool:
        log = self._routes.plan.logs.get(name)
        if log is None:
            return self._room.takes(self._routes.ids[name], self._routes.plan.targets[name].max_length)
        if not log.log.hold_for_groups:
            return True
        limits = log.log.max_length, log.log.max_bytes
        return all(self._room.takes(self._routes.ids[group.key], *limits) for group in log.groups)

    def _count(self, name: str, size: int) -> None:
        log = self._routes.plan.logs.get(name)
        for key in (name,) if log is None else [group.key for group in log.groups]:
            self._room.add(self._routes.ids[key], 1, size)

    def _add_message(self, target: Target, message: Message, body: bytes) -> None:
        source, now, at = self._routes.ids[target.key], self._tx.now, self._at
        due = message.due if message.due is not None and message.due > now else None
        expires = None if target.ttl is None else (due or now) + target.ttl
        self._messages.append((source, target.lane(message.priority), message.id, due, expires, at, body))
        self._tx.woken.add(source)
