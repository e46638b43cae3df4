"""A context for calling a task's function directly."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from brokerkit.calls import Composer
from brokerkit.clock import Clock, SystemClock
from brokerkit.codec import Limits
from brokerkit.context import Context
from brokerkit.delivery import Delivery, Lane
from brokerkit.ids import new_id
from brokerkit.message import Message, Scalar


class _Alone:
    """``Services`` without a worker."""

    def __init__(self, clock: Clock, state: Any) -> None:
        self.composer = Composer(clock, new_id, Limits(), records=False)
        self.state = state

    def report(self, context: Context, fraction: float | None, note: str) -> None:
        """There is nobody to read progress."""

    def label(self, context: Context, labels: Mapping[str, Scalar]) -> None:
        """There is no record to label."""

    async def in_thread(self, context: Context, function: Callable[[], Any]) -> Any:
        return function()


def context(
    name: str = "task",
    arguments: Mapping[str, Any] | None = None,
    *,
    state: Any = None,
    headers: Mapping[str, Scalar] | None = None,
    attempt: int = 1,
    clock: Clock | None = None,
) -> Context:
    """A context for a unit test: ``await charge(context(), "o-1", 5.0)``.

    What the function leaves with ``ctx.send`` and ``ctx.publish`` is in ``Sent(ctx.followups or [])``.

    Args:
        name: ``ctx.name``.
        arguments: ``ctx.args``.
        state: ``ctx.state``.
        headers: ``ctx.headers``.
        attempt: ``ctx.attempt``.
        clock: Supplies the time.
    """
    clock = clock or SystemClock()
    now = clock.now()
    message = Message(
        id=new_id(now), name=name, body=b"\x80", headers=dict(headers or {}), attempt=attempt, created=now
    )
    made = Context(Delivery(message, Lane("default", 0), 1, None), _Alone(clock, state), now)
    made.args = dict(arguments or {})
    return made
