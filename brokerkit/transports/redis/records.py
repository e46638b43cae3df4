"""Records on the servers."""

from __future__ import annotations

import asyncio
import heapq
import logging
import math
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TypeVar

from brokerkit.errors import TransportError
from brokerkit.records import RecordPatch, TaskRecord, TaskStatus, accepts, merged, patchable, patched
from brokerkit.store import Put, RecordFilter
from brokerkit.transports.redis import scripts
from brokerkit.transports.redis.insisting import Insistent
from brokerkit.transports.redis.link import Argument
from brokerkit.transports.redis.reports import RecordWriter, stored

_log = logging.getLogger("brokerkit")

T = TypeVar("T")

AT_ONCE = 300
"""Records of one step at most."""
PATIENCE = 5.0
"""Seconds that one server of a cluster gets: what the others have is not to wait for it for ever."""
_PUT = {ord("d"): Put.STORED, ord("s"): Put.STALE, ord("t"): Put.TOO_LARGE, ord("e"): Put.ERROR}
_STORED, _MERGE = ord("d"), ord("m")


class Records:
    """A ``Store`` with ``Leases``, ``AddOnce`` and ``Counters``, on connections that somebody else keeps.

    Args:
        servers: The connections.
        writer: How records are written.
    """

    def __init__(self, servers: Insistent, writer: RecordWriter) -> None:
        self._servers, self._writer = servers, writer
        self._new = 0
        cap = writer.retention.cap
        self._look_after = max(1, min(cap // 20, 1000)) if cap else 1000

    async def put(self, records: Sequence[TaskRecord]) -> list[Put]:
        answers: list[Put] = []
        for start in range(0, len(records), AT_ONCE):
            part = records[start : start + AT_ONCE]
            try:
                answers += await self._put(part)
            except TransportError as error:
                if not answers:
                    raise
                answers += self._failed(part, error)  # what is stored is not to be called in question
        return answers

    def _failed(self, records: Sequence[TaskRecord], error: TransportError) -> list[Put]:
        _log.warning("%d records could not be stored at Redis: %s", len(records), error)
        return [Put.ERROR] * len(records)

    async def _put(self, records: Sequence[TaskRecord]) -> list[Put]:
        answers: dict[int, Put] = {}
        left = list(range(len(records)))
        known: dict[int, tuple[TaskRecord, bytes]] = {}
        while left:
            items = [known.get(at, (records[at], b"")) for at in left]
            letters = await self._write(items)
            again: list[int] = []
            for at, letter in zip(left, letters, strict=True):
                if letter == _MERGE:
                    again.append(at)
                else:
                    answers[at] = _PUT[letter]
            left = again
            try:
                known = await self._merged(left, records)
            except TransportError as error:
                answers.update(zip(left, self._failed([records[at] for at in left], error), strict=True))
                break
        return [answers[at] for at in range(len(records))]

    async def _merged(self, left: Sequence[int], records: Sequence[TaskRecord]) -> dict[int, tuple[TaskRecord, bytes]]:
        """The records united with what is stored; without those that are stale, which the script is to say."""
        found: dict[int, tuple[TaskRecord, bytes]] = {}
        values = await self._values([records[at].id for at in left])
        for at, value in zip(left, values, strict=True):
            if value is not None:
                version, old = stored(value)
                new = records[at]
                if accepts(old.fence, old.stage, new.fence, new.stage):
                    found[at] = merged(old, new), version
        return found

    async def _write(self, items: Sequence[tuple[TaskRecord, bytes]]) -> list[int]:
        parts = self._by_part([record.id for record, _ in items])
        store = self._store if self._writer.keys.keys.together else self._store_or_fail
        letters = await self._gathered(parts, lambda _, numbers: store([items[at] for at in numbers]))
        taken = [record for (record, _), letter in zip(items, letters, strict=True) if letter == _STORED]
        self._new += sum(record.status.terminal for record in taken)
        try:
            if taken and not self._writer.keys.keys.together:
                await self._enter(taken)
            if self._new >= self._look_after:
                self._new = 0
                await self.keep_to_cap()
        except TransportError as error:  # they are stored all the same
            _log.warning("lists of records could not be brought up to date at Redis: %s", error)
        return letters

    async def _store_or_fail(self, items: Sequence[tuple[TaskRecord, bytes]]) -> bytes:
        """One server's trouble is none of the others'."""
        try:
            async with asyncio.timeout(PATIENCE):
                return await self._store(items)
        except (TransportError, TimeoutError) as error:
            _log.warning("%d records could not be stored at Redis: %s", len(items), str(error) or "no answer")
            return b"e" * len(items)

    async def _store(self, items: Sequence[tuple[TaskRecord, bytes]]) -> bytes:
        keys: list[Argument] = []
        args: list[Argument] = [len(items)]
        for record, version in items:
            self._writer.add(record, keys, args, version)
        # A second time it would say stale: whoever does not get the answer has to look what is stored.
        letters: bytes = await self._servers.run_once(scripts.STORE, keys, args)
        return letters

    def _by_part(self, ids: Sequence[str]) -> dict[str, list[int]]:
        """The numbers of ids whose records lie together."""
        parts: dict[str, list[int]] = {}
        for at, task_id in enumerate(ids):
            parts.setdefault(self._writer.keys.near(task_id), []).append(at)
        return parts

    async def _gathered(
        self, parts: dict[str, list[int]], ask: Callable[[str, list[int]], Awaitable[Sequence[T]]]
    ) -> list[T]:
        """The answers of all parts, in the order of their numbers."""
        if len(parts) == 1:
            return list(await ask(*next(iter(parts.items()))))
        found = await asyncio.gather(*(ask(near, numbers) for near, numbers in parts.items()))
        answers = {at: one for numbers, some in zip(parts.values(), found, strict=True)
                   for at, one in zip(numbers, some, strict=True)}  # fmt: skip
        return [answers[at] for at in range(len(answers))]

    async def _enter(self, records: Sequence[TaskRecord]) -> None:
        """In the lists of records, where these do not lie beside them."""
        names, ttl, index = self._writer.keys, self._writer.ttl, self._writer.index
        lists = {names.succeeded: ttl[TaskStatus.SUCCESS], names.failed: ttl[TaskStatus.FAILURE]}
        rows: list[tuple[str, int | str, str]] = []
        for record in records:
            if record.status.terminal:
                over = names.succeeded if record.status is TaskStatus.SUCCESS else names.failed
                rows.append((over, "", record.id))
            for key in (names.created, names.named(record.name)) if index else ():
                lists[key] = self._writer.longest
                rows.append((key, int(record.created * 1000), record.id))
        if rows:
            numbers = {key: number for number, key in enumerate(lists, 1)}
            args: list[Argument] = [len(lists), *lists.values(), len(rows)]
            for key, at, task_id in rows:
                args += (numbers[key], at, task_id)
            await self._servers.run(scripts.ENTER, list(lists), args)

    async def keep_to_cap(self) -> None:
        """Forget the oldest finished ones beyond the cap; unfinished ones are not counted, nor forgotten."""
        cap, lists = self._writer.retention.cap, (self._writer.keys.succeeded, self._writer.keys.failed)
        surplus = 0 if cap is None else sum([await self._servers.ask("ZCARD", key) for key in lists]) - cap
        while surplus > 0:
            heads = [
                (score, key) for key in lists for _, score in await self._servers.ask("ZRANGE", key, 0, 0, "WITHSCORES")
            ]
            if not heads:
                return
            oldest = await self._servers.ask("ZPOPMIN", min(heads)[1], min(100, surplus))
            await self._forget([task_id.decode() for task_id, _ in oldest])
            surplus -= len(oldest)

    async def _forget(self, ids: Sequence[str]) -> None:
        """Delete those that are finished indeed: a new run may have begun since."""
        values = await self._values(ids)
        await self.delete(
            [
                task_id
                for task_id, value in zip(ids, values, strict=True)
                if value is not None and stored(value)[1].status.terminal
            ]
        )

    async def _values(self, ids: Sequence[str]) -> list[bytes | None]:
        async def read(_: str, numbers: list[int]) -> list[bytes | None]:
            return list(await self._servers.ask("MGET", *(self._writer.keys.record(ids[at]) for at in numbers)))

        return await self._gathered(self._by_part(ids), read) if ids else []

    async def patch(self, patches: Sequence[RecordPatch]) -> list[Put]:
        return [await self._patch(patch) for patch in patches]

    async def _patch(self, patch: RecordPatch) -> Put:
        while True:
            [value] = await self._values([patch.id])
            if value is None:
                return Put.STALE
            version, old = stored(value)
            if not patchable(old, patch):
                return Put.STALE
            [letter] = await self._write([(patched(old, patch), version)])
            if letter != _MERGE:
                return _PUT[letter]

    async def get(self, ids: Sequence[str]) -> list[TaskRecord | None]:
        found = await self._values(ids)
        return [None if value is None else stored(value)[1] for value in found]

    async def find(self, wanted: RecordFilter) -> list[TaskRecord]:
        if self._writer.index:
            return await self._find_in_order(wanted)
        found = [record async for record in self._all() if _matches(record, wanted)]
        return heapq.nlargest(wanted.limit, found, key=lambda record: record.created)

    async def _find_in_order(self, wanted: RecordFilter) -> list[TaskRecord]:
        """From the newest on, until there are enough; what has gone leaves the lists."""
        names, found, gone = self._writer.keys, list[TaskRecord](), list[str]()
        key = names.created if wanted.name is None else names.named(wanted.name)
        newest = "+inf" if wanted.created_before is None else f"({int(wanted.created_before * 1000) + 1}"
        oldest = "-inf" if wanted.created_after is None else int(wanted.created_after * 1000)
        seen = 0
        while len(found) < wanted.limit:
            part = await self._servers.ask("ZRANGE", key, newest, oldest, "BYSCORE", "REV", "LIMIT", seen, AT_ONCE)
            ids = [task_id.decode() for task_id in part]
            values = await self._values(ids)
            for task_id, value in zip(ids, values, strict=True):
                if value is None:
                    gone.append(task_id)
                elif _matches(record := stored(value)[1], wanted):
                    found.append(record)
            seen += len(part)
            if len(part) < AT_ONCE:
                break
        if gone:
            await self._servers.ask("ZREM", key, *gone)
        return sorted(found, key=lambda record: record.created, reverse=True)[: wanted.limit]

    async def _all(self) -> AsyncIterator[TaskRecord]:
        """Every record; one that is written meanwhile may come or not."""
        for session in self._servers.all:
            cursor, seen = b"0", set[bytes]()
            while True:
                cursor, keys = await session.ask("SCAN", cursor, "MATCH", self._writer.keys.all, "COUNT", 1000)
                fresh = [key for key in keys if key not in seen]
                seen.update(fresh)
                ids = [key.partition(b":record:")[2].decode() for key in fresh]
                for value in await self._values(ids):
                    if value is not None:
                        yield stored(value)[1]
                if cursor == b"0":
                    break

    async def delete(self, ids: Sequence[str]) -> int:
        async def remove(_: str, numbers: list[int]) -> list[int]:
            return [int(await self._servers.ask("DEL", *(self._writer.keys.record(ids[at]) for at in numbers)))]

        parts = self._by_part(ids)
        return sum([count for near, numbers in parts.items() for count in await remove(near, numbers)])

    async def lease(self, name: str, owner: str, seconds: float) -> bool:
        key, until = self._writer.keys.mark("lease", name), math.ceil(seconds * 1000)
        return bool(await self._servers.run(scripts.LEASE, [key], [owner, until]))

    async def add_once(self, key: str, seconds: float) -> bool:
        # A lease of somebody who never asks again, but to repeat the question when the answer got lost.
        mark, until = self._writer.keys.mark("once", key), math.ceil(seconds * 1000)
        return bool(await self._servers.run(scripts.LEASE, [mark], [secrets.token_hex(8), until]))

    async def count(self, name: str, by: int, seconds: float) -> int:
        key, until = self._writer.keys.mark("counter", name), math.ceil(seconds * 1000)
        return int(await self._servers.run_once(scripts.COUNT, [key], [by, until]))


def _matches(record: TaskRecord, wanted: RecordFilter) -> bool:
    return (
        (wanted.name is None or record.name == wanted.name)
        and (wanted.queue is None or record.queue == wanted.queue)
        and (not wanted.statuses or record.status in wanted.statuses)
        and (wanted.created_after is None or record.created >= wanted.created_after)
        and (wanted.created_before is None or record.created < wanted.created_before)
        and all(record.metadata.get(label) == value for label, value in wanted.metadata.items())
    )
