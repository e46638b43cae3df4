"""What an open app holds: its connections, and the parts that send, wait, ask and cancel through them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from brokerkit.calls import Composer
from brokerkit.client.asking import Asking
from brokerkit.client.cancelling import Cancelling
from brokerkit.client.handle import Cancel, Handle
from brokerkit.client.inbox import ReplyInbox
from brokerkit.client.progress import Progress
from brokerkit.client.results import Results
from brokerkit.client.sending import Sending
from brokerkit.client.waiting import Waiter
from brokerkit.clock import Clock
from brokerkit.deadletters import DeadLetterDesk
from brokerkit.errors import ConfigurationError
from brokerkit.ids import IdFactory, new_id
from brokerkit.message import Scalar
from brokerkit.publisher import Publisher
from brokerkit.records import TaskRecord
from brokerkit.replies import Reply
from brokerkit.settings import Settings
from brokerkit.store import Store
from brokerkit.supervisor import Supervisor
from brokerkit.topology import Exchange, Queue, Topology, modeless
from brokerkit.transport import Transport

if TYPE_CHECKING:
    from brokerkit.worker import Environment

R = TypeVar("R")


class Place(NamedTuple):
    """Where an app is open.

    Args:
        loop: The event loop; everything of the app has to be called there.
        process: The process, which a forked child is not.
    """

    loop: asyncio.AbstractEventLoop
    process: int


class Session:
    """One opening of an app; to handles it is their ``Client``.

    Args:
        name: The app's name.
        transport: Entered.
        store: Entered, or None.
        shared: The store is the broker's own.
        settings: The app's.
        clock: Supplies the time.
        supervisor: Runs background tasks.
        topology: Applied.

    Attributes:
        place: Where.
        sending: Sends and publishes.
        asking: Asks the store.
        dead: Handles dead letters.
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
        self.place = Place(asyncio.get_running_loop(), os.getpid())
        self._settings = settings
        self._ids = ids
        self.composer = Composer(
            clock, ids, settings.limits, content_type=settings.content_type, records=store is not None
        )
        pending_store = None if shared and transport.capabilities.atomic_records else store
        deadline = settings.publish_deadline
        known: set[Exchange | Queue] = {*map(modeless, topology.exchanges), *map(modeless, topology.queues)}
        self.publisher = Publisher(
            transport,
            pending_store,
            clock,
            middleware=settings.send_middleware,
            deadline=deadline,
            known=known,
        )
        self._inbox = ReplyInbox(transport, supervisor)
        self._results = Results(store, clock, supervisor)
        self.asking = Asking(store)
        self.dead = DeadLetterDesk(transport, self.asking, self._inbox, clock)
        self._cancelling = Cancelling(transport, store, clock, ids=ids, deadline=deadline)
        self.sending = Sending(
            self,
            self.publisher,
            self.composer,
            self._inbox,
            transport=transport,
            app=topology.name,
            known=known,
            settings=settings,
            mode=topology.mode,
        )

    def close(self) -> None:
        """End every wait: nothing comes any more."""
        self._results.close()

    def environment(self, state: Any = None) -> Environment:
        """What a worker is given; ``state`` is its lifespan's."""
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
            state=state,
        )

    # -- what handles ask ------------------------------------------------------------------------------------------

    async def outcome(self, waiter: Waiter, timeout: float | None) -> Reply:
        """Wait for one task."""
        return await self._results.outcome(waiter, timeout)

    def watch(self, waiter: Waiter, name: str, timeout: float | None) -> AsyncGenerator[TaskRecord, None]:
        """The record of a task whenever it changes."""
        return self._results.watch(waiter, name, timeout)

    async def record(self, task_id: str) -> TaskRecord | None:
        """What the store knows of a task."""
        return await self.asking.record(task_id)

    async def label(self, task_id: str, labels: Mapping[str, Scalar]) -> None:
        """Set labels of a task's record."""
        await self.asking.label(task_id, self.composer.labels(labels))

    async def cancel(self, task_id: str) -> Cancel:
        """Cancel a task."""
        return await self._cancelling.cancel(task_id)

    # -- several handles -------------------------------------------------------------------------------------------

    def handle(self, task_id: str, name: str, decode: Callable[[bytes, str], R], *, kept: bool) -> Handle[R]:
        """The handle of a task that anybody may have sent."""
        return Handle(task_id, name, decode, self, waiter=self._inbox.waiter(task_id, kept=kept))

    async def wait(
        self, handles: Iterable[Handle[R]], timeout: float | None, progress: Progress | None
    ) -> tuple[list[Handle[R]], list[Handle[R]]]:
        """Those that have ended, and those that have not."""
        listed = list(handles)
        pending = await self._results.wait(self._by_waiter(listed), timeout, progress)
        done: list[Handle[R]] = []
        left: list[Handle[R]] = []
        for handle in listed:
            (left if handle.id in pending else done).append(handle)
        return done, left

    async def completed(self, handles: Iterable[Handle[R]], timeout: float | None) -> AsyncGenerator[Handle[R], None]:
        """Each when it has ended."""
        by_waiter = self._by_waiter(handles)
        async for waiter in self._results.completed(by_waiter, timeout):
            yield by_waiter[waiter]

    def _by_waiter(self, handles: Iterable[Handle[R]]) -> dict[Waiter, Handle[R]]:
        found: dict[Waiter, Handle[R]] = {}
        for handle in handles:
            if not isinstance(handle, Handle):
                raise TypeError(f"handles are wanted; of an id, app.handle({handle!r}) makes one")
            if handle.client is not self:
                raise ConfigurationError(
                    f"{handle!r} belongs to another app, or to one that has been closed since: "
                    "make one here, app.handle(handle.id, task)"
                )
            found[handle.waiter] = handle
        return found
