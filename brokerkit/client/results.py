"""Results on the caller's side: by reply, and from the store as the truth behind it."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar

from brokerkit.client.looking import FIRST_LOOK, Looker
from brokerkit.client.progress import Progress
from brokerkit.client.waiting import Waiter, WaitSet, Watch
from brokerkit.clock import Clock, Timer
from brokerkit.errors import ConfigurationError, MissingCapability, StoreError, TaskNotFound
from brokerkit.records import TaskRecord
from brokerkit.replies import Reply, record_from
from brokerkit.store import Store
from brokerkit.supervisor import Supervisor

_log = logging.getLogger("brokerkit")

LAST_LOOK = 5.0
"""Seconds that the last look into the store may take when the time of a wait is up."""

W = TypeVar("W", bound=WaitSet)


class Results:
    """Waits for outcomes.

    Args:
        store: The store of records, or None.
        clock: Supplies the time.
        supervisor: Runs what looks into the store, from the first wait on.
    """

    def __init__(self, store: Store | None, clock: Clock, supervisor: Supervisor) -> None:
        self._store = store
        self._clock = clock
        self._supervisor = supervisor
        self._looker: Looker | None = None
        self._waits: dict[WaitSet, None] = {}
        self._closed = False

    def close(self) -> None:
        """End every wait: nothing can come any more."""
        self._closed = True
        for waits in self._waits:
            waits.fail(_closed())

    async def outcome(self, waiter: Waiter, timeout: float | None) -> Reply:
        """Wait for one task.

        Raises:
            TimeoutError: Its outcome did not come in time.
            TaskNotFound: Nobody knows it.
            MissingCapability: Nothing can come.
        """
        if waiter.reply is None:
            with self._waiting(WaitSet([waiter]), timeout) as waits:
                if not await waits.next():
                    raise self._late(waiter.id, timeout or 0.0)
        return _known(waiter)

    async def wait(
        self, waiters: Collection[Waiter], timeout: float | None, progress: Progress | None
    ) -> Mapping[str, Waiter]:
        """Wait for several; returns those that have not ended, by id."""
        with self._waiting(WaitSet(waiters), timeout) as waits:
            while await waits.next():
                if progress is not None:
                    progress(len(waiters) - len(waits.pending), len(waiters))
            return waits.pending

    async def completed(self, waiters: Collection[Waiter], timeout: float | None) -> AsyncGenerator[Waiter, None]:
        """Each as it ends. Raises ``TimeoutError`` when not all have in time."""
        with self._waiting(WaitSet(waiters), timeout) as waits:
            while ended := await waits.next():
                for waiter in ended:
                    yield waiter
            if waits.pending:
                left = f"{len(waits.pending)} of {len(waiters)} tasks have not ended within"
                raise TimeoutError(f"{left} {timeout or 0.0:g} s; they go on")

    async def watch(self, waiter: Waiter, name: str, timeout: float | None) -> AsyncGenerator[TaskRecord, None]:
        """The record of a task whenever it has changed, the last time when it has ended."""
        if waiter.reply is not None and (record := await self._record(waiter.id)) is not None:
            waiter.rerun(record.run)  # it may have been sent back since
        with self._waiting(Watch(waiter), timeout) as watch:
            while (record := await watch.change()) is not None:
                yield record
                if record.status.terminal:
                    return
            if watch.pending:
                raise self._late(waiter.id, timeout or 0.0)
        yield await self._last(_known(waiter), name)

    async def _last(self, reply: Reply, name: str) -> TaskRecord:
        """The record of a task that has ended; as much of it as the reply says where no store knows more."""
        record = await self._record(reply.id)
        if record is not None and record.run >= reply.run and record.status.terminal:
            return record
        return record_from(reply, name)

    async def _record(self, task_id: str) -> TaskRecord | None:
        """What the store knows, if there is one and it answers."""
        if self._store is None:
            return None
        try:
            return (await self._store.get([task_id]))[0]
        except StoreError as error:
            _log.warning("the store cannot be asked for the record of task %s: %s", task_id, error)
            return None

    @contextmanager
    def _waiting(self, waits: W, timeout: float | None) -> Iterator[W]:
        timers: list[Timer] = []
        self._waits[waits] = None
        try:
            self._begin(waits)
            if timeout is not None and waits.pending:
                timers.append(self._clock.call_later(timeout, lambda: self._time_is_up(waits, timers)))
            yield waits
        finally:
            del self._waits[waits]
            waits.close()
            for timer in timers:
                timer.cancel()

    def _begin(self, waits: WaitSet) -> None:
        if not waits.pending:
            return
        if self._closed:
            raise _closed()
        expected = True
        for waiter in waits.pending.values():
            if not waiter.expected:
                expected = False
                if self._store is None or not waiter.kept:
                    raise MissingCapability(_nothing_comes(waiter, self._store))
        if self._store is not None:
            # A reply is quicker than any look; what comes without one may have been there for long.
            self._looking(self._store).add(waits, FIRST_LOOK if expected and not isinstance(waits, Watch) else 0.0)

    def _looking(self, store: Store) -> Looker:
        if self._looker is None:
            self._looker = Looker(store, self._clock)
            self._supervisor.spawn(self._looker.run(), "results")
        return self._looker

    def _time_is_up(self, waits: WaitSet, timers: list[Timer]) -> None:
        """End with a last look, which must not take long either."""
        if self._looker is None:
            waits.finish()
        else:
            self._looker.look_last(waits)
            timers.append(self._clock.call_later(LAST_LOOK, waits.finish))

    def _late(self, task_id: str, timeout: float) -> TimeoutError:
        trouble = self._looker.trouble if self._looker is not None else None
        why = f"; the store did not answer: {trouble}" if trouble is not None else ""
        return TimeoutError(f"no result of task {task_id} within {timeout:g} s; the task goes on{why}")


def _known(waiter: Waiter) -> Reply:
    if waiter.reply is None:
        raise TaskNotFound(
            f"nobody knows task {waiter.id}: the id is wrong, it has not been sent yet, or its record is past its time",
            task_id=waiter.id,
        )
    return waiter.reply


def _nothing_comes(waiter: Waiter, store: Store | None) -> str:
    if store is None:
        return (
            f"no outcome of task {waiter.id} can come here: its reply goes to whoever sent it, and no store keeps its "
            'record; name one with App(url, store="sqlite:///..."), or send it with reply=True and wait there'
        )
    return f'task {waiter.id} has neither a reply nor a record: declare it without reply=False or record="none"'


def _closed() -> ConfigurationError:
    return ConfigurationError("the app is closed: wait for results inside `async with app:`")
