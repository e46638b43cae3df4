"""Cancelling a task: truthfully, whatever becomes of it meanwhile."""

from __future__ import annotations

import logging

from brokerkit.abilities import Signal, cancel_waiting_of, signals_of
from brokerkit.client.handle import Cancel
from brokerkit.clock import Clock
from brokerkit.errors import BrokerkitError, MissingCapability, StoreError
from brokerkit.ids import IdFactory
from brokerkit.insisting import answered
from brokerkit.message import MSGPACK, Message, Outgoing
from brokerkit.records import TaskRecord, TaskStatus, cancelled
from brokerkit.replies import Reply, pack
from brokerkit.store import Put, Store
from brokerkit.transport import INBOX_PREFIX, Transport

_log = logging.getLogger("brokerkit")

TRIES = 5
"""How often a record is read again because it has changed meanwhile."""


class Cancelling:
    """Removes a task that waits, where the broker can; else leaves word for whoever gets it, and asks whoever runs it.

    Args:
        transport: The broker.
        store: The store of records, or None.
        clock: Supplies the time.
        ids: Makes the ids of replies.
        deadline: Seconds for one publish.
    """

    def __init__(
        self, transport: Transport, store: Store | None, clock: Clock, *, ids: IdFactory, deadline: float
    ) -> None:
        self._transport = transport
        self._store = store
        self._clock = clock
        self._ids = ids
        self._deadline = deadline

    async def cancel(self, task_id: str) -> Cancel:
        """Cancel a task; see ``App.cancel``."""
        if self._transport.capabilities.cancel == "tombstone":
            return await self._entomb(task_id)
        return await self._remove(task_id)

    # -- where a message can be taken out of its queue -------------------------------------------------------------

    async def _remove(self, task_id: str) -> Cancel:
        waiting = cancel_waiting_of(self._transport)
        if waiting is None:
            raise MissingCapability(f"{self._transport.capabilities.name} cannot cancel a task that waits")
        known = await self._known(task_id)
        answer = await waiting.cancel(task_id, after_run=known.run if known is not None and known.over else 0)
        message = answer.message
        if message is None:
            return await self._not_found(task_id)
        if answer.held:
            return await self._ask(task_id, message.run)
        if self._store is not None and not await self._recorded(self._store, message):
            return Cancel.TOO_LATE
        await self._reply(message)
        return Cancel.CANCELLED

    async def _not_found(self, task_id: str) -> Cancel:
        """Its run is over, or its message is on its way from one place to another."""
        known = await self._known(task_id)
        if known is None or known.over:
            return Cancel.TOO_LATE
        return await self._ask(task_id, known.run)

    async def _recorded(self, store: Store, message: Message) -> bool:
        """Have the record of a message that is gone say so, if it does not yet; False when its run turns out to be
        over."""
        try:
            for _ in range(TRIES):
                known = await self._known(message.id)
                if known is None or known.run > message.run:
                    return True
                if known.over:
                    return await self._came_back(message, known)
                report = cancelled(known, message.run, self._clock.now())
                if report is None or (await store.put([report]))[0] is Put.STORED:
                    return True
        except StoreError as error:
            _log.warning("task %s is cancelled, but the store cannot be told: %s", message.id, error)
            return True
        _log.warning("task %s is cancelled, but the store does not take its record", message.id)
        return True

    async def _came_back(self, message: Message, known: TaskRecord) -> bool:
        """It had come back after a crash to be recognised: follow-ups that have not left still need it."""
        if not known.status.terminal:
            await self._publish(Outgoing(message, "", known.queue))
        return known.status is TaskStatus.CANCELLED

    # -- where it cannot -------------------------------------------------------------------------------------------

    async def _entomb(self, task_id: str) -> Cancel:
        """Its record says that it is cancelled, and the worker that gets it reads that first. A running task is only
        asked: its own outcome will be true."""
        if self._store is None:
            raise MissingCapability(
                f"{self._transport.capabilities.name} cancels by a record that workers read before they start a task, "
                'and no store keeps records here; name one with App(url, store="sqlite:///...")'
            )
        run = 0
        for _ in range(TRIES):
            known = await self._known(task_id)
            if known is None or (known.over and not known.asked):
                return Cancel.TOO_LATE
            run = known.run
            report = cancelled(known, run, self._clock.now(), asked=True)
            if known.status is TaskStatus.RUNNING or report is None:
                break
            if (await self._store.put([report]))[0] is Put.STORED:
                break
        if (signals := signals_of(self._transport)) is not None:
            await signals.signal(Signal("cancel", task_id, run))
        return Cancel.REQUESTED

    # -- both ------------------------------------------------------------------------------------------------------

    async def _known(self, task_id: str) -> TaskRecord | None:
        return (await self._store.get([task_id]))[0] if self._store is not None else None

    async def _ask(self, task_id: str, run: int) -> Cancel:
        """Ask whoever holds it."""
        signals = signals_of(self._transport)
        if signals is None:
            raise MissingCapability(f"{self._transport.capabilities.name} cannot reach the worker that runs a task")
        await signals.signal(Signal("cancel", task_id, run))
        return Cancel.REQUESTED

    async def _reply(self, message: Message) -> None:
        """Tell whoever waits for its result; no worker will."""
        address = message.reply_to
        if address is not None and address.startswith(INBOX_PREFIX):
            now = self._clock.now()
            reply = Reply(message.id, message.run, TaskStatus.CANCELLED, None, MSGPACK, None, message.attempt)
            await self._publish(pack(address, [reply], self._ids(now), now))

    async def _publish(self, outgoing: Outgoing) -> None:
        try:
            await answered(self._transport.publish([outgoing], deadline=self._deadline))
        except BrokerkitError as error:
            _log.warning("%s %s could not be published: %s", outgoing.message.name, outgoing.message.id, error)
