"""Results on the caller's side: the inbox, who waits for what, and the store as the truth behind it."""

from __future__ import annotations

import asyncio
import logging
from weakref import WeakValueDictionary

from brokerkit.clock import Clock
from brokerkit.errors import ConnectionLost, DecodeError, MissingCapability, StoreError
from brokerkit.handle import Waiter
from brokerkit.records import TaskRecord
from brokerkit.replies import Reply, reply_from, unpack
from brokerkit.store import Store
from brokerkit.supervisor import Supervisor
from brokerkit.transport import Transport

_log = logging.getLogger("brokerkit")

FIRST_LOOK, LONGEST_LOOK = 0.25, 2.0
"""Seconds between two looks into the store while a reply is awaited: the first time, and at most. A reply may be lost;
the store has the result all the same."""


class Results:
    """Waits for outcomes, by reply or from the store.

    Args:
        transport: Where the inbox is opened, on the first task that wants a reply.
        store: The store of records, or None.
        clock: Supplies the time.
        supervisor: Runs the inbox's reader.
    """

    def __init__(self, transport: Transport, store: Store | None, clock: Clock, supervisor: Supervisor) -> None:
        self._transport = transport
        self._store = store
        self._clock = clock
        self._supervisor = supervisor
        self._waiters: WeakValueDictionary[str, Waiter] = WeakValueDictionary()
        self._opened: asyncio.Future[str] | None = None

    async def address(self) -> str:
        """This process's inbox, opened when it is first needed."""
        if self._opened is None:
            self._opened = asyncio.get_running_loop().create_future()
            self._supervisor.spawn(self._read(self._opened), "inbox")
        if self._opened.done():
            return self._opened.result()
        return await asyncio.shield(self._opened)

    def expect(self, task_id: str) -> Waiter:
        """Register before the task is sent, so that no reply is missed. Kept as long as its handle is."""
        waiter = self._waiters.get(task_id)
        if waiter is None:
            waiter = self._waiters[task_id] = Waiter(expected=True)
        return waiter

    async def wait_for(self, task_id: str, waiter: Waiter, timeout: float) -> Reply:
        """Wait for a reply, looking into the store now and then.

        Raises:
            TimeoutError: Neither came in time.
            MissingCapability: Neither can come.
        """
        if self._store is None and self._opened is None:
            raise MissingCapability(
                f"task {task_id} has no reply and no store keeps it; use reply=True or name a store"
            )
        deadline = self._clock.monotonic() + timeout
        pause = FIRST_LOOK
        if waiter.expected and waiter.reply is None:
            await self._pause(waiter, min(pause, timeout))
        while True:
            found = waiter.reply or await self._look(task_id) or waiter.reply
            if found is not None:
                waiter.resolve(found)
                return found
            left = deadline - self._clock.monotonic()
            if left <= 0:
                raise TimeoutError(f"no result of task {task_id} within {timeout:g} s; the task goes on")
            await self._pause(waiter, min(pause, left))
            pause = min(LONGEST_LOOK, pause * 2)

    async def _look(self, task_id: str) -> Reply | None:
        if self._store is None:
            return None
        record: TaskRecord | None
        try:
            (record,) = await self._store.get([task_id])
        except StoreError as error:  # a reply may come all the same, and the store may come back
            _log.warning("the store cannot be asked for the result of task %s: %s", task_id, error)
            return None
        return reply_from(record) if record is not None and record.status.terminal else None

    async def _pause(self, waiter: Waiter, limit: float) -> None:
        """Until the reply arrives, or for so many seconds."""
        if waiter.reply is not None:
            return
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def wake() -> None:
            if not woken.done():
                woken.set_result(None)

        waiter.arrived.add(wake)
        timer = self._clock.call_later(limit, wake)
        try:
            await woken
        finally:
            timer.cancel()
            waiter.arrived.discard(wake)

    async def _read(self, opened: asyncio.Future[str]) -> None:
        try:
            await self._read_inbox(opened)
        finally:
            if not opened.done():  # who waits for the address must not wait for ever
                opened.set_exception(ConnectionLost("the inbox could not be opened"))
                opened.exception()  # looked at, so that it is not reported as forgotten

    async def _read_inbox(self, opened: asyncio.Future[str]) -> None:
        async with self._transport.replies() as inbox:
            opened.set_result(inbox.address)
            while messages := await inbox.receive():
                for message in messages:
                    try:
                        replies = unpack(message)
                    except DecodeError as error:
                        _log.warning("a message in the inbox is not a reply: %s", error)
                        continue
                    for reply in replies:
                        if (waiter := self._waiters.get(reply.id)) is not None:
                            waiter.resolve(reply)
        raise ConnectionLost("the transport has closed the inbox")
