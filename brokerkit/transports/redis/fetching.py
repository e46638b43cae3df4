"""Asking for what is ready, and reading the answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from brokerkit.delivery import Delivery, Flag, Lane
from brokerkit.transports.redis.entries import added, read
from brokerkit.transports.redis.holding import Seat, Token
from brokerkit.transports.redis.link import Argument


class Wanted(NamedTuple):
    """What is asked for.

    Args:
        seats: The sources.
        limit: How many of each lane.
        most: How many of a source altogether, by its key.
    """

    seats: Sequence[Seat]
    limit: Mapping[Lane, int]
    most: Mapping[str, int]


class Fetched(NamedTuple):
    """What came.

    Args:
        deliveries: In order.
        wait: Seconds until the next delayed message is due; None when there is none.
        lost: Sources of which nothing is held any more.
        logs: Groups whose logs have messages that are due.
        recreated: Streams whose groups were missing.
        empty: Sources that had nothing, and where word was left that we wait.
        failed: Sources that cannot be read, and why.
    """

    deliveries: list[Delivery]
    wait: float | None
    lost: list[Seat]
    logs: list[Seat]
    recreated: list[str]
    empty: list[Seat]
    failed: list[tuple[Seat, str]]


def question(ear: str, wanted: Wanted, log_delayed: Mapping[str, str]) -> tuple[list[Argument], list[Argument]]:
    """Keys and arguments for ``lua/fetch.lua``."""
    keys: list[Argument] = []
    args: list[Argument] = [ear, len(wanted.seats)]
    for seat in wanted.seats:
        target = seat.target
        keys += (target.leases, target.delayed, target.payloads, target.waiting)
        keys += (target.index, target.starts, target.active)
        most = wanted.most.get(target.key, -1)
        args += (seat.consumer, int(seat.registered), int(target.single_active), most)
        if target.log:
            keys.append(log_delayed[target.log])
        args += (int(bool(target.log)), target.lanes)
        for lane in seat.lanes:
            reads = target.reads(lane.level)
            args += (lane.level, wanted.limit.get(lane, 0), len(reads))
            for each in reads:
                keys.append(each.stream)
                args.append(each.group)
    return keys, args


def answer(wanted: Wanted, consumers: Sequence[str], reply: Sequence[Any]) -> Fetched:
    """What ``lua/fetch.lua`` says."""
    now, next_due = int(reply[0]), int(reply[1])
    wait = max(0.0, (next_due - now) / 1000) if next_due >= 0 else None
    fetched = Fetched([], wait, [], [], [], [], [])
    for kind, number, *rest in reply[2]:
        seat = wanted.seats[number - 1]
        if kind == b"e":
            _deliveries(fetched.deliveries, seat, consumers[number - 1], now / 1000, rest)
        elif kind == b"n":
            fetched.recreated.append(rest[0].decode())
        elif kind == b"x":
            fetched.failed.append((seat, rest[0].decode()))
        else:
            {b"l": fetched.lost, b"g": fetched.logs, b"w": fetched.empty}[kind].append(seat)
    return fetched


def handed(seat: Seat, rest: bytes) -> list[Delivery]:
    """The delivery in what ``hand_over`` of ``lua/targets.lua`` publishes."""
    head, _, packed = rest.partition(b"\n")
    level, now, entry, sizes, consumer = head.split(b" ", 4)
    fields, at = list[bytes](), 0
    for size in sizes.split(b","):
        end = at + int(size)
        fields.append(packed[at:end])
        at = end
    lane_number = 1 + [lane.level for lane in seat.lanes].index(int(level))
    found: list[Delivery] = []
    _deliveries(found, seat, consumer.decode(), int(now) / 1000, [lane_number, 1, [(entry, fields)]])
    return found


def _deliveries(out: list[Delivery], seat: Seat, consumer: str, now: float, rest: Sequence[Any]) -> None:
    lane_number, read_number, entries, *again = rest
    lane = seat.lanes[lane_number - 1]
    number = seat.read_number(lane.level, read_number - 1)
    counts, starts = again or (None, None)
    key, ttl = seat.target.key, seat.target.ttl
    for at, (entry, fields) in enumerate(entries):
        message, flags, story = read(fields, key, entry)
        token = Token(seat, number, entry, consumer, story, message.expires)
        if ttl is not None:
            ends = added(entry) + ttl
            message = msgspec.structs.replace(
                message, expires=ends if message.expires is None else min(ends, message.expires)
            )
        # A dead letter that has expired is not expired once more: whoever reads it wants to see it.
        if message.expires is not None and message.expires < now and story is None:
            flags |= Flag.EXPIRED
        delivery = Delivery(message, lane, 1 if counts is None else counts[at], token, flags=flags)
        if starts is not None:
            delivery.starts = int(starts[at])
        out.append(delivery)
