"""The app: tasks and topology, connected to a broker."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar, Unpack, overload

from brokerkit.abilities import DeadLetters, DeadMessage, dead_letters_of
from brokerkit.calls import NO_OPTIONS, Call, SendOptions, TaskProfile, any_result
from brokerkit.clock import Clock, SystemClock
from brokerkit.codec import check_nesting, encode
from brokerkit.connect import store_for, transport_for
from brokerkit.errors import ConfigurationError, EncodeError, MissingCapability
from brokerkit.handle import Cancel, Handle
from brokerkit.message import Outgoing
from brokerkit.options import SendKeywords, WorkerKeywords
from brokerkit.records import TaskRecord, TaskStatus
from brokerkit.registry import Defaults, Descriptor, handlers_of, plans_of, topology_of
from brokerkit.session import Session, opened_store
from brokerkit.settings import BROKERS_OWN, DEFAULT_URL, ENVIRONMENT_URL, Settings
from brokerkit.store import OpenStore
from brokerkit.supervisor import Supervisor
from brokerkit.tasks import C, P, R, Task, Tasks, V
from brokerkit.topology import Exchange, Queue, Topology
from brokerkit.transport import QueueStats, Transport

if TYPE_CHECKING:  # the engine loads when a worker starts: programs that only send are quicker without it
    from brokerkit.worker import Worker, WorkerSettings

T = TypeVar("T")


class Event:
    """One event for ``publish_many``: the arguments of ``publish``.

    Args:
        payload: The event.
        exchange: An ``Exchange`` or its name.
        routing_key: The key.
        options: The fields of ``SendOptions``.
    """

    __slots__ = ("exchange", "options", "payload", "routing_key")

    def __init__(
        self, payload: Any, *, exchange: str | Exchange, routing_key: str = "", **options: Unpack[SendKeywords]
    ) -> None:
        self.payload = payload
        self.exchange = exchange
        self.routing_key = routing_key
        self.options = SendOptions(**options) if options else NO_OPTIONS


class App(Tasks):
    """Declares tasks and topology, sends, publishes, asks and works.

    ``async with app`` connects, creates what is missing and verifies the rest; ``app.worker()`` inside it works.

    Args:
        url: The broker: ``sqlite:///shop.db``, ``memory://``. Default: the environment's ``BROKERKIT_URL``, else
            ``sqlite:///brokerkit.db``; read when the app is opened. A ``Transport`` may be given instead.
        name: The app's name; the broker keeps one fragment of topology for each. Default ``app``.
        store: Where records live: default with the broker, where it keeps any; a URL; or None for no records.
        topology: More to declare than tasks and subscribers mention.
        settings: See ``Settings``.
        clock: Supplies the time; tests give a virtual one.

    Raises:
        ConfigurationError: The URL makes no sense.
    """

    def __init__(
        self,
        url: str | Transport | None = None,
        *,
        name: str = "app",
        store: str | OpenStore | None = BROKERS_OWN,
        topology: Topology | None = None,
        settings: Settings | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.settings = settings or Settings()
        super().__init__(limits=self.settings.limits)
        self.name = name
        self.clock: Clock = clock or SystemClock()
        self._store_given = store
        self._topology = topology
        self._declared: list[Descriptor] = []
        self._transport = self._make_transport(url) if url is not None else None
        self._session: Session | None = None
        self._running: AbstractAsyncContextManager[None] | None = None

    def _make_transport(self, url: str | Transport) -> Transport:
        return transport_for(url, self.clock) if isinstance(url, str) else url

    # -- declaring -------------------------------------------------------------------------------------------------

    def declare(self, *descriptors: Descriptor) -> None:
        """Declare exchanges, queues, logs or groups that no task or subscriber mentions."""
        self._declared.extend(descriptors)

    def topology(self) -> Topology:
        """Everything this app declares.

        Raises:
            TopologyError: It contradicts itself; every problem is listed.
        """
        return topology_of(self.name, self, self._declared, self._topology)

    def _add_task(self, task: Task[P, R, C, V]) -> Task[P, R, C, V]:
        super()._add_task(task)
        task.join(self, self.settings.limits, self.settings.content_type)
        return task

    # -- opening ---------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        if self._running is not None:
            raise ConfigurationError("the app is open already")
        self._running = self._opened()
        try:
            await self._running.__aenter__()
        except BaseException:
            self._running = None
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        running, self._running = self._running, None
        return await running.__aexit__(kind, error, traceback) if running is not None else None

    @asynccontextmanager
    async def _opened(self) -> AsyncIterator[None]:
        topology = self.topology()
        if self._transport is None:
            self._transport = self._make_transport(os.environ.get(ENVIRONMENT_URL) or DEFAULT_URL)
        store = self._chosen_store()
        async with (
            self._transport as transport,
            opened_store(transport, store, self._store_given == BROKERS_OWN) as (records, shared),
            Supervisor(f"app {self.name}") as supervisor,
        ):
            if topology != Topology(self.name):  # who only asks leaves nothing behind
                await transport.apply(topology)
            self._session = Session(
                self.name, transport, records, shared, self.settings, self.clock, supervisor, topology
            )
            try:
                yield
            finally:
                self._session = None

    def _chosen_store(self) -> OpenStore | None:
        given = self._store_given
        if given is None or given == BROKERS_OWN:
            return None
        return store_for(given, self.clock) if isinstance(given, str) else given

    @property
    def _open(self) -> Session:
        if self._session is None:
            raise ConfigurationError("the app is not open: use it inside `async with app:`")
        return self._session

    @property
    def transport(self) -> Transport:
        """The transport of the open app, for what only its broker can do."""
        return self._open.transport

    # -- working ---------------------------------------------------------------------------------------------------

    def worker(self, **settings: Unpack[WorkerKeywords]) -> AbstractAsyncContextManager[Worker]:
        """A worker in this process: ``async with app, app.worker(concurrency=8):``. Leaving the context drains it.

        Args:
            settings: The fields of ``WorkerSettings``: ``concurrency``, ``sync_threads``, ``grace``, ``queues`` …

        Raises:
            ConfigurationError: The app is not open or has nothing to consume, or a setting makes no sense.
        """
        from brokerkit.worker import WorkerSettings

        try:
            checked = WorkerSettings(**settings)
        except (TypeError, ValueError) as error:
            raise ConfigurationError(f"worker: {error}") from error
        return self._working(checked)

    @asynccontextmanager
    async def _working(self, settings: WorkerSettings) -> AsyncIterator[Worker]:
        from brokerkit.worker import Worker

        session = self._open
        defaults = Defaults(
            retry=self.settings.retry,
            limits=self.settings.limits,
            middleware=self.settings.middleware,
            records=session.store is not None,
            content_type=self.settings.content_type,
        )
        handlers = handlers_of(self, session.topology, defaults)
        if unknown := ", ".join(sorted(set(settings.queues) - handlers.keys())):
            known = ", ".join(sorted(handlers))
            raise ConfigurationError(f"no task or subscriber consumes {unknown}; this app consumes {known}")
        if settings.queues:
            handlers = {key: handlers[key] for key in settings.queues}
        if not handlers:
            raise ConfigurationError("the app has no tasks and no subscribers: import the modules that define them")
        worker = Worker(session.environment(), handlers, plans_of(handlers, session.topology), settings)
        async with worker.serving():
            yield worker

    # -- sending ---------------------------------------------------------------------------------------------------

    @overload
    async def send(self, call: Call[T], /) -> Handle[T]: ...
    @overload
    async def send(
        self,
        call: str,
        arguments: Mapping[str, Any] | None = None,
        /,
        *,
        queue: str | Queue,
        **options: Unpack[SendKeywords],
    ) -> Handle[Any]: ...

    async def send(
        self,
        call: Call[Any] | str,
        arguments: Mapping[str, Any] | None = None,
        /,
        *,
        queue: str | Queue = "",
        **options: Unpack[SendKeywords],
    ) -> Handle[Any]:
        """Send a call, or a task by its wire name to code this program does not have.

        Args:
            call: ``task.message(…)``, or a wire name.
            arguments: With a name: the arguments by name.
            queue: With a name: the queue of the task.
            options: With a name: the fields of ``SendOptions``.

        Returns:
            Its handle, once the broker has confirmed it.

        Raises:
            PublishFailed: The broker did not take it; the subclass says why.
            EncodeError: An argument has no representation.
        """
        if isinstance(call, str):
            await self._open.declare(queue)
            call = self._call_by_name(call, arguments or {}, queue, SendOptions(**options) if options else NO_OPTIONS)
        return await self.send_call(call)

    def _call_by_name(
        self, name: str, arguments: Mapping[str, Any], queue: str | Queue, options: SendOptions
    ) -> Call[Any]:
        target = queue if isinstance(queue, str) else queue.name
        if not name or not target:
            raise ConfigurationError('send by name takes a name and a queue: app.send("add", {"a": 1}, queue="sums")')
        body = encode(dict(arguments), self.settings.content_type)
        if len(body) > self.settings.limits.body:
            raise EncodeError(f"arguments of {len(body)} bytes are over the limit of {self.settings.limits.body}")
        check_nesting(body, self.settings.content_type, self.settings.limits)
        return Call(TaskProfile(name=name, queue=target), body, self.settings.content_type, options, any_result)

    async def send_call(self, call: Call[T]) -> Handle[T]:
        """Publish one call."""
        return (await self._open.send_batches([call], 1))[0]

    async def send_many(self, calls: Iterable[Call[T]], *, batch: int = 500) -> list[Handle[T]]:
        """Send many calls, in batches.

        Args:
            calls: ``task.message(…)`` for each.
            batch: Calls per publish; default 500.

        Returns:
            Their handles, in order, once the broker has confirmed all.

        Raises:
            PublishFailed: Some were not accepted; ``failed`` names them. Later batches were not sent.
        """
        return await self._open.send_batches(list(calls), batch)

    async def publish(
        self, payload: Any, *, exchange: str | Exchange, routing_key: str = "", **options: Unpack[SendKeywords]
    ) -> str:
        """Publish an event to an exchange.

        Args:
            payload: A msgspec struct, dataclass, TypedDict, pydantic model or plain value.
            exchange: An ``Exchange``, declared if it is not yet, or the name of a declared one.
            routing_key: The key its bindings match.
            options: The fields of ``SendOptions``.

        Returns:
            The message's id, once the broker has confirmed it.

        Raises:
            Unroutable: No binding matches and the exchange has no alternate.
            PublishFailed: The broker did not take it; the subclass says why.
            EncodeError: The payload cannot be encoded.
        """
        return (await self.publish_many([Event(payload, exchange=exchange, routing_key=routing_key, **options)]))[0]

    async def publish_many(self, events: Iterable[Event]) -> list[str]:
        """Publish several events in one batch; returns their ids. Raises as ``publish``; ``failed`` names which."""
        session = self._open
        listed = list(events)
        outgoing: Sequence[Outgoing] = [
            session.composer.event(event.payload, event.exchange, event.routing_key, event.options) for event in listed
        ]
        await session.declare(*(event.exchange for event in listed))
        await session.publisher.publish_or_raise(outgoing)
        return [message.message.id for message in outgoing]

    # -- asking ----------------------------------------------------------------------------------------------------

    async def record(self, task_id: str) -> TaskRecord | None:
        """What the store knows of a task, None if unknown. Raises ``MissingCapability`` without a store."""
        return await self._open.record(task_id)

    async def status(self, task_id: str) -> TaskStatus | None:
        """Where a task stands, None if unknown. Raises ``MissingCapability`` without a store."""
        record = await self.record(task_id)
        return None if record is None else record.status

    async def queue_stats(self, queue: str | Queue) -> QueueStats:
        """Messages of a queue, or of a group (``log@group``), now; None where the broker cannot know.

        Raises:
            TopologyError: There is no such queue.
        """
        return await self._open.transport.stats(queue if isinstance(queue, str) else queue.name)

    async def cancel(self, task_id: str) -> Cancel:
        """Cancel a task.

        Returns:
            CANCELLED: it had not started and never will. REQUESTED: a worker that runs it has been asked.
            TOO_LATE: it has finished, or nobody knows it.

        Raises:
            MissingCapability: The broker cannot remove a message that waits.
        """
        return await self._open.cancel(task_id)

    async def dead_letters(
        self, queue: str | Queue, *, limit: int = 100, ids: Sequence[str] | None = None
    ) -> list[DeadMessage]:
        """The dead letters of a queue or group, oldest first; only those of certain messages where ids are given."""
        return await self._dead_letters().dead_letters(_name(queue), limit=limit, ids=ids)

    async def redrive(self, queue: str | Queue, ids: Sequence[str] | None = None) -> int:
        """Send dead letters back to their queue as new runs; all of them unless ids are given. Returns how many."""
        return await self._dead_letters().redrive(_name(queue), ids)

    async def purge(self, queue: str | Queue, ids: Sequence[str] | None = None) -> int:
        """Delete dead letters for good; all of them unless ids are given. Returns how many."""
        return await self._dead_letters().purge(_name(queue), ids)

    def _dead_letters(self) -> DeadLetters:
        transport = self._open.transport
        dead_letters = dead_letters_of(transport)
        if dead_letters is None:
            raise MissingCapability(f"{transport.capabilities.name} cannot look into dead-letter queues")
        return dead_letters


def _name(queue: str | Queue) -> str:
    return queue if isinstance(queue, str) else queue.name


__all__ = ["App", "Event"]
