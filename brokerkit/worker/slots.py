"""Running handlers, bounded by the slots.

A slot is a long-lived task that runs one message after another, each in a context of its own, so that context
variables never leak. A handler that returns without waiting costs no task and no turn of the event loop; one that waits
wakes other slots as it does, so that as many run as there are slots.
"""

from __future__ import annotations

import asyncio
import contextvars
import random
from collections.abc import Callable
from typing import Any, Protocol

from brokerkit.clock import Clock
from brokerkit.codec import encode
from brokerkit.context import Context, Services
from brokerkit.delivery import Delivery
from brokerkit.errors import DecodeError
from brokerkit.handlers.handler import Handler
from brokerkit.supervisor import Supervisor
from brokerkit.wire import headers_size
from brokerkit.worker.deadlines import Deadlines
from brokerkit.worker.decision import (
    CANCELLED,
    RELEASED,
    Decision,
    Stop,
    TimedOut,
    expired,
    failed,
    succeeded,
    unreturnable,
)
from brokerkit.worker.failures import log_failure
from brokerkit.worker.finished import Key
from brokerkit.worker.stepping import stepped

Ready = tuple[Delivery, Handler]

TURN = 64
"""Messages one slot runs without waiting before the event loop gets a turn."""


class Execution:
    """One attempt that is running.

    Attributes:
        delivery: What will be settled; replaced when the broker delivers the running message again.
        handler: What runs.
        context: What the handler sees.
        task: The task it runs in.
        deadline: On the clock's monotonic time, or None.
        stop: Why the worker wants it to end, or None.
        begun: The function runs; a sync one waits for a thread first.
        cancelled: Its task was cancelled because of ``stop``.
        reported: A RUNNING record has been written.
    """

    __slots__ = ("begun", "cancelled", "context", "deadline", "delivery", "handler", "reported", "stop", "task")

    def __init__(self, delivery: Delivery, handler: Handler, context: Context, task: asyncio.Task[Any]) -> None:
        self.delivery = delivery
        self.handler = handler
        self.context = context
        self.task = task
        self.deadline: float | None = None
        self.stop: Stop | None = None
        self.begun = False
        self.cancelled = False
        self.reported = False


class ReadySource(Protocol):
    """Where slots get their messages."""

    @property
    def waiting(self) -> int:
        """How many wait to start."""
        ...

    def next_ready(self) -> Ready | None:
        """The next one, None when nothing waits."""
        ...


class Finish(Protocol):
    """Takes what has ended."""

    def __call__(self, execution: Execution, decision: Decision, now: float) -> None: ...


class Slots:
    """The slots of one worker.

    Args:
        concurrency: How many.
        clock: Supplies the time.
        services: What contexts need.
        source: Gives the messages to run.
        finish: Takes each message that has ended, with what becomes of it and the time.
        jitter: Gives a number in [0, 1), for retry delays.

    Attributes:
        running: What runs now, in slots and in quarantine.
        free: Slots that run nothing.
        mean_run: Moving average of a run's length in seconds.
        ended: Attempts that have ended so far.
    """

    def __init__(
        self,
        concurrency: int,
        clock: Clock,
        services: Services,
        *,
        source: ReadySource,
        finish: Finish,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.concurrency = concurrency
        self.free = concurrency
        self.mean_run = 0.02  # unknown yet: neither short nor long
        self.ended = 0
        self.running: dict[Key, Execution] = {}
        self._clock = clock
        self._services = services
        self._source = source
        self._finish = finish
        self._jitter = jitter
        self._context = contextvars.copy_context()
        self._deadlines = Deadlines(clock, self.running, self._overdue)
        self._sleeping: list[asyncio.Future[None]] = []
        self._slots = 0
        self._closed = False
        self._supervisor: Supervisor | None = None
        self._all_idle: asyncio.Future[None] | None = None

    def open(self, supervisor: Supervisor) -> None:
        """Let slots be started by this supervisor."""
        self._supervisor = supervisor

    def wake(self, count: int) -> None:
        """There is work: wake as many slots, or start them."""
        for _ in range(min(count, self.free)):
            while self._sleeping:
                sleeper = self._sleeping.pop()
                if not sleeper.done():
                    sleeper.set_result(None)
                    break
            else:
                if self._slots >= self.concurrency or self._supervisor is None:
                    return
                self._slots += 1
                self._supervisor.spawn(self._slot(), "slot")

    async def _slot(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        turn = 0
        try:
            while not task.cancelling():  # a handler that cancelled its own task has used this slot up
                ready = self._source.next_ready() if self.free > 0 else None
                if ready is None:
                    turn = 0
                    await self._sleep()
                    continue
                turn += 1
                self.free -= 1
                try:
                    await self.run(*ready, task)
                finally:
                    self.free += 1
                if turn >= TURN:
                    turn = 0
                    await asyncio.sleep(0)
        finally:
            self._slots -= 1
        if self._source.waiting and not self._closed:
            self.wake(1)  # a new slot serves those who counted on this one

    async def _sleep(self) -> None:
        sleeper: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sleeping.append(sleeper)
        await sleeper

    async def run(self, delivery: Delivery, handler: Handler, task: asyncio.Task[Any]) -> None:
        """Run one message in the current task, which is ``task``. Its key must not be running."""
        message = delivery.message
        now = self._clock.now()
        context = Context(delivery, self._services, now)
        execution = Execution(delivery, handler, context, task)
        key = (context.source, message.id)
        self.running[key] = execution
        if message.expires is not None and now >= message.expires:
            decision = expired()
        else:
            decision = await self._attempt(execution)
        del self.running[key]
        now = self._clock.now()
        self.ended += 1
        self.mean_run += 0.05 * (now - context.started - self.mean_run)
        self._finish(execution, decision, now)
        if self._all_idle is not None and not self.running and not self._all_idle.done():
            self._all_idle.set_result(None)

    async def _attempt(self, execution: Execution) -> Decision:
        handler, context = execution.handler, execution.context
        message = context.message
        if handler.is_async:
            self.begin(execution)
        try:
            if message.headers and headers_size(message.headers) > handler.max_headers:
                raise DecodeError(f"headers are over the limit of {handler.max_headers} bytes")
            context.args = handler.decode(message.body, message.content_type)
            run = self._context.copy().run
            value = await stepped(run(handler.receive, context), run, self._suspended)
            return self._returned(execution, value)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - whatever a handler raises becomes an outcome
            return self._raised(execution, error)
        finally:
            if execution.cancelled:
                execution.task.uncancel()

    def _suspended(self) -> None:
        """A handler waits: two more slots may start, each of which does the same."""
        if waiting := self._source.waiting:
            self.wake(min(waiting, 2))

    def begin(self, execution: Execution) -> None:
        """The attempt's time begins: at once for async handlers, when a thread is free for sync ones."""
        execution.begun = True
        own = execution.context.message.timeout
        timeout = execution.handler.timeout if own is None else own
        if timeout is not None:
            execution.deadline = self._clock.monotonic() + timeout
            self._deadlines.watch(execution.deadline)

    def stop(self, execution: Execution, why: Stop) -> None:
        """Ask an attempt to end. A sync handler only sees ``cancelled`` and keeps its slot until it returns."""
        if execution.stop is None:
            execution.stop = why
            execution.context.cancel()
            if execution.handler.is_async or not execution.begun:  # a thread cannot be cancelled, the wait for one can
                execution.cancelled = True
                execution.task.cancel()

    def stop_all(self, why: Stop) -> None:
        """Ask every attempt to end."""
        for execution in tuple(self.running.values()):
            self.stop(execution, why)

    async def idle(self) -> None:
        """Wait until nothing runs."""
        while self.running:
            if self._all_idle is None or self._all_idle.done():
                self._all_idle = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._all_idle)

    def close(self) -> None:
        """Stop watching deadlines, and start no more slots."""
        self._closed = True
        self._deadlines.close()

    def _returned(self, execution: Execution, value: Any) -> Decision:
        handler, message = execution.handler, execution.context.message
        if execution.stop is Stop.TIMEOUT:
            return self._raised(execution, TimedOut())
        if not handler.is_task or (handler.record == "none" and message.reply_to is None):
            return SUCCEEDED
        try:
            return succeeded(encode(value, handler.content_type))
        except Exception as error:  # noqa: BLE001 - a model's own dump may raise anything
            return unreturnable(error)

    def _raised(self, execution: Execution, error: BaseException) -> Decision:
        handler, message, stop = execution.handler, execution.context.message, execution.stop
        if stop is Stop.SHUTDOWN:
            return RELEASED
        if stop is Stop.CANCEL:
            return CANCELLED
        if stop is Stop.TIMEOUT:
            limit = handler.timeout if message.timeout is None else message.timeout
            error = TimedOut(f"exceeded its timeout of {limit:g} s")
        decision = failed(handler, message, error, self._jitter)
        log_failure(message, decision, error)
        return decision

    def _overdue(self, execution: Execution) -> None:
        self.stop(execution, Stop.TIMEOUT)


SUCCEEDED = succeeded(None)
