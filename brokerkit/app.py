"""The app: tasks and topology, connected to a broker."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, nullcontext
from datetime import timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar, Unpack, overload

from msgspec.structs import replace

from brokerkit.abilities import DeadMessage
from brokerkit.backing import Backing, Beside
from brokerkit.calls import Call, any_result, seconds, send_options, unknown
from brokerkit.client.background import Background
from brokerkit.client.blocking import BlockingClient
from brokerkit.client.handle import RESULT_WAIT, Cancel, Handle
from brokerkit.client.progress import Progress
from brokerkit.client.sending import Event
from brokerkit.clock import Clock, SystemClock
from brokerkit.deadletters import DeadLetterGroups
from brokerkit.deadletters.selecting import selection
from brokerkit.errors import ConfigurationError
from brokerkit.handlers.lifespan import Lifespan
from brokerkit.handlers.overrides import Overrides
from brokerkit.message import Scalar
from brokerkit.options import DeadLetterKeywords, FindKeywords, SendKeywords, WorkerKeywords
from brokerkit.records import TaskRecord, TaskStatus
from brokerkit.registry import Descriptor, topology_of
from brokerkit.session import Place, Session
from brokerkit.settings import BROKERS_OWN, Settings
from brokerkit.store import OpenStore, Store
from brokerkit.supervisor import Supervisor
from brokerkit.tasks import C, P, R, Task, Tasks, V
from brokerkit.topology import Exchange, Queue, Topology, validate
from brokerkit.transport import QueueStats, Transport

if TYPE_CHECKING:  # the engine loads when a worker starts: programs that only send are quicker without it
    from brokerkit.worker import Worker

T = TypeVar("T")


class App(Tasks):
    """Declares tasks and topology, sends, publishes, asks and works.

    ``async with app`` connects, creates what is missing and verifies the rest; ``app.worker()`` inside it works.

    Args:
        url: The broker: ``sqlite:///shop.db``, ``memory://``. Default: the environment's ``BROKERKIT_URL``, else
            ``sqlite:///brokerkit.db``; read when the app is opened. A ``Transport`` may be given instead.
        name: The app's name; the broker keeps one fragment of topology for each. Default ``app``.
        store: Where records live: default with the broker, where it keeps any; a URL; or None for no records.
        topology: More to declare than tasks and subscribers mention: a value, or the name of a YAML or TOML file, which
            is read when the app is opened.
        topology_env: The overlay of that file to apply. Default none.
        settings: See ``Settings``.
        clock: Supplies the time; tests give a virtual one.
        lifespan: Entered by each worker before it takes messages; see ``lifespan``, which adds more.

    Attributes:
        overrides: What tests replace dependencies by.
        topology_file: The file that ``topology`` named, or None.
        topology_env: As given.

    Raises:
        ConfigurationError: The URL makes no sense, or there is an overlay without a file.
    """

    def __init__(
        self,
        url: str | Transport | None = None,
        *,
        name: str = "app",
        store: str | OpenStore | None = BROKERS_OWN,
        topology: Topology | str | os.PathLike[str] | None = None,
        topology_env: str | None = None,
        settings: Settings | None = None,
        clock: Clock | None = None,
        lifespan: Lifespan | None = None,
    ) -> None:
        if topology_env is not None and not isinstance(topology, str | os.PathLike):
            raise ConfigurationError("topology_env= chooses an overlay of a file: give topology= the file's name")
        self.settings = settings or Settings()
        super().__init__(limits=self.settings.limits)
        self.overrides = Overrides()
        if lifespan is not None:
            self.lifespan(lifespan)
        self.name = name
        self._backing = Backing(url, store, clock or SystemClock(), retention=self.settings.retention)
        self.topology_file = topology if isinstance(topology, str | os.PathLike) else None
        self.topology_env = topology_env
        self._topology = topology if isinstance(topology, Topology) else None
        self._declared: list[Descriptor] = []
        self._session: Session | None = None
        self._running: AbstractAsyncContextManager[None] | None = None
        self._background = Background(self)

    @property
    def clock(self) -> Clock:
        """Supplies the time."""
        return self._backing.clock

    @property
    def scheme(self) -> str:
        """The scheme of its broker's URL; "" where the environment or a transport says it."""
        return self._backing.scheme

    @property
    def address(self) -> str:
        """Its broker's URL without the password; "" for a transport, and before the environment was asked."""
        return self._backing.address

    # -- declaring -------------------------------------------------------------------------------------------------

    def declare(self, *descriptors: Descriptor) -> None:
        """Declare exchanges, queues, logs or groups that no task or subscriber mentions."""
        self._declared.extend(descriptors)

    def discover(self, package: str, *, exclude: Sequence[str] = ()) -> list[str]:
        """Import a package with all its modules, and include every ``Tasks`` that is a variable of one of them.

        Args:
            package: Its name, as ``shop.jobs``; a module that is no package is imported alone.
            exclude: Modules that stay unimported, and what is below them: ``shop.jobs.old``, ``*.tests``.

        Returns:
            The names of the modules that were imported, or had been already.

        Raises:
            ConfigurationError: A module cannot be imported; which one, and why.
            DuplicateTask: Two of them take the same messages.
        """
        from brokerkit.discovery import collections_of, import_all

        modules = import_all(package, exclude)
        for tasks in collections_of(modules):
            if not isinstance(tasks, App):  # another app works for itself
                self.include(tasks)
        return [module.__name__ for module in modules]

    def topology(self) -> Topology:
        """Everything this app declares.

        Raises:
            TopologyError: It contradicts itself, or its file is wrong; every problem is listed.
        """
        topology = self.collected()
        validate(topology)
        return topology

    def collected(self) -> Topology:
        """The same, unchecked but for what its file says.

        Raises:
            TopologyError: Its file is wrong.
        """
        if self.topology_file is not None and self._topology is None:
            from brokerkit.operations.files import load

            self._topology = load(self.topology_file, self.topology_env)
        found = topology_of(self.name, self, self._declared, self._topology)
        return found if self.settings.mode is None else replace(found, mode=self.settings.mode)

    def _add_task(self, task: Task[P, R, C, V]) -> Task[P, R, C, V]:
        super()._add_task(task)
        task.join(self, self.settings)
        return task

    # -- opening ---------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        if self._running is not None:
            raise ConfigurationError("the app is open already: open it once, and use it from wherever it is needed")
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
        async with self.connected() as (transport, records, shared), Supervisor(f"app {self.name}") as supervisor:
            if topology != Topology(self.name):  # who only asks leaves nothing behind
                await transport.apply(topology)
            self._session = session = Session(
                self.name, transport, records, shared, self.settings, self.clock, supervisor, topology
            )
            try:
                async with self._backing.beside():
                    yield
            finally:
                self._session = None
                session.close()

    @contextmanager
    def standing_in(self, transport: Transport, clock: Clock, beside: Beside = nullcontext) -> Iterator[None]:
        """Use another broker and clock until the context is left: how ``brokerkit.testing`` works on any app.

        Args:
            transport: Keeps the records as well, unless the app keeps none.
            clock: Supplies the time.
            beside: Makes a context that is entered whenever the app is opened.

        Raises:
            ConfigurationError: The app is open.
        """
        if self._running is not None:
            raise ConfigurationError("the app is open: replace its broker before it is opened")
        kept, self._backing = self._backing, self._backing.replaced(transport, clock, beside)
        try:
            yield
        finally:
            self._backing = kept

    def connected(self) -> AbstractAsyncContextManager[tuple[Transport, Store | None, bool]]:
        """The broker, the store if there is one, and whether that is the broker's own; connected, and nothing declared.

        For looking at them; to send and to work, open the app.
        """
        return self._backing.connected()

    @property
    def _open(self) -> Session:
        if self._session is None:
            raise ConfigurationError("the app is not open: use it inside `async with app:`")
        return self._session

    @property
    def transport(self) -> Transport:
        """The transport of the open app, for what only its broker can do."""
        return self._open.transport

    @property
    def place(self) -> Place | None:
        """Where the app is open: the event loop and the process; None when it is not."""
        return self._session.place if self._session is not None else None

    def blocking(self) -> BlockingClient:
        """The app for programs that are not async: ``with app.blocking() as client: client.send(charge.message(…))``.

        The app is opened in a thread of its own; where it is open already, that opening is used. See
        ``BlockingClient``, also for web servers.
        """
        return BlockingClient(self, self._background)

    # -- working ---------------------------------------------------------------------------------------------------

    def worker(self, **settings: Unpack[WorkerKeywords]) -> AbstractAsyncContextManager[Worker]:
        """A worker in this process: ``async with app, app.worker(concurrency=8):``. Leaving the context drains it.

        Args:
            settings: The fields of ``WorkerSettings``: ``concurrency``, ``sync_threads``, ``grace``, ``queues`` …

        Raises:
            ConfigurationError: The app is not open or has nothing to consume, or a setting makes no sense.
            LifespanFailed: A lifespan, or a dependency that lives as long as the worker, could not be entered.
        """
        from brokerkit.serving import serving
        from brokerkit.worker import WorkerSettings

        if text := unknown("worker()", settings, WorkerSettings.__struct_fields__):
            raise ConfigurationError(text)
        try:
            checked = WorkerSettings(**settings)
        except (TypeError, ValueError) as error:
            raise ConfigurationError(f"worker: {error}") from error
        return serving(self, self._open, checked)

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
            checked = send_options(options)
            return await self._open.sending.named(call, arguments or {}, queue, checked)
        return await self.send_call(call)

    async def send_call(self, call: Call[T]) -> Handle[T]:
        """Publish one call."""
        return (await self._open.sending.send([call], 1))[0]

    async def send_many(
        self, calls: Iterable[Call[T]], *, batch: int = 500, progress: Progress | None = None
    ) -> list[Handle[T]]:
        """Send many calls, in batches.

        Args:
            calls: ``task.message(…)`` for each.
            batch: Calls per publish; default 500.
            progress: Called after each batch with how many the broker has confirmed, and of how many; what it raises
                ends the sending. ``brokerkit.progress_bar`` draws one.

        Returns:
            Their handles, in order, once the broker has confirmed all.

        Raises:
            PublishFailed: Some were not accepted; ``failed`` names them. Later batches were not sent.
        """
        return await self._open.sending.send(list(calls), batch, progress)

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
        return await self._open.sending.publish(list(events))

    # -- waiting ---------------------------------------------------------------------------------------------------

    @overload
    def handle(self, task_id: str, task: Task[P, R, C, V], /) -> Handle[R]: ...
    @overload
    def handle(self, task_id: str, task: str = "", /) -> Handle[Any]: ...

    def handle(self, task_id: str, task: Task[..., Any, ..., Any] | str = "", /) -> Handle[Any]:
        """The handle of a task that was sent elsewhere, or before: works by the store that keeps its record.

        Args:
            task_id: Its id.
            task: The task, so that its result is decoded into the annotation; or its wire name; or nothing.
        """
        if isinstance(task, str):
            return self._open.handle(task_id, task, any_result, kept=True)
        return self._open.handle(task_id, task.name, task.decode_result, kept=task.profile.record != "none")

    async def wait(
        self,
        handles: Iterable[Handle[T]],
        timeout: float | timedelta | None = RESULT_WAIT,
        *,
        progress: Progress | None = None,
    ) -> tuple[list[Handle[T]], list[Handle[T]]]:
        """Wait for many tasks at once: ``done, pending = await app.wait(handles, timeout=30)``.

        Args:
            handles: Of this app; there may be 100 000 of them.
            timeout: Seconds, or a timedelta; default 60 s; None for no limit.
            progress: Called as tasks end, with how many have, and of how many.

        Returns:
            Those that have ended, whatever became of them: their ``result()`` does not wait. And those that have not.

        Raises:
            MissingCapability: Of one of them neither a reply nor a record can come here.
            ConfigurationError: One belongs to another app.
        """
        return await self._open.wait(handles, _limit(timeout), progress)

    def as_completed(
        self, handles: Iterable[Handle[T]], timeout: float | timedelta | None = None
    ) -> AsyncGenerator[Handle[T], None]:
        """Tasks in the order in which they end: ``async for handle in app.as_completed(handles): …``.

        Args:
            handles: Of this app; each task comes once.
            timeout: Seconds, or a timedelta, for all of them; default none.

        Yields:
            The handles, each when its task has ended: its ``result()`` does not wait.

        Raises:
            TimeoutError: Not all have ended in time.
            MissingCapability: Of one of them neither a reply nor a record can come here.
            ConfigurationError: One belongs to another app.
        """
        return self._open.completed(handles, _limit(timeout))

    # -- asking ----------------------------------------------------------------------------------------------------

    async def record(self, task_id: str) -> TaskRecord | None:
        """What the store knows of a task, None if unknown. Raises ``MissingCapability`` without a store."""
        return await self._open.asking.record(task_id)

    async def status(self, task_id: str) -> TaskStatus | None:
        """Where a task stands, None if unknown. Raises ``MissingCapability`` without a store."""
        record = await self.record(task_id)
        return None if record is None else record.status

    async def find(self, **wanted: Unpack[FindKeywords]) -> list[TaskRecord]:
        """Records by what they say, newest first: ``await app.find(name="charge", statuses=[TaskStatus.FAILURE])``.

        Args:
            wanted: The fields of ``RecordFilter``: ``name``, ``queue``, ``statuses``, ``created_after`` and
                ``created_before`` (seconds since the epoch, or times with a zone), ``metadata``, and ``limit``,
                default 100.

        Raises:
            ConfigurationError: The filter makes no sense.
            MissingCapability: No store keeps records.
        """
        return await self._open.asking.find(wanted)

    async def label(self, task_id: str, /, **labels: Scalar) -> None:
        """Set labels of a task's record, also after its end: ``await app.label(handle.id, approved=True)``.

        A label that was set at send, or by the handler, is replaced.

        Raises:
            TaskNotFound: No record of it is kept.
            EncodeError: A label cannot travel.
            MissingCapability: No store keeps records.
        """
        await self._open.label(task_id, labels)

    async def queue_stats(self, queue: str | Queue) -> QueueStats:
        """Messages of a queue, or of a group (``log@group``), now; None where the broker cannot know.

        Raises:
            TopologyError: There is no such queue.
        """
        return await self._open.transport.stats(queue if isinstance(queue, str) else queue.name)

    async def cancel(self, task_id: str) -> Cancel:
        """Cancel a task.

        Returns:
            CANCELLED: it had not started and never will; its record says so, and who waits for it is told. REQUESTED:
            a worker that runs it, or is about to, has been asked to stop. TOO_LATE: it has finished, or nobody knows
            it.

        Raises:
            MissingCapability: The broker cannot remove a message that waits.
        """
        return await self._open.cancel(task_id)

    async def dead_letters(
        self,
        queue: str | Queue,
        *,
        limit: int | None = 100,
        ids: Sequence[str] | None = None,
        **which: Unpack[DeadLetterKeywords],
    ) -> list[DeadMessage]:
        """The dead letters of a queue or group, oldest first: ``await app.dead_letters("payments", error="KeyError")``.

        Args:
            queue: A queue, its name, or a group's key (``log@group``).
            limit: Only the oldest so many; None for all.
            ids: Only those of these messages.
            which: ``error`` (a type, a reason or a fingerprint), ``task``, ``older`` and ``newer`` (seconds since they
                died, or a timedelta), ``headers``; all must match.

        Raises:
            TopologyError: There is no such queue.
            MissingCapability: The broker cannot look into dead-letter queues.
        """
        return await self._open.dead.letters(queue, selection({**which, "ids": ids, "limit": limit}))

    async def dead_letter_groups(
        self,
        queue: str | Queue,
        *,
        limit: int | None = None,
        ids: Sequence[str] | None = None,
        **which: Unpack[DeadLetterKeywords],
    ) -> DeadLetterGroups:
        """The dead letters of a queue or group by what failed, the largest group first.

        Two failed alike when type of error, task and text are the same, but for numbers, ids and addresses in the text;
        a group's ``fingerprint`` names them, as ``error=`` here and below. Takes what ``dead_letters`` takes.
        """
        return await self._open.dead.groups(queue, selection({**which, "ids": ids, "limit": limit}))

    async def redrive(
        self,
        queue: str | Queue,
        ids: Sequence[str] | None = None,
        *,
        limit: int | None = None,
        canary: float | timedelta | None = None,
        rate: float | None = None,
        progress: Progress | None = None,
        **which: Unpack[DeadLetterKeywords],
    ) -> int:
        """Send dead letters back to their queue as new runs, the oldest first; all of them unless told otherwise.

        Interrupted at any time it loses none. A process that is killed may leave a few on RabbitMQ that are both sent
        back and still dead letters.

        Args:
            queue: As for ``dead_letters``.
            ids: Only those of these messages.
            limit: Only the oldest so many.
            canary: Send one back first, and wait so long, seconds or a timedelta, until its record says that it has
                succeeded (where none is kept: until its queue is empty and it is no dead letter again); only then the
                others.
            rate: So many a second; default as fast as it goes.
            progress: Called with how many were sent back, and how many there may be.
            which: As for ``dead_letters``.

        Returns:
            How many were sent back.

        Raises:
            CanaryFailed: The first one failed again, or was not decided in time; the others are where they were.
            QueueFull: The queue takes no more; the others are still dead letters.
        """
        return await self._open.dead.redrive(
            queue, selection({**which, "ids": ids, "limit": limit}), canary=_limit(canary), rate=rate, progress=progress
        )

    async def purge(
        self,
        queue: str | Queue,
        ids: Sequence[str] | None = None,
        *,
        limit: int | None = None,
        expect: int | None = None,
        **which: Unpack[DeadLetterKeywords],
    ) -> int:
        """Delete dead letters for good; all of them unless told otherwise.

        Args:
            queue: As for ``dead_letters``.
            ids: Only those of these messages.
            limit: Only the oldest so many.
            expect: How many there have to be; with another number none is deleted.
            which: As for ``dead_letters``.

        Returns:
            How many were deleted.

        Raises:
            CountMismatch: There are more or fewer than ``expect``.
        """
        return await self._open.dead.purge(queue, selection({**which, "ids": ids, "limit": limit}), expect)


def _limit(timeout: float | timedelta | None) -> float | None:
    return None if timeout is None else seconds(timeout)


__all__ = ["App"]
