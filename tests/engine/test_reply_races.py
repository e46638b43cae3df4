"""10 000 calls whose replies are lost, late or doubled, and whose looks into the store answer late: every one of them
gets its own outcome, once, whoever waits in whatever way."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brokerkit import App, Context, Handle, Retry, Settings, TaskFailed, TaskStatus
from brokerkit.message import Outgoing
from brokerkit.records import RecordPatch, TaskRecord
from brokerkit.store import Put, RecordFilter
from brokerkit.stores.memory import MemoryStore
from brokerkit.testing import VirtualClock
from brokerkit.transport import INBOX_PREFIX, Published
from brokerkit.transports.memory import MemoryBroker, MemoryTransport

EXAMPLES, CALLS = 25, 400
LATEST = 6.0
"""Seconds after which everything has arrived that ever will."""


class Careless(MemoryTransport):
    """Loses, delays and doubles replies; its store answers what was true when it was asked."""

    def __init__(self, broker: MemoryBroker, chance: random.Random, lost: float, late: float) -> None:
        super().__init__(broker)
        self._chance, self._lost, self._late = chance, lost, late
        self.dropped = 0

    @property
    def store(self) -> MemoryStore:
        return Slow(super().store, self.broker, self._chance)  # type: ignore[return-value]

    async def publish(self, messages: Sequence[Outgoing], *, deadline: float) -> Sequence[Published]:
        if not all(outgoing.routing_key.startswith(INBOX_PREFIX) for outgoing in messages):
            return await super().publish(messages, deadline=deadline)
        for outgoing in messages:
            self._reply(outgoing)
        return [Published.CONFIRMED] * len(messages)

    def _reply(self, outgoing: Outgoing) -> None:
        if self._chance.random() < self._lost:
            self.dropped += 1
            return
        for _ in range(self._chance.choice((1, 1, 2))):
            late = self._chance.random() < self._late
            delay = self._chance.uniform(0, LATEST) if late else 0.0
            self.broker.clock.call_later(delay, partial(self._arrive, outgoing))

    def _arrive(self, outgoing: Outgoing) -> None:
        self.broker.publish(outgoing, self.broker.clock.now())


class Slow:
    """A store whose answers are on their way for up to a second."""

    def __init__(self, inner: MemoryStore, broker: MemoryBroker, chance: random.Random) -> None:
        self._inner, self._clock, self._chance = inner, broker.clock, chance

    async def get(self, ids: Sequence[str]) -> Sequence[TaskRecord | None]:
        found = await self._inner.get(ids)
        await self._clock.sleep(self._chance.choice((0.0, 0.01, 1.0)))
        return found

    async def put(self, records: Sequence[TaskRecord]) -> Sequence[Put]:
        return await self._inner.put(records)

    async def patch(self, patches: Sequence[RecordPatch]) -> Sequence[Put]:
        return await self._inner.patch(patches)

    async def find(self, filter: RecordFilter) -> list[TaskRecord]:  # noqa: A002 - the contract's name
        return await self._inner.find(filter)

    async def delete(self, ids: Sequence[str]) -> int:
        return await self._inner.delete(ids)


async def race(seed: int, lost: float, late: float) -> None:
    clock, chance = VirtualClock(), random.Random(seed)
    transport = Careless(MemoryBroker(clock), chance, lost, late)
    app = App(transport, clock=clock, settings=Settings(retry=Retry.none()))

    @app.task
    async def double(ctx: Context, number: int, seconds: float) -> int:
        if seconds:
            await clock.sleep(seconds)
        if number % 7 == 0:
            raise ValueError(str(number))
        return 2 * number

    @app.task(reply=False, name="quiet")
    async def quiet(number: int) -> int:
        return 2 * number

    async def check(number: int, handle: Handle[int]) -> None:
        if number % 7 or handle.name == "quiet":
            assert await handle.result(timeout=60) == 2 * number
        else:
            with pytest.raises(TaskFailed, match=f"ValueError: {number}$"):
                await handle.result(timeout=60)

    async def ordered(handles: Sequence[Handle[int]]) -> list[Handle[int]]:
        return [handle async for handle in app.as_completed(handles, timeout=60)]

    async def watched(handle: Handle[int]) -> TaskRecord:
        *_, last = [record async for record in handle.watch(timeout=60)]
        return last

    async with app, app.worker(concurrency=CALLS), asyncio.TaskGroup() as group:
        seconds = chance.choice((0.0, 0.3, 2.0))
        calls = [
            quiet.message(n) if n % 5 == 0 else double.message(n, chance.choice((0.0, seconds))) for n in range(CALLS)
        ]
        handles = await app.send_many(calls, batch=chance.randint(1, CALLS))
        singly = [group.create_task(check(n, handle)) for n, handle in enumerate(handles) if n % 3 == 0]
        together = group.create_task(app.wait(handles, timeout=60))
        in_order = group.create_task(ordered(handles))
        rebuilt = [app.handle(handle.id, double) for handle in handles[::11]]
        again = group.create_task(app.wait(rebuilt, timeout=60))
        ends = [group.create_task(watched(handle)) for handle in handles[::13]]
        await clock.advance(3 * LATEST)
        assert all(task.done() for task in (*singly, together, in_order, again, *ends)), "somebody was not told"
        assert together.result() == (handles, [])
        assert sorted(handle.id for handle in in_order.result()) == sorted(handle.id for handle in handles)
        assert again.result() == (rebuilt, [])
        assert {task.result().status for task in ends} <= {TaskStatus.SUCCESS, TaskStatus.FAILURE}
        for number, handle in enumerate(handles):
            await check(number, handle)
    assert transport.dropped or lost < 1.0


@given(st.integers(0, 1 << 32), st.sampled_from([0.0, 0.5, 1.0]), st.sampled_from([0.0, 0.7, 1.0]))
@settings(max_examples=EXAMPLES)
def test_every_call_gets_its_outcome_once(seed: int, lost: float, late: float) -> None:
    asyncio.run(race(seed, lost, late))
