"""Removing a message that has not started."""

from __future__ import annotations

from typing import NamedTuple

from brokerkit.abilities import NOTHING_REMOVED, Removed
from brokerkit.message import Message
from brokerkit.records import TaskRecord, cancelled
from brokerkit.transports.redis import scripts
from brokerkit.transports.redis.broker import RedisBroker
from brokerkit.transports.redis.compile import QUEUE_GROUP, LogPlan, Target
from brokerkit.transports.redis.entries import read
from brokerkit.transports.redis.link import Argument
from brokerkit.transports.redis.reports import stored

_DONE, _CHANGED = b"d", b"m"

Place = Target | LogPlan


class Copies(NamedTuple):
    """What one place has of a message.

    Args:
        place: The queue, group or log.
        known: What its index says of the message.
        messages: The message, as often as it is there.
    """

    place: Place
    known: bytes
    messages: list[Message]


async def cancel(broker: RedisBroker, message_id: str, after_run: int, now: float) -> Removed:
    """Remove it from everywhere it waits, with its record's word of it where that lies beside it.

    Copies that do not lie together are removed one after the other; it counts as removed if all of them were.
    """
    await broker.routes.refresh()
    plan = broker.routes.plan
    parts: dict[str, list[Place]] = {}
    everywhere: list[Place] = [*plan.targets.values(), *plan.logs.values()]
    for place in everywhere:
        parts.setdefault(place.near, []).append(place)
    found = {near: await _copies(broker, places, message_id) for near, places in parts.items()}
    messages = [message for copies in found.values() for each in copies for message in each.messages]
    newest = max(messages, key=lambda each: each.run, default=None)
    if newest is None or newest.run <= after_run:
        return NOTHING_REMOVED
    there = [near for near, copies in found.items() if copies]
    removed = [await _remove(broker, near, parts[near], newest, found[near], now) for near in there]
    return Removed(newest, held=not all(removed))


async def _copies(broker: RedisBroker, places: list[Place], message_id: str) -> list[Copies]:
    numbers = await broker.asking.run(scripts.FIND, [place.index for place in places], [message_id])
    keys: list[Argument] = []
    args: list[Argument] = [message_id, len(numbers)]
    chosen = [places[number - 1] for number in numbers]
    for place in chosen:
        streams = _streams(place)
        keys += (place.index, place.delayed, place.payloads, *streams)
        args.append(len(streams))
    found = await broker.asking.run(scripts.COPIES, keys, args) if chosen else []
    return [
        Copies(place, known, [read(fields, _source(place), b"").message for fields in entries])
        for place, (known, entries) in zip(chosen, found, strict=True)
    ]


async def _remove(
    broker: RedisBroker, near: str, places: list[Place], message: Message, copies: list[Copies], now: float
) -> bool:
    """Remove what lies together, if all is as it was when it was looked at; False if somebody holds it, or has."""
    while copies:
        answer = await _try(broker, near, message, copies, now)
        if answer != _CHANGED:
            return answer == _DONE
        copies = await _copies(broker, places, message.id)
    return False


async def _try(broker: RedisBroker, near: str, message: Message, copies: list[Copies], now: float) -> bytes:
    record, version = await _report(broker, message, now)
    keys: list[Argument] = []
    args: list[Argument] = [message.id, len(copies)]
    for place, known, _ in copies:
        streams = _streams(place)
        starts = place.starts if isinstance(place, Target) else place.meta
        keys += (place.index, place.delayed, place.payloads, starts, *streams)
        args += (QUEUE_GROUP, known, len(streams))
    broker.writer.add(record, keys, args, version)
    answer: bytes = await broker.once(near, scripts.CANCEL, keys, args)
    return answer


async def _report(broker: RedisBroker, message: Message, now: float) -> tuple[TaskRecord | None, bytes]:
    """The record of its end and the version that it replaces; None where none is kept, or none lies beside it."""
    value = await broker.asking.ask("GET", broker.writer.keys.record(message.id)) if broker.keys.together else None
    if value is None:
        return None, b""
    version, record = stored(value)
    return cancelled(record, message.run, now), version


def _streams(place: Place) -> list[str]:
    return [place.stream(level) for level in range(place.lanes)] if isinstance(place, Target) else []


def _source(place: Place) -> str:
    return place.key if isinstance(place, Target) else place.log.name
