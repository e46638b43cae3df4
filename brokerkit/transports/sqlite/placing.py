"""Putting messages where they are routed: queues, logs and their groups, inboxes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from brokerkit.message import Message, Outgoing
from brokerkit.transport import INBOX_PREFIX, Published
from brokerkit.transports.sqlite import sql
from brokerkit.transports.sqlite.compile import LogPlan, Target
from brokerkit.transports.sqlite.retention import trim
from brokerkit.transports.sqlite.routes import Line, Room, Routes, Way
from brokerkit.transports.sqlite.transaction import Transaction, array

encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder(Message).decode


Parcel = tuple[Outgoing, bytes]
"""A message with its encoded form."""
_FEW_LINES = 4
"""Up to so many lines are written one by one."""


def parcels(messages: Sequence[Outgoing]) -> list[Parcel]:
    """Encode messages; done on the event loop, so that the writer's thread has less to do."""
    return [(outgoing, encode(outgoing.message)) for outgoing in messages]


def is_reply(outgoing: Outgoing) -> bool:
    """Whether it goes to an inbox."""
    return not outgoing.exchange and outgoing.routing_key.startswith(INBOX_PREFIX)


class Placing:
    """Collects what a batch publishes, then writes it in few steps."""

    def __init__(self, tx: Transaction, routes: Routes, room: Room) -> None:
        routes.refresh(tx)
        self._tx, self._routes, self._room = tx, routes, room
        self._at = routes.stamp(tx)
        self._lines: dict[Line, list[Any]] = {}
        self._entries: list[tuple[Any, ...]] = []
        self._replies: list[tuple[Any, ...]] = []
        self._inboxes: dict[str, Way] = {}
        self._logs: dict[str, LogPlan] = {}

    def look_up(self, parcels: Iterable[Parcel]) -> None:
        """Find the inboxes that replies are for."""
        straight = {outgoing.routing_key for outgoing, _ in parcels if not outgoing.exchange}
        addresses = [key for key in straight if key.startswith(INBOX_PREFIX)]
        if addresses:
            found = self._tx.connection.execute(sql.INBOXES, (array(addresses),)).fetchall()
            self._inboxes.update((address, Way(inbox=owner)) for address, owner in found)

    def way(self, outgoing: Outgoing) -> Way | None:
        """Where it goes; None if nothing takes it."""
        if not outgoing.exchange:
            straight = self._routes.straight.get(outgoing.routing_key)
            if straight is not None or is_reply(outgoing):
                return straight or self._inboxes.get(outgoing.routing_key)
        return self._routes.way(outgoing)

    def reserve(self, way: Way, size: int) -> bool:
        """Whether one more of so many bytes would be accepted, and if so keep its room."""
        if way.bounded:
            if not all(self._room.takes(source, target.max_length) for source, target in way.queues):
                return False
            if not all(map(self._log_takes, way.logs)):
                return False
            for source, _ in way.queues:
                self._room.add(source, 1, size)
            for plan in way.logs:
                for group in plan.groups:
                    self._room.add(self._routes.ids[group.key], 1, size)
        return True

    def reserve_all(self, parcels: Sequence[Parcel]) -> Published:
        """Whether all would be accepted together, and if so keep their room for them."""
        mark = self._room.mark()
        for outgoing, body in parcels:
            way = self.way(outgoing)
            if way is None or not self.reserve(way, len(body)):
                self._room.back(mark)
                return Published.UNROUTABLE if way is None else Published.FULL
        return Published.CONFIRMED

    def add(self, way: Way, message: Message, body: bytes) -> None:
        """Place what has been accepted."""
        if way.line is not None and message.due is None:
            self._put(way.line, message.id, body)
            return
        for source, target in way.queues:
            self._add_message(source, target, message, body)
        for log in way.logs:
            self.add_entry(log, message, body)
        if way.inbox is not None:
            self._replies.append((way.inbox, body))
            self._tx.inboxes.add(way.inbox)

    def add_entry(self, plan: LogPlan, message: Message, body: bytes) -> None:
        """Append to a log, or leave it to be appended when it is due."""
        source = self._routes.ids[plan.log.name]
        if message.due is not None and message.due > self._tx.now:
            self._put((source, 0, message.due, None), message.id, body)
            self._tx.woken.update(self._routes.ids[group.key] for group in plan.groups)
            return
        if plan.log.history:
            self._entries.append((source, self._tx.now, message.id, body))
        for group in plan.groups:
            self._add_message(self._routes.ids[group.key], self._routes.plan.targets[group.key], message, body)
        if plan.retained:
            self._logs[plan.log.name] = plan

    def write(self) -> None:
        """Insert all."""
        self._write_lines()
        self._tx.insert(sql.INSERT_LOG, self._entries)
        self._tx.insert(sql.INSERT_REPLIES, self._replies)
        for plan in self._logs.values():
            trim(self._tx, self._routes, plan)

    def _write_lines(self) -> None:
        """Insert the messages. Values common to a line are handed over once, but many short lines take fewer steps
        together."""
        at = self._at
        self._tx.woken.update(line[0] for line in self._lines)
        if len(self._lines) <= _FEW_LINES:
            for line, rest in self._lines.items():
                self._tx.insert_alike(sql.INSERT_MESSAGES, (*line, at), rest, 7)
            return
        rows = [
            (*line, at, *pair) for line, rest in self._lines.items() for pair in zip(rest[::2], rest[1::2], strict=True)
        ]
        self._tx.insert(sql.INSERT_MESSAGES, rows)

    def _log_takes(self, plan: LogPlan) -> bool:
        if not plan.log.hold_for_groups:
            return True
        limits = plan.log.max_length, plan.log.max_bytes
        return all(self._room.takes(self._routes.ids[group.key], *limits) for group in plan.groups)

    def _add_message(self, source: int, target: Target, message: Message, body: bytes) -> None:
        now, due = self._tx.now, message.due
        if due is not None and due <= now:
            due = None
        expires = None if target.ttl is None else (due or now) + target.ttl
        lane = target.lane(message.priority) if target.lanes > 1 else 0
        self._put((source, lane, due, expires), message.id, body)

    def _put(self, line: Line, message_id: str, body: bytes) -> None:
        rest = self._lines.get(line)
        if rest is None:
            rest = self._lines[line] = []
        rest += (message_id, body)
