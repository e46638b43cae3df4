"""What an open app holds: its connections, and what sends and waits through them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from brokerkit.abilities import Cancelled, OwnStore, Signal, cancel_waiting_of, signals_of
from brokerkit.calls import Call, Composer
from brokerkit.clock import Clock
from brokerkit.errors import MissingCapability, StoreError
from brokerkit.handle import Cancel, Handle, Waiter
from brokerkit.ids import IdFactory, new_id
from brokerkit.message import Outgoing
from brokerkit.publisher import Publisher
from brokerkit.records import TaskRecord, TaskStatus
from brokerkit.results import Results
from brokerkit.settings import Settings
from brokerkit.store import OpenStore, Put, Store
from brokerkit.supervisor import Supervisor
from brokerkit.topology import Exchange, Queue, Topology, validate, with_exchanges
from brokerkit.transport import Transport

if TYPE_CHECKING:
    from brokerkit.worker import Environment

_log = logging.getLogger("brokerkit")

R = TypeVar("R")


class Session:
    """One opening of an app.

    Args:
        name: The app's name.
        transport: Entered.
        store: Entered, or None.
        shared: The store is the broker's own.
        settings: The app's.
        clock: Supplies the time.
        supervisor: Runs background tasks.
        topology: Applied.
    """

    def __init__(
        self,
        name: str,
        transport: Transport,
        store: Store | None,
        shared: bool,
        settings: Settings,
        clock: Clock,
        supervisor: Supervisor,
        topology: Topology,
        ids: IdFactory = new_id,
    ) -> None:
        self.name = name
        self.transport = transport
        self.store = store
        self.shared = shared
        self.clock = clock
        self.supervisor = supervisor
        self.topology = topology
        self._settings = settings
        self._ids = ids
        self.composer = Composer(
            clock, ids, settings.limits, content_type=settings.content_type, records=store is not None
        )
        pending_store = None if shared and transport.capabilities.atomic_records else store
        self.publisher = Publisher(
            transport, pending_store, clock, middleware=settings.send_middleware, deadline=settings.publish_deadline
        )
        self._results = Results(transport, store, clock, supervisor)
        self._client = SessionClient(self, self._results)
        self._known: set[Exchange | Queue] = {*topology.exchanges, *topology.queues}

    def environment(self) -> Environment:
        """What a worker is given."""
        from brokerkit.worker import Environment

        return Environment(
            app=self.name,
            transport=self.transport,
            store=self.store,
            shared=self.shared,
            publisher=self.publisher,
            composer=self.composer,
            clock=self.clock,
            ids=self._ids,
            result_limit=self._settings.limits.body,
        )

    async def send_batches(self, calls: Sequence[Call[R]], size: int) -> list[Handle[R]]:
        """Publish calls in batches of ``size``, composing each while the one before is on its way; a handle for each,
        in order."""
        wants_reply = any(call.profile.reply for call in calls)
        reply_to = await self._results.address() if wants_reply else None
        handles: list[Handle[R]] = []
        outgoing = self._compose(calls[:size], reply_to, handles)
        for start in range(size, len(calls), size):
            sent, composed = await asyncio.gather(
                self.publisher.publish_or_raise(outgoing),
                self._compose_soon(calls[start : start + size], reply_to, handles),
                return_exceptions=True,  # a call that cannot be composed does not leave a publish unattended
            )
            if isinstance(sent, BaseException):
                raise sent
            if isinstance(composed, BaseException):
                raise composed
            outgoing = composed
        if outgoing:
            await self.publisher.publish_or_raise(outgoing)
        return handles

    async def _compose_soon(
        self, calls: Sequence[Call[R]], reply_to: str | None, handles: list[Handle[R]]
    ) -> list[Outgoing]:
        return self._compose(calls, reply_to, handles)

    def _compose(self, calls: Sequence[Call[R]], reply_to: str | None, handles: list[Handle[R]]) -> list[Outgoing]:
        outgoing = [self.composer.call(call, reply_to=reply_to) for call in calls]
        handles += [self._handle(call, message) for call, message in zip(calls, outgoing, strict=True)]
        return outgoing

    def _handle(self, call: Call[R], outgoing: Outgoing) -> Handle[R]:
        task_id = outgoing.message.id
        waiter = self._results.expect(task_id) if call.profile.reply else Waiter()
        return Handle(task_id, call.profile.name, call.result, waiter, self._client)

    async def declare(self, *mentioned: object) -> None:
        """Declare exchanges and queues that were given as objects and are not declared yet; names are left alone."""
        new = [item for item in mentioned if isinstance(item, Exchange | Queue) and item not in self._known]
        if new:
            exchanges = tuple(dict.fromkeys(item for item in new if isinstance(item, Exchange)))
            queues = tuple(dict.fromkeys(item for item in new if isinstance(item, Queue)))
            addition = with_exchanges(Topology(self.name, exchanges=exchanges, queues=queues))
            validate(addition)
            await self.transport.apply(addition)
            self._known.update(new)

    async def record(self, task_id: str) -> TaskRecord | None:
        """What the store knows of a task."""
        if self.store is None:
            raise MissingCapability(
                'no store keeps records here: results come by reply only; name one with App(url, store="sqlite:///...")'
            )
        return (await self.store.get([task_id]))[0]

    async def cancel(self, task_id: str) -> Cancel:
        """Cancel a task: remove it if it waits, else ask whoever runs it."""
        waiting = cancel_waiting_of(self.transport)
        if waiting is None:
            raise MissingCapability(f"{self.transport.capabilities.name} cannot cancel a task that waits")
        known = await self.record(task_id) if self.store is not None else None
        if known is not None and known.status.terminal:
            return Cancel.TOO_LATE
        report = self._cancelled_record(known) if known is not None and self.shared else None
        removed = await waiting.cancel(task_id, report)
        if removed is Cancelled.REMOVED:
            await self._report_cancelled(task_id)
            return Cancel.CANCELLED
        return Cancel.REQUESTED if removed is Cancelled.REQUESTED else await self._signal_cancel(task_id)

    async def _signal_cancel(self, task_id: str) -> Cancel:
        signals = signals_of(self.transport)
        known = await self.record(task_id) if self.store is not None else None
        if known is None or known.status.terminal or signals is None:
            return Cancel.TOO_LATE
        await signals.signal(Signal("cancel", task_id, known.run))
        return Cancel.REQUESTED

    async def _report_cancelled(self, task_id: str) -> None:
        """The message is gone; make sure that its record says so, also when its last attempt's report came between."""
        for _ in range(5):
            known = await self.record(task_id) if self.store is not None else None
            if self.store is None or known is None or known.status.terminal:
                return
            if (await self.store.put([self._cancelled_record(known)]))[0] is Put.STORED:
                return

    def _cancelled_record(self, known: TaskRecord) -> TaskRecord:
        return msgspec.structs.replace(known, status=TaskStatus.CANCELLED, finished=self.clock.now(), followups=())


class SessionClient:
    """What handles ask of their session."""

    __slots__ = ("_results", "_session")

    def __init__(self, session: Session, results: Results) -> None:
        self._session = session
        self._results = results

    async def wait_for(self, task_id: str, waiter: Any, timeout: float) -> Any:
        """Wait for the outcome."""
        return await self._results.wait_for(task_id, waiter, timeout)

    async def record(self, task_id: str) -> TaskRecord | None:
        """What the store knows."""
        return await self._session.record(task_id)

    async def cancel(self, task_id: str) -> Cancel:
        """Cancel a task."""
        return await self._session.cancel(task_id)


@asynccontextmanager
async def opened_store(
    transport: Transport, store: OpenStore | None, own: bool
) -> AsyncIterator[tuple[Store | None, bool]]:
    """The store an app uses, and whether it is the broker's own; entered and left with the context."""
    async with AsyncExitStack() as stack:
        if own and isinstance(transport, OwnStore):
            yield transport.store, True
        elif store is not None:
            try:
                entered: Store = await stack.enter_async_context(store)
            except OSError as error:
                raise StoreError(f"the store cannot be opened: {error}") from error
            yield entered, False
        else:
            yield None, False
