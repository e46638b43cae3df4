"""What engine scenarios begin with: one broker, workers that stand for processes, and the clock they share."""

from __future__ import annotations

import asyncio
import enum
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar, cast

from brokerkit.app import App
from brokerkit.calls import Call
from brokerkit.client.handle import Handle
from brokerkit.message import Message, Outgoing
from brokerkit.outcome import Reason
from brokerkit.records import TaskRecord
from brokerkit.settings import BROKERS_OWN, Settings
from brokerkit.store import Store
from brokerkit.stores.memory import MemoryStore
from brokerkit.tasks import TaskDecorator, Tasks
from brokerkit.testing.clock import VirtualClock
from brokerkit.testing.conformance.harness import Counter, Harness
from brokerkit.testing.faults import Faults
from brokerkit.testing.faulty import FaultyStore, faulty_transport
from brokerkit.topology import Exchange, Queue, Retry
from brokerkit.transport import Published, Transport
from brokerkit.worker import Worker

T = TypeVar("T")

TICK = 0.05
"""Seconds that a virtual clock moves each time a scenario looks again."""


class Layout(enum.Enum):
    """Where records are kept, and hence whether one step commits all."""

    SHARED = "records and messages in one transaction"
    APART = "records apart from the broker"
    BARE = "no records"

    @property
    def records(self) -> bool:
        return self is not Layout.BARE

    @property
    def steps(self) -> bool:
        """What a commit does happens one after the other."""
        return self is not Layout.SHARED


class Process:
    """One app with a worker, as if it were a process of its own.

    Attributes:
        app: The app.
        inner: Its transport, behind the faults.
        faults: What goes wrong in it.
        worker: Its worker, once it serves.
        error: What ended it, or None.
        over: It has ended.
    """

    def __init__(self, app: App, inner: Transport, faults: Faults) -> None:
        self.app = app
        self.inner = inner
        self.faults = faults
        self.worker: Worker | None = None
        self.error: BaseException | None = None
        self.over = asyncio.Event()
        self.leave = asyncio.Event()

    @property
    def counts(self) -> Any:
        assert self.worker is not None
        return self.worker.counts

    @property
    def calls(self) -> list[str]:
        """The names of the calls it has made, in order."""
        return [name for name, _ in self.faults.journal]

    async def run(self, settings: dict[str, Any]) -> None:
        try:
            async with self.app, self.app.worker(**settings) as self.worker:
                await self.leave.wait()
        except BaseException as error:  # noqa: BLE001 - the scenario looks at it
            self.error = error
        finally:
            self.over.set()


class Rig:
    """A broker under test with tasks to run on it.

    Args:
        harness: The broker.
        layout: Where records go.
    """

    def __init__(self, harness: Harness, layout: Layout) -> None:
        self.harness = harness
        self.layout = layout
        self.clock = harness.clock
        self.tasks = Tasks()
        self.step = harness.step
        self.queue = Queue(harness.name("work"))
        self.declared: list[Queue | Exchange] = []
        self.settings = Settings(retry=Retry.fixed(max_retries=3, delay=harness.step))
        self.store: Any = MemoryStore(self.clock) if layout is Layout.APART else None
        self._group: asyncio.TaskGroup | None = None
        self._client: App | None = None

    # -- describing --------------------------------------------------------------------------------------------------

    def task(self, **options: Any) -> TaskDecorator:
        """Make a task on the rig's queue."""
        return self.tasks.task(**{"queue": self.queue, **options})

    # -- processes ---------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[App]:
        """A client; on leaving, every worker that is left is stopped."""
        async with self._app(self.harness.connect(), Faults(self.clock)) as client, asyncio.TaskGroup() as group:
            self._client, self._group = client, group
            processes: list[Process] = []
            self._processes = processes
            try:
                yield client
            finally:
                for process in processes:
                    await self.stop(process)
                self._client = self._group = None

    async def start(self, faults: Faults | None = None, **settings: Any) -> Process:
        """Start a worker as a process of its own; ``faults`` are this process's."""
        faults = faults or Faults(self.clock)
        inner = self.harness.connect()
        process = Process(self._app(inner, faults), inner, faults)
        self._processes.append(process)
        self.spawn(process.run({"grace": 0.0, **settings}))
        await self.until(lambda: process.worker is not None or process.over.is_set(), "the worker has not started")
        return process

    async def stop(self, process: Process) -> None:
        """Let it drain, and see that it ended well or crashed as intended."""
        process.leave.set()
        await self.eventually(process.over.is_set, "the worker does not stop")
        if process.error is not None and not process.faults.crashed:
            raise process.error

    async def crashed(self, process: Process) -> None:
        """Wait until it has died of a fault."""
        await self.eventually(process.over.is_set, "the worker lives")
        assert process.faults.crashed, f"the worker ended otherwise: {process.error!r}"

    async def deafen(self, process: Process) -> None:
        """It receives nothing any more, and does not know."""
        process.faults.stall("receive")
        for subscription in cast(Any, process.app.transport).subscriptions:
            await subscription.pause()

    async def lose(self, process: Process) -> None:
        """It loses what it holds, and lives on."""
        await self.harness.lose(process.inner)

    def _app(self, inner: Transport, faults: Faults) -> App:
        transport = faulty_transport(inner, faults, die=lambda: self.harness.crash(inner), apart=self.layout.steps)
        store: Any = BROKERS_OWN if self.layout is Layout.SHARED else None
        if self.store is not None:
            store = FaultyStore(self.store, faults)
        app = App(transport, store=store, clock=self.clock, settings=self.settings, name=self.queue.name)
        app.include(self.tasks)
        app.declare(*self.declared)
        return app

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run something beside the scenario."""
        assert self._group is not None
        self._group.create_task(work)

    # -- sending and asking ------------------------------------------------------------------------------------------

    @property
    def client(self) -> App:
        assert self._client is not None
        return self._client

    async def send(self, call: Call[T]) -> Handle[T]:
        return await self.client.send(call)

    async def send_all(self, calls: list[Call[T]]) -> list[Handle[T]]:
        return await self.client.send_many(calls)

    async def publish(self, message: Message) -> None:
        """Put a message straight into the queue, whatever it says."""
        answers = await self.client.transport.publish([Outgoing(message, "", self.queue.name)], deadline=10.0)
        assert list(answers) == [Published.CONFIRMED], f"publishing answered {answers}"

    async def result(self, handle: Handle[T]) -> T:
        """The task's result; time passes meanwhile."""
        outcome = await self.outcome(handle)
        if isinstance(outcome, BaseException):
            raise outcome
        return cast(T, outcome)

    async def outcome(self, handle: Handle[Any]) -> Any:
        """The task's result or the error it is told by; time passes meanwhile."""
        return await self.passing(handle.result(timeout=3600.0))

    async def passing(self, work: Awaitable[Any]) -> Any:
        """Let time pass until something is done; what it returned, or raised."""
        found: list[Any] = []

        async def collect() -> None:
            try:
                found.append(await work)
            except Exception as error:  # noqa: BLE001 - handed to the scenario
                found.append(error)

        self.spawn(collect())
        await self.eventually(lambda: bool(found), "it does not end")
        return found[0]

    async def record(self, task_id: str) -> TaskRecord | None:
        return await self.client.record(task_id)

    @property
    def records(self) -> Store:
        """The store of records, behind all faults."""
        if self.store is not None:
            return cast(Store, self.store)
        return cast(Store, cast(Any, self.client.transport).store)

    async def dead(self) -> dict[str, Reason]:
        """Why messages of the queue lie in its dead-letter queue, by id."""
        return {entry.message.id: entry.reason for entry in await self.client.dead_letters(self.queue, limit=100_000)}

    # -- waiting -----------------------------------------------------------------------------------------------------

    async def until(self, true: Callable[[], bool], otherwise: str) -> None:
        """Wait for something that needs no time to pass."""
        await self._wait(true, otherwise, 0.0)

    async def eventually(self, true: Callable[[], bool], otherwise: str) -> None:
        """Wait for something; a virtual clock moves meanwhile."""
        await self._wait(true, otherwise, TICK)

    async def _wait(self, true: Callable[[], bool], otherwise: str, tick: float) -> None:
        try:
            async with asyncio.timeout(self.harness.patience):
                while not true():
                    await self._turn(tick)
        except TimeoutError:
            raise AssertionError(otherwise) from None

    async def _turn(self, tick: float) -> None:
        if isinstance(self.clock, VirtualClock):
            await self.clock.advance(tick)
        await asyncio.sleep(0.0005)

    async def drained(self) -> None:
        """Wait until nothing waits, is delayed or is held in the queue."""
        try:
            async with asyncio.timeout(self.harness.patience):
                while await self.left():
                    await self._turn(TICK)
        except TimeoutError:
            raise AssertionError(f"{await self.left()} messages are left in the queue") from None

    async def left(self) -> int:
        """Messages of the queue that are not settled."""
        if isinstance(self.harness, Counter):
            return await self.harness.unsettled(self.queue.name)
        stats = await self.client.queue_stats(self.queue)
        return (stats.ready or 0) + (stats.in_flight or 0) + (stats.delayed or 0)

    async def advance(self, seconds: float) -> None:
        await self.harness.advance(seconds)


EngineScenario = Callable[[Rig], Awaitable[None]]


def only(*, records: bool | None = None, steps: bool | None = None) -> Callable[[EngineScenario], EngineScenario]:
    """The scenario is about layouts with, or without, these traits; on others it has nothing to say."""

    def decorate(scenario: EngineScenario) -> EngineScenario:
        async def checked(rig: Rig) -> None:
            fits = (records is None or rig.layout.records is records) and (steps is None or rig.layout.steps is steps)
            if fits:
                await scenario(rig)

        checked.__name__ = scenario.__name__
        return checked

    return decorate
