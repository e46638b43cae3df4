"""The caller's grip on a sent task."""

from __future__ import annotations

import enum
from collections.abc import AsyncGenerator, Callable, Mapping
from datetime import timedelta
from typing import Generic, Protocol, TypeVar

from brokerkit.calls import seconds
from brokerkit.client.waiting import Waiter
from brokerkit.errors import RetriesExhausted, TaskCancelled, TaskExpired, TaskFailed, TaskTimedOut
from brokerkit.message import Scalar
from brokerkit.records import TaskRecord, TaskStatus
from brokerkit.replies import Reply

R_co = TypeVar("R_co", covariant=True)

RESULT_WAIT = 60.0
"""Seconds ``result()`` waits unless told otherwise."""


class Cancel(enum.Enum):
    """What became of a request to cancel a task."""

    CANCELLED = "cancelled"
    """It had not started and never will."""
    REQUESTED = "requested"
    """It may be running; a worker that runs it has been asked to stop."""
    TOO_LATE = "too_late"
    """It has finished, or nobody knows it."""


class Client(Protocol):
    """What handles ask: the opening of the app that made them."""

    async def outcome(self, waiter: Waiter, timeout: float | None) -> Reply:
        """Wait for the outcome."""
        ...

    def watch(self, waiter: Waiter, name: str, timeout: float | None) -> AsyncGenerator[TaskRecord, None]:
        """The record whenever it changes."""
        ...

    async def record(self, task_id: str) -> TaskRecord | None:
        """What the store knows."""
        ...

    async def label(self, task_id: str, labels: Mapping[str, Scalar]) -> None:
        """Set labels."""

    async def cancel(self, task_id: str) -> Cancel:
        """Cancel a task."""
        ...


class Handle(Generic[R_co]):
    """One sent task.

    Attributes:
        id: The task's id.
        name: Its wire name, "" if only its id is known.
        client: The opening of the app that it belongs to.
    """

    __slots__ = ("_decode", "_kept", "_waiter", "client", "id", "name")

    def __init__(
        self,
        task_id: str,
        name: str,
        decode: Callable[[bytes, str], R_co],
        client: Client,
        *,
        waiter: Waiter | None = None,
        kept: bool = True,
    ) -> None:
        self.id = task_id
        self.name = name
        self.client = client
        self._decode = decode
        self._waiter = waiter
        self._kept = kept

    def __repr__(self) -> str:
        return f"Handle({self.name!r}, {self.id!r})"

    @property
    def waiter(self) -> Waiter:
        """Where its outcome arrives; made when it is first asked for, unless a reply may come before."""
        if self._waiter is None:
            self._waiter = Waiter(self.id, kept=self._kept)
        return self._waiter

    async def result(self, timeout: float | timedelta | None = RESULT_WAIT) -> R_co:
        """Wait for the task and return its value.

        Args:
            timeout: Seconds, or a timedelta, to wait; default 60 s; None for no limit. The task goes on when this
                runs out.

        Returns:
            What the function returned, decoded into its annotation.

        Raises:
            TaskFailed: Its last attempt raised; ``RetriesExhausted`` when no retries were left.
            TaskTimedOut: Its last attempt exceeded its timeout.
            TaskCancelled: It was cancelled.
            TaskExpired: It was not started in time.
            TaskNotFound: Nobody knows it.
            TimeoutError: The wait ran out.
            DecodeError: It has succeeded, but its value is not of the type that is expected here.
            MissingCapability: Neither a reply nor a record of this task can come here.
        """
        reply = await self.client.outcome(self.waiter, None if timeout is None else seconds(timeout, "timeout"))
        if reply.status is TaskStatus.SUCCESS:
            return self._decode(reply.result if reply.result is not None else b"\xc0", reply.content_type)
        raise outcome_error(reply, self.name)

    def watch(self, timeout: float | timedelta | None = None) -> AsyncGenerator[TaskRecord, None]:
        """Its record whenever that has changed: ``async for record in handle.watch(): print(record.progress)``.

        The store is looked into, a few times a second while something changes; a reply tells of the end at once. By
        reply alone there is one record, the last, with what the reply says.

        Args:
            timeout: Seconds, or a timedelta, until the end; default none.

        Yields:
            The record as it is, then as it becomes, until it is terminal.

        Raises:
            TaskNotFound: Nobody knows the task.
            TimeoutError: It has not ended in time.
            MissingCapability: Neither a reply nor a record of this task can come here.
        """
        return self.client.watch(self.waiter, self.name, None if timeout is None else seconds(timeout))

    async def record(self) -> TaskRecord | None:
        """What the store knows of it; None if unknown. Raises ``MissingCapability`` without a store."""
        return await self.client.record(self.id)

    async def status(self) -> TaskStatus | None:
        """Where it stands; None if unknown. Raises ``MissingCapability`` without a store."""
        record = await self.record()
        return None if record is None else record.status

    async def label(self, **labels: Scalar) -> None:
        """Set labels of its record; see ``App.label``."""
        await self.client.label(self.id, labels)

    async def cancel(self) -> Cancel:
        """Cancel it; see ``App.cancel``."""
        return await self.client.cancel(self.id)


def outcome_error(reply: Reply, name: str) -> Exception:
    """The error of a task that did not succeed."""
    error = reply.error
    what = f"{name or 'task'} {reply.id}"
    if reply.status is TaskStatus.CANCELLED:
        return TaskCancelled(f"{what} was cancelled", task_id=reply.id)
    if reply.status is TaskStatus.EXPIRED:
        return TaskExpired(f"{what} was not started before it expired", task_id=reply.id)
    if error is None:
        return TaskFailed("unknown", "no error was kept", attempts=reply.attempts, task_id=reply.id)
    if error.timed_out:
        return TaskTimedOut(f"{what}: attempt {reply.attempts} {error.message}", task_id=reply.id)
    kind = RetriesExhausted if error.exhausted else TaskFailed
    return kind(
        error.type,
        error.message,
        traceback=error.traceback,
        attempts=reply.attempts,
        exhausted=error.exhausted,
        task_id=reply.id,
    )
