"""Publishing: one script call for all that lies together, an answer per message."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from typing import Any

from hiredis import ReplyError

from brokerkit.errors import TransportError
from brokerkit.message import Outgoing
from brokerkit.store import Put, Store
from brokerkit.transport import Published
from brokerkit.transports.redis import keys as naming
from brokerkit.transports.redis import scripts
from brokerkit.transports.redis.calls import Calls
from brokerkit.transports.redis.errors import Full, while_running
from brokerkit.transports.redis.link import Argument
from brokerkit.transports.redis.packing import InboxPlan, Packing, is_reply
from brokerkit.transports.redis.reports import RecordWriter, encode
from brokerkit.transports.redis.routes import Place, Routes
from brokerkit.transports.redis.url import Durability

_log = logging.getLogger("brokerkit")

AT_ONCE = 500
"""Messages of one script call at most: others wait while it runs."""
_STALE = b"E"
_MERGE = ord("m")
_ANSWERS = {
    ord("d"): Published.CONFIRMED,
    _MERGE: Published.CONFIRMED,
    ord("u"): Published.UNROUTABLE,
    ord("F"): Published.FULL,
    ord("x"): Published.REFUSED,
}
_WORSE = (Published.CONFIRMED, Published.UNROUTABLE, Published.FULL, Published.REFUSED, Published.UNKNOWN)


class _Part:
    """What one script publishes.

    Args:
        near: What keys begin with that lie beside its keys.
        packing: Its targets.
    """

    def __init__(self, near: str, packing: Packing) -> None:
        self.near, self.packing = near, packing
        self.numbers: list[int] = []
        self.keys: list[Argument] = []
        self.args: list[Argument] = []
        self.only_replies = True

    def add(self, number: int, outgoing: Outgoing, places: Sequence[Place]) -> None:
        self.numbers.append(number)
        self.packing.add(outgoing, self.packing.ways(outgoing, places), self.keys, self.args)
        self.only_replies = self.only_replies and not places


class Publishing:
    """Publishes batches.

    Args:
        calls: For calls that are carried out once.
        routes: The topology.
        records: For PENDING records.
        store: For the few records that have to be merged with one that is there.
        durability: What a publish waits for.
        patience: Seconds a command may take.
    """

    def __init__(
        self,
        calls: Calls,
        routes: Routes,
        records: RecordWriter,
        store: Store,
        *,
        durability: Durability,
        patience: float,
    ) -> None:
        self._calls, self._routes, self._records, self._store = calls, routes, records, store
        self._durability, self._patience = durability, patience

    async def publish(self, messages: Sequence[Outgoing], seconds: float) -> list[Published]:
        """Publish what is not too much for one call."""
        batch = _Batch(messages)
        ends = asyncio.get_running_loop().time() + seconds
        otherwise = Published.UNROUTABLE
        try:
            await self._publish(batch, ends)
        except TimeoutError:
            otherwise = Published.UNKNOWN
        except TransportError as error:
            if not any(batch.answers):
                raise
            otherwise = _meaning_of(error)
        if batch.to_merge:
            await self._merge(batch.to_merge, ends)
        return [answer or otherwise for answer in batch.answers]

    async def _publish(self, batch: _Batch, ends: float) -> None:
        parts = self._split(batch, range(len(batch.messages)))
        if batch.nowhere:
            async with asyncio.timeout_at(ends):
                await self._routes.look()
            parts = self._split(batch, range(len(batch.messages)))
        while parts:
            answers = await self._run_all(parts, ends)
            stale = [part for part, answer in zip(parts, answers, strict=True) if answer == _STALE]
            for part, answer in zip(parts, answers, strict=True):
                if answer != _STALE:
                    batch.take(part, answer, several=len(parts) > 1)
            if not stale:
                break
            async with asyncio.timeout_at(ends):
                for part in stale:
                    await self._routes.renew(part.near)
            parts = self._split(batch, dict.fromkeys(at for part in stale for at in part.numbers))

    def _split(self, batch: _Batch, numbers: Iterable[int]) -> list[_Part]:
        """By what lies together; what a message has reached already it does not reach again."""
        parts: dict[str, _Part] = {}
        batch.nowhere = False
        for at in numbers:
            outgoing = batch.messages[at]
            if self._too_large(outgoing):
                batch.answers[at] = Published.REFUSED
                continue
            for near, places in self._ways(outgoing, batch):
                if (at, near) not in batch.reached:
                    part = parts.get(near)
                    if part is None:
                        part = parts[near] = _Part(near, Packing(self._routes, self._records))
                    part.add(at, outgoing, places)
        return list(parts.values())

    def _ways(self, outgoing: Outgoing, batch: _Batch) -> Sequence[tuple[str, Sequence[Place]]]:
        if is_reply(outgoing):
            return ((InboxPlan(outgoing.routing_key).near, ()),)
        ways = self._routes.ways(outgoing)
        batch.nowhere = batch.nowhere or not ways
        return ways

    def _too_large(self, outgoing: Outgoing) -> bool:
        record = outgoing.record
        return record is not None and len(encode(record)) > self._records.retention.max_bytes

    async def _run_all(self, parts: Sequence[_Part], ends: float) -> list[bytes | Published]:
        if len(parts) == 1:  # where all lies together: any error is the caller's to see
            return [await self._run(parts[0], ends)]
        found = await asyncio.gather(*(self._run(part, ends) for part in parts), return_exceptions=True)
        return [_meaning(answer) for answer in found]

    async def _run(self, part: _Part, ends: float) -> bytes | Published:
        seconds = ends - asyncio.get_running_loop().time()
        waits = self._durability.waits and not part.only_replies
        answer = await self._calls.once(
            part.near,
            scripts.REPLY if part.only_replies else scripts.PUBLISH,
            [naming.epoch(part.near), *part.packing.target_keys, *part.keys],
            ["" if part.only_replies else self._routes.epoch, *part.packing.targets, len(part.numbers), *part.args],
            within=seconds,
            then=self._durability.command(min(seconds, self._patience / 2)) if waits else (),
            enough=self._safe if waits else _always,
        )
        letters: bytes
        letters, _, problem = (answer[0] if waits else answer).partition(b"\n")
        if problem:
            error = while_running(self._calls.where, ReplyError(problem.decode()))
            if len(letters) == letters.count(b"x"):
                raise error
            _log.error("some of a batch was not published: %s", error)
        return letters

    def _safe(self, answer: tuple[bytes, Any]) -> bool:
        reached = answer[0] == _STALE or self._durability.reached(answer[1])
        if not reached:
            _log.warning("a publish is not as safe yet as it is to be: %s answered %s", self._durability, answer[1])
        return reached

    async def _merge(self, messages: Sequence[Outgoing], ends: float) -> None:
        """The messages are published; what happens to their records does not change that."""
        records = [outgoing.record for outgoing in messages if outgoing.record is not None]
        try:
            async with asyncio.timeout_at(ends):
                answers = await self._store.put(records)
        except (TransportError, TimeoutError) as error:
            _log.warning("%d records of published messages were not merged: %s", len(records), error)
        else:
            if Put.ERROR in answers:
                _log.warning("%d records of published messages were not merged", answers.count(Put.ERROR))


class _Batch:
    """Messages and what has become of them.

    Attributes:
        answers: By number; None for what nobody has taken.
        reached: Which places have answered for which message, where there are several.
        nowhere: A message had nowhere to go.
        to_merge: Those whose records have to be merged with what is stored.
    """

    def __init__(self, messages: Sequence[Outgoing]) -> None:
        self.messages = messages
        self.answers: list[Published | None] = [None] * len(messages)
        self.reached: set[tuple[int, str]] = set()
        self.nowhere = False
        self.to_merge: list[Outgoing] = []

    def take(self, part: _Part, answer: bytes | Published, *, several: bool) -> None:
        letters = answer if isinstance(answer, bytes) else [answer] * len(part.numbers)
        found = [letter if isinstance(letter, Published) else _ANSWERS[letter] for letter in letters]
        for at, one in zip(part.numbers, found, strict=True):
            known = self.answers[at]
            self.answers[at] = one if known is None else max(known, one, key=_WORSE.index)
        if several:
            self.reached.update((at, part.near) for at in part.numbers)
        if _MERGE in letters:
            self.to_merge += [
                self.messages[at] for at, each in zip(part.numbers, letters, strict=True) if each == _MERGE
            ]


def _always(_: Any) -> bool:
    return True


def _meaning(answer: bytes | Published | BaseException) -> bytes | Published:
    """What became of one script among several."""
    if isinstance(answer, bytes | Published):
        return answer
    if isinstance(answer, TimeoutError):
        return Published.UNKNOWN
    if not isinstance(answer, TransportError):
        raise answer
    return _meaning_of(answer)


def _meaning_of(error: TransportError) -> Published:
    """What an error says of the messages that have no other answer."""
    _log.warning("some of a batch was not published: %s", error)
    return Published.FULL if isinstance(error, Full) else Published.REFUSED
