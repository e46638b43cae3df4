"""This process's inbox: where the replies to what it has sent arrive, and whose they are."""

from __future__ import annotations

import asyncio
import logging
from weakref import WeakValueDictionary

from brokerkit.client.waiting import Waiter
from brokerkit.errors import ConnectionLost, DecodeError
from brokerkit.message import Message
from brokerkit.replies import unpack
from brokerkit.supervisor import Supervisor
from brokerkit.transport import Transport

_log = logging.getLogger("brokerkit")


class ReplyInbox:
    """Opens an inbox with the first task that wants a reply, and tells waiters of what arrives.

    Args:
        transport: Where it is opened.
        supervisor: Runs its reader.
    """

    def __init__(self, transport: Transport, supervisor: Supervisor) -> None:
        self._transport = transport
        self._supervisor = supervisor
        self._waiters: WeakValueDictionary[str, Waiter] = WeakValueDictionary()
        self._opened: asyncio.Future[str] | None = None

    async def address(self) -> str:
        """Its address; opened when it is first needed."""
        if self._opened is None:
            self._opened = asyncio.get_running_loop().create_future()
            self._supervisor.spawn(self._read(self._opened), "inbox")
        if self._opened.done():
            return self._opened.result()
        return await asyncio.shield(self._opened)

    def expect(self, task_id: str, *, kept: bool) -> Waiter:
        """Register before the task is sent, so that no reply is missed. Kept as long as its handle is."""
        waiter = self.waiter(task_id, kept=kept)
        waiter.expected = True
        return waiter

    def waiter(self, task_id: str, *, kept: bool) -> Waiter:
        """The waiter of a task that somebody else may have sent."""
        waiter = self._waiters.get(task_id)
        if waiter is None:
            waiter = self._waiters[task_id] = Waiter(task_id, kept=kept)
        return waiter

    def rerun(self, task_id: str, run: int) -> None:
        """A task was sent back: who waits for it waits for that run."""
        if (waiter := self._waiters.get(task_id)) is not None:
            waiter.rerun(run)

    async def _read(self, opened: asyncio.Future[str]) -> None:
        try:
            async with self._transport.replies() as inbox:
                opened.set_result(inbox.address)
                while messages := await inbox.receive():
                    for message in messages:
                        self._deliver(message)
            raise ConnectionLost("the transport has closed the inbox")
        finally:
            if not opened.done():  # who waits for the address must not wait for ever
                opened.set_exception(ConnectionLost("the inbox could not be opened"))
                opened.exception()  # looked at, so that it is not reported as forgotten

    def _deliver(self, message: Message) -> None:
        try:
            replies = unpack(message)
        except DecodeError as error:
            _log.warning("a message in the inbox is not a reply: %s", error)
            return
        for reply in replies:
            if (waiter := self._waiters.get(reply.id)) is not None:
                waiter.resolve(reply)
