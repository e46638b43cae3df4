"""Dead letters: looked at part by part, deleted, sent back."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import msgspec

from brokerkit.abilities import DeadEntry, DeadMessage, Redriven, foreign
from brokerkit.message import rerun
from brokerkit.outcome import Reason
from brokerkit.transports.redis import scripts
from brokerkit.transports.redis.broker import RedisBroker
from brokerkit.transports.redis.compile import QUEUE_GROUP, Target
from brokerkit.transports.redis.entries import Found, added, encode_part, overlay_of, read
from brokerkit.transports.redis.link import Argument
from brokerkit.transports.redis.packing import Packing

AT_ONCE = 200
"""Entries moved in one step."""
_SLACK = 60.0
"""Seconds by which the clock of the server, which numbers entries, may differ from ours."""
_ANSWERS = {ord("d"): Redriven.DONE, ord("n"): Redriven.GONE, ord("f"): Redriven.REFUSED}


class Place(NamedTuple):
    """Where an entry lies.

    Args:
        stream: The dead-letter queue's stream.
        entry: Its id there.
        known_as: The id under which its message is found; "" for what cannot be read.
    """

    stream: str
    entry: bytes
    known_as: str


class RedisDeadLetters:
    """A look into the dead letters of one source.

    Args:
        broker: The connections.
        target: The source.
        ids: Only those of these messages, or None.
        since: What came before is left out.
        now: The time.
    """

    complete = True

    def __init__(
        self, broker: RedisBroker, target: Target, ids: Collection[str] | None, since: float, now: float
    ) -> None:
        self._broker, self._target, self._now = broker, target, now
        self._ids = None if ids is None else frozenset(ids)
        self._grave = broker.routes.plan.targets.get(target.dead_letter or "")
        self._first = b"%d" % (max(0.0, since - _SLACK) * 1000)
        self._level, self._from = 0, self._first
        self._until: list[bytes] = []

    async def next(self, most: int) -> list[DeadEntry]:
        while self._grave is not None and self._level < self._grave.lanes:
            found = await self._part(self._grave, most)
            if found:
                return found
        return []

    async def _part(self, grave: Target, most: int) -> list[DeadEntry]:
        """The entries of interest among so many."""
        stream = grave.stream(self._level)
        if len(self._until) <= self._level:  # what is sent back and fails again would never end
            last = await self._broker.asking.ask("XREVRANGE", stream, "+", "-", "COUNT", 1)
            self._until.append(last[0][0] if last else b"0")
        part = await self._broker.asking.ask("XRANGE", stream, self._from, self._until[-1], "COUNT", most)
        if len(part) < most:
            self._level, self._from = self._level + 1, self._first
        else:
            self._from = b"(" + part[-1][0]
        seen = [self._seen(grave, stream, entry, fields) for entry, fields in part]
        return [entry for entry in seen if entry is not None]

    def _seen(self, grave: Target, stream: str, entry: bytes, fields: Sequence[bytes]) -> DeadEntry | None:
        """The entry, unless it is over or not asked about."""
        ends = dict(zip(fields[::2], fields[1::2], strict=True)).get(b"x")
        if ends is not None and ends.isdigit() and int(ends) / 1000 <= self._now:
            return None
        found = read(fields, grave.key, entry)
        dead = _told(found, self._target.key, f"{grave.key}/{entry.decode()}", added(entry))
        if dead.source != self._target.key or (self._ids is not None and dead.message.id not in self._ids):
            return None
        return DeadEntry(dead, Place(stream, entry, found.message.id))

    async def redrive(self, entries: Sequence[DeadEntry]) -> list[Redriven]:
        answers: list[Redriven] = []
        for start in range(0, len(entries), AT_ONCE):
            answers += await self._send_back(entries[start : start + AT_ONCE])
        return answers

    async def _send_back(self, entries: Sequence[DeadEntry]) -> list[Redriven]:
        broker, target = self._broker, self._target
        packing = Packing(broker.routes, broker.writer)
        packing.number(target)
        keys: list[Argument] = list(packing.target_keys)
        args: list[Argument] = [*packing.targets, QUEUE_GROUP, len(entries)]
        for dead, (stream, entry, known_as) in entries:
            message = dead.message
            keys.append(stream)
            again = encode_part(overlay_of(rerun(message, self._now)))
            args += (entry, known_as, target.lane(message.priority), again)
        answers: bytes = await broker.once(target.near, scripts.REDRIVE, keys, args)
        return [_ANSWERS[answer] for answer in answers]

    async def purge(self, tokens: Sequence[Any]) -> int:
        done = 0
        for start in range(0, len(tokens), AT_ONCE):
            places = tokens[start : start + AT_ONCE]
            args: list[Argument] = [QUEUE_GROUP, len(places), *(place.entry for place in places)]
            keys: list[Argument] = [place.stream for place in places]
            done += int(await self._broker.once(self._target.near, scripts.PURGE, keys, args))
        return done


def _told(found: Found, source: str, name: str, entered: float) -> DeadMessage:
    """The entry as callers see it; what has no id that can be read is called by its place."""
    message, story = found.message, found.story
    if not message.id:
        message = msgspec.structs.replace(message, id=name)
    if story is None:
        return foreign(message, source, entered)
    return DeadMessage(
        message=message,
        source=story.source,
        reason=Reason.named(story.reason),
        error=story.error,
        deliveries=story.deliveries,
        died=story.died,
    )


async def count(broker: RedisBroker, target: Target, now: float) -> int:
    """How many there are."""
    look, number = RedisDeadLetters(broker, target, None, 0.0, now), 0
    while part := await look.next(AT_ONCE):
        number += len(part)
    return number
