"""Cancelling in the middle of everything else: whatever comes between, the answer is true.

CANCELLED: the handler never starts afterwards in that run, the record says so, and the message is gone. TOO_LATE: the
run was over, or nobody knows the task. REQUESTED: the run comes to an end, and the handler does not start again in it.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from contextlib import AsyncExitStack
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brokerkit import App, Cancel, Context, GiveUp, Handle, Retry, TaskStatus
from brokerkit.stores.memory import MemoryStore
from brokerkit.testing import VirtualClock
from brokerkit.transport import Capabilities
from brokerkit.transports.memory import MemoryBroker, MemoryTransport

TASKS = 4
STUBBORN, DOOMED = 1, 3
"""One that does not let itself be cancelled, and one that is dead-lettered in its first run."""
ENDS = ("return", "raise", "give up")


class Apart(MemoryTransport):
    """Keeps no records itself."""

    @property
    def capabilities(self) -> Capabilities:
        return msgspec.structs.replace(super().capabilities, atomic_records=False, atomic_commit=False)


class Unyielding(Apart):
    """Gives no queued message back, either."""

    @property
    def capabilities(self) -> Capabilities:
        return msgspec.structs.replace(super().capabilities, cancel="tombstone")


LAYOUTS = {"shared": (MemoryTransport, True), "apart": (Apart, True), "tombstones": (Unyielding, True),
           "bare": (Apart, False)}  # fmt: skip

WHICH = st.integers(0, TASKS - 1)
CANCEL = st.tuples(st.just("cancel"), WHICH, st.just(0))
END = st.tuples(st.just("end"), WHICH, st.sampled_from(ENDS))
ADVANCE = st.tuples(st.just("advance"), st.sampled_from([0.1, 1.5, 4]), st.just(0))
REDRIVE, OTHER = (
    st.tuples(st.sampled_from(names), st.just(0), st.just(0)) for names in (["redrive"], ["lose", "restart"])
)
STEP = st.one_of(CANCEL, END, ADVANCE, REDRIVE, CANCEL, END, OTHER)
SENDS = st.lists(st.tuples(st.just("send"), WHICH, st.sampled_from([0, 0, 3])), min_size=TASKS, max_size=TASKS)
CLASH = st.tuples(WHICH, st.sampled_from(ENDS), st.booleans()).map(
    lambda drawn: [("end", drawn[0], drawn[1]), ("cancel", drawn[0], 0)][:: -1 if drawn[2] else 1]
)
ROUND = st.one_of(st.lists(STEP, min_size=1, max_size=3), CLASH)
ROUNDS = st.tuples(SENDS, st.lists(ROUND, min_size=3, max_size=12)).map(lambda drawn: [drawn[0], *drawn[1]])


class World:
    """An app, its worker, and what has been seen of both."""

    def __init__(self, layout: str) -> None:
        kind, kept = LAYOUTS[layout]
        self.clock = VirtualClock()
        self.broker = MemoryBroker(self.clock)
        self.transport = kind(self.broker)
        store = MemoryStore(self.clock) if kept and layout != "shared" else None
        own = {} if layout == "shared" else {"store": store}
        self.app = App(self.transport, clock=self.clock, **own)  # type: ignore[arg-type]
        self.kept = kept
        self.starts: list[tuple[str, int]] = []
        self.running: set[tuple[str, int]] = set()
        self.ends: dict[str, asyncio.Queue[str]] = defaultdict(asyncio.Queue)
        self.handles: dict[int, Handle[str]] = {}
        self.cancelled: dict[tuple[str, int], int] = {}
        self.requested: dict[tuple[str, int], int] = {}
        self.over = False
        self.worker = AsyncExitStack()

        @self.app.task(retry=Retry.fixed(1, 2))
        async def work(ctx: Context, number: int) -> str:
            key = (ctx.id, ctx.run)
            self.starts.append(key)
            if number == DOOMED and ctx.run == 1:
                raise GiveUp("doomed")
            self.running.add(key)
            try:
                how = "return" if self.over else await self.ends[ctx.id].get()
            except asyncio.CancelledError:
                if number == STUBBORN:
                    return "stubborn"
                raise
            finally:
                self.running.discard(key)
            if how == "raise":
                raise ValueError(how)
            if how == "give up":
                raise GiveUp(how)
            return how

        self.work = work

    # -- steps -------------------------------------------------------------------------------------------------------

    async def send(self, number: int, delay: float) -> None:
        if number not in self.handles:
            self.handles[number] = await self.work.options(delay=delay or None).send(number)

    async def cancel(self, number: int, _: Any) -> None:
        if number not in self.handles:
            assert await self.app.cancel("nobody") is Cancel.TOO_LATE
            return
        task_id = self.handles[number].id
        answer = await self.app.cancel(task_id)
        key = (task_id, await self._run_of(task_id))
        if answer is Cancel.CANCELLED:
            await self._check_cancelled(key)
        elif answer is Cancel.REQUESTED:
            self.requested[key] = -1
        else:
            await self._check_too_late(key)

    async def end(self, number: int, how: str) -> None:
        if number in self.handles and self.running & {(self.handles[number].id, run) for run in range(9)}:
            self.ends[self.handles[number].id].put_nowait(how)

    async def redrive(self, *_: Any) -> None:
        await self.app.redrive("default")

    async def lose(self, *_: Any) -> None:
        self.transport.disconnect()

    async def advance(self, seconds: float, _: Any) -> None:
        """In ``play``: nobody else may move the clock."""

    async def restart(self, *_: Any) -> None:
        """In ``play``, too."""

    # -- what must be true -------------------------------------------------------------------------------------------

    async def _run_of(self, task_id: str) -> int:
        entries = self.broker._index.find(task_id)
        runs = [entry.message.run for entry in entries]
        record = await self.app.record(task_id) if self.kept else None
        return max(
            [*runs, record.run if record is not None else 0, *(run for id_, run in self.starts if id_ == task_id), 1]
        )

    async def _check_cancelled(self, key: tuple[str, int]) -> None:
        assert not self.broker._index.find(key[0]), "the message is still there"
        if self.kept:
            record = await self.app.record(key[0])
            assert record is not None
            assert (record.status, record.run) == (TaskStatus.CANCELLED, key[1])
        self.cancelled.setdefault(key, self.starts.count(key))

    async def _check_too_late(self, key: tuple[str, int]) -> None:
        if self.kept:
            record = await self.app.record(key[0])
            assert record is not None
            assert record.over, f"it is {record.status}"
            assert record.run == key[1]
        else:
            assert not self.broker._index.find(key[0])

    def check(self) -> None:
        """After each round, when all is quiet."""
        for key, starts in self.cancelled.items():
            assert self.starts.count(key) == starts, "it started although it was cancelled"
        for key, starts in self.requested.items():
            if starts < 0:
                self.requested[key] = self.starts.count(key)
            else:
                assert self.starts.count(key) == starts, "it was to be cancelled, and started again"

    # -- the play ----------------------------------------------------------------------------------------------------

    async def play(self, rounds: list[list[tuple[str, Any, Any]]]) -> None:
        async with self.app:
            await self._start()
            for steps in rounds:
                async with asyncio.TaskGroup() as group:
                    for name, first, second in steps:
                        group.create_task(getattr(self, name)(first, second))
                await self.clock.settle()
                self.check()
                for name, first, _ in steps:
                    if name == "advance":
                        await self.clock.advance(first)
                        self.check()
                    elif name == "restart":
                        await self._restart()
            await self._finish()

    async def _start(self) -> None:
        self.worker = AsyncExitStack()
        await self.worker.enter_async_context(self.app.worker(concurrency=2, grace=0.01))

    async def _restart(self) -> None:
        await self.worker.aclose()
        self.requested.clear()  # the new worker has not heard of them
        await self._start()

    async def _finish(self) -> None:
        """Let everything come to its end."""
        self.over = True
        for queue in self.ends.values():
            for _ in range(9):
                queue.put_nowait("return")
        await self.clock.advance(120)
        self.check()
        stats = await self.app.queue_stats("default")
        assert (stats.ready, stats.in_flight, stats.delayed) == (0, 0, 0)
        for handle in self.handles.values():
            if self.kept:
                record = await handle.record()
                assert record is not None
                assert record.status.terminal
        dead = {(letter.message.id, letter.message.run) for letter in await self.app.dead_letters("default")}
        assert not dead & self.cancelled.keys()
        done = asyncio.ensure_future(self.app.wait(self.handles.values(), timeout=10))
        await self.clock.advance(11)
        assert (await done)[1] == [], "somebody waits for ever"
        await self.worker.aclose()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_answer_to_a_cancel_is_true(layout: str) -> None:
    @given(ROUNDS)
    @settings(max_examples=100)
    def run(rounds: list[list[tuple[str, Any, Any]]]) -> None:
        asyncio.run(World(layout).play(rounds))

    run()
