"""The caller's grip on a sent task."""

from __future__ import annotations

import enum
from collections.abc import Callable
from datetime import timedelta
from typing import Generic, Protocol, TypeVar

from brokerkit.calls import seconds
from brokerkit.errors import RetriesExhausted, TaskCancelled, TaskExpired, TaskFailed, TaskTimedOut
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


class Waiter:
    """Where the reply for one handle arrives."""

    __slots__ = ("__weakref__", "arrived", "expected", "reply")

    def __init__(self, *, expected: bool = False) -> None:
        self.expected = expected  # a reply is on its way or will be
        self.reply: Reply | None = None
        self.arrived: set[Callable[[], None]] = set()

    def resolve(self, reply: Reply) -> None:
        """Take a reply; that of a later run replaces an earlier one."""
        if self.reply is None or reply.run >= self.reply.run:
            self.reply = reply
        for callback in self.arrived:
            callback()


class Client(Protocol):
    """What handles ask."""

    async def wait_for(self, task_id: str, waiter: Waiter, timeout: float) -> Reply:
        """Wait for the outcome."""
        ...

    async def record(self, task_id: str) -> TaskRecord | None:
        """What the store knows."""
        ...

    async def cancel(self, task_id: str) -> Cancel:
        """Cancel a task."""
        ...


class Handle(Generic[R_co]):
    """One sent task.

    Attributes:
        id: The task's id.
        name: Its wire name.
    """

    __slots__ = ("_client", "_decode", "_waiter", "id", "name")

    def __init__(
        self, task_id: str, name: str, decode: Callable[[bytes, str], R_co], waiter: Waiter, client: Client
    ) -> None:
        self.id = task_id
        self.name = name
        self._decode = decode
        self._waiter = waiter
        self._client = client

    def __repr__(self) -> str:
        return f"Handle({self.name!r}, {self.id!r})"

    async def result(self, timeout: float | timedelta = RESULT_WAIT) -> R_co:
        """Wait for the task and return its value.

        Args:
            timeout: Seconds, or a timedelta, to wait; default 60 s. The task goes on when this runs out.

        Returns:
            What the function returned, decoded into its annotation.

        Raises:
            TaskFailed: Its last attempt raised; ``RetriesExhausted`` when no retries were left.
            TaskTimedOut: Its last attempt exceeded its timeout.
            TaskCancelled: It was cancelled.
            TaskExpired: It was not started in time.
            TimeoutError: The wait ran out.
            MissingCapability: Neither a reply nor a record is kept of this task.
        """
        reply = await self._client.wait_for(self.id, self._waiter, seconds(timeout))
        if reply.status is TaskStatus.SUCCESS:
            return self._decode(reply.result if reply.result is not None else b"\xc0", reply.content_type)
        raise outcome_error(reply, self.name)

    async def record(self) -> TaskRecord | None:
        """What the store knows of it; None if unknown. Raises ``MissingCapability`` without a store."""
        return await self._client.record(self.id)

    async def status(self) -> TaskStatus | None:
        """Where it stands; None if unknown. Raises ``MissingCapability`` without a store."""
        record = await self.record()
        return None if record is None else record.status

    async def cancel(self) -> Cancel:
        """Cancel it; see ``App.cancel``."""
        return await self._client.cancel(self.id)


def outcome_error(reply: Reply, name: str) -> Exception:
    """The error of a task that did not succeed."""
    error = reply.error
    what = f"{name} {reply.id}"
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
