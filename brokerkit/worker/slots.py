"""Running handlers: each message one task with a context of its own, bounded by the slots."""

from __future__ import annotations

import asyncio
import contextvars
import random
from collections.abc import Callable
from typing import Any

from brokerkit.clock import Clock
from brokerkit.codec import encode
from brokerkit.context import Context, Services
from brokerkit.errors import EncodeError
from brokerkit.handlers import Handler
from brokerkit.transport import Delivery
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

Key = tuple[str, str]
"""Source and message id: what a running message is known by."""


class Execution:
    """One attempt that is running.

    Attributes:
        delivery: What will be settled; replaced when the broker delivers the running message again.
        handler: What runs.
        context: What the handler sees.
        deadline: On the clock's monotonic time, or None.
        stop: Why the worker wants it to end, or None.
        task: The running task.
        alone: It runs in the quarantine slot.
        reported: A RUNNING record has been written.
        done: Resolved at the end, for whoever waits for it.
    """

    __slots__ = ("alone", "context", "deadline", "delivery", "done", "handler", "reported", "stop", "task")

    def __init__(self, delivery: Delivery, handler: Handler, context: Context) -> None:
        self.delivery = delivery
        self.handler = handler
        self.context = context
        self.deadline: float | None = None
        self.stop: Stop | None = None
        self.task: asyncio.Task[None] | None = None
        self.alone = False
        self.reported = False
        self.done: asyncio.Future[None] | None = None


Finish = Callable[[Execution, Decision], None]


class Slots:
    """The slots of one worker.

    Args:
        concurrency: How many.
        clock: Supplies the time.
        services: What contexts need.
        finish: Called at each end, with what becomes of the message.
        jitter: Gives a number in [0, 1), for retry delays.
    """

    def __init__(
        self, concurrency: int, clock: Clock, services: Services, finish: Finish, jitter: Callable[[], float] = random.random
    ) -> None:
        self.concurrency = concurrency
        self.free = concurrency
        self.mean_run = 0.0
        self.running: dict[Key, Execution] = {}
        self._clock = clock
        self._services = services
        self._finish = finish
        self._jitter = jitter
        self._loop = asyncio.get_running_loop()
        self._context = contextvars.copy_context()
        self._deadlines = Deadlines(clock, self.running, self._overdue)
        self._idle: asyncio.Future[None] | None = None

    def start(self, delivery: Delivery, handler: Handler, *, alone: bool = False) -> Execution:
        """Run a delivery. The caller has checked that a slot is free and that its key is not running."""
        message = delivery.message
        now = self._clock.now()
        execution = Execution(delivery, handler, Context(delivery, self._services, now))
        self.running[(delivery.lane.source, message.id)] = execution
        if alone:
            execution.alone = True
            execution.done = self._loop.create_future()
        else:
            self.free -= 1
        if message.expires is not None and now >= message.expires:
            self._loop.call_soon(self._end, execution, expired())
            return execution
        if handler.is_async:
            self.begin(execution)
        execution.task = self._loop.create_task(self._run(execution), context=self._context.copy())
        return execution

    def begin(self, execution: Execution) -> None:
        """The attempt's time begins: at once for async handlers, when a thread is free for sync ones."""
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
            if execution.task is not None and execution.handler.is_async:
                # One turn later, so that a task cancelled right after its start has entered its try block.
                self._loop.call_soon(execution.task.cancel)

    def stop_all(self, why: Stop) -> None:
        """Ask every attempt to end."""
        for execution in tuple(self.running.values()):
            self.stop(execution, why)

    async def idle(self) -> None:
        """Wait until nothing runs."""
        while self.running:
            if self._idle is None or self._idle.done():
                self._idle = self._loop.create_future()
            await asyncio.shield(self._idle)

    def close(self) -> None:
        """Stop watching deadlines."""
        self._deadlines.close()

    async def _run(self, execution: Execution) -> None:
        context = execution.context
        message = context.message
        try:
            context.args = execution.handler.decode(message.body, message.content_type)
            value = await execution.handler.receive(context)
            decision = self._returned(execution, value)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - whatever a handler raises becomes an outcome
            decision = self._raised(execution, error)
        self._end(execution, decision)

    def _returned(self, execution: Execution, value: Any) -> Decision:
        handler, message = execution.handler, execution.context.message
        if execution.stop is Stop.TIMEOUT:
            return self._raised(execution, TimedOut())
        if not handler.is_task or (handler.record == "none" and message.reply_to is None):
            return succeeded(None)
        try:
            return succeeded(encode(value, handler.content_type))
        except EncodeError as error:
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
        return failed(handler, message, error, self._jitter)

    def _end(self, execution: Execution, decision: Decision) -> None:
        del self.running[(execution.delivery.lane.source, execution.context.message.id)]
        if execution.alone:
            if execution.done is not None and not execution.done.done():
                execution.done.set_result(None)
        else:
            self.free += 1
            self.mean_run += 0.05 * (self._clock.now() - execution.context.started - self.mean_run)
        if self._idle is not None and not self.running and not self._idle.done():
            self._idle.set_result(None)
        self._finish(execution, decision)

    def _overdue(self, execution: Execution) -> None:
        self.stop(execution, Stop.TIMEOUT)
