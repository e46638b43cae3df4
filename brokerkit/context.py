"""What a handler is told of the message it runs, and how it leaves follow-ups and progress."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any, Protocol, Unpack

from brokerkit.calls import Call, Composer, Origin, check_call, send_options
from brokerkit.delivery import Delivery
from brokerkit.ids import follow_up_id
from brokerkit.message import Message, Outgoing, Scalar
from brokerkit.options import SendKeywords
from brokerkit.topology import Exchange
from brokerkit.wire import bounded, encodable

LONGEST_NOTE = 1_000
"""Characters of a progress note."""


class Services(Protocol):
    """What a context needs of its worker."""

    @property
    def composer(self) -> Composer:
        """Makes messages."""
        ...

    @property
    def state(self) -> Any:
        """What the worker's lifespan has yielded."""
        ...

    def report(self, context: Context, fraction: float | None, note: str) -> None:
        """Remember progress; it is written at most twice a second per task."""

    def label(self, context: Context, labels: Mapping[str, Scalar]) -> None:
        """Remember labels; they are written as progress is."""

    async def in_thread(self, context: Context, function: Callable[[], Any]) -> Any:
        """Run a sync function in the worker's thread pool."""


class Context:
    """One attempt at one message, for its handler. Made by the worker; a unit test may use ``brokerkit.testing``.

    Attributes:
        message: The message as it arrived.
        args: The decoded arguments by name, for middleware.
        source: The queue, or ``log@group``, it came from.
        started: When this attempt started, seconds since the epoch.
        followups: What the handler has left so far.
        ended: The attempt is over: nothing can be left any more.
    """

    __slots__ = ("_cancelled", "_delivery", "_services", "args", "ended", "followups", "message", "source", "started")

    def __init__(self, delivery: Delivery, services: Services, started: float) -> None:
        self.message: Message = delivery.message
        self.source: str = delivery.lane.source
        self.started = started
        self.args: dict[str, Any] = {}
        self.followups: list[Outgoing] | None = None
        self.ended = False
        self._delivery = delivery
        self._services = services
        self._cancelled: threading.Event | None = None

    @property
    def id(self) -> str:
        """The message's id: the task's id, stable over retries."""
        return self.message.id

    @property
    def name(self) -> str:
        """The wire name."""
        return self.message.name

    @property
    def attempt(self) -> int:
        """Which counted attempt this is, from 1."""
        return self.message.attempt

    @property
    def run(self) -> int:
        """1 for a send, one more for each redrive."""
        return self.message.run

    @property
    def deliveries(self) -> int:
        """How often the broker has delivered this attempt; more than 1 after a crash."""
        return self._delivery.deliveries

    @property
    def headers(self) -> Mapping[str, Scalar]:
        """The sender's headers."""
        return self.message.headers

    @property
    def fence(self) -> tuple[int, int, int]:
        """Rises with every delivery: a sink that remembers it can refuse a writer that was superseded."""
        message = self.message
        return (message.run, message.attempt + message.postponed, self._delivery.deliveries)

    @property
    def state(self) -> Any:
        """What the worker's lifespan has yielded; the union of the mappings if there are several, None without one."""
        return self._services.state

    @property
    def lost(self) -> bool:
        """True once the broker may have given this message to another worker."""
        return self._delivery.lost

    @property
    def cancelled(self) -> bool:
        """True once the task was cancelled, timed out or the worker's grace ended. Sync handlers look at it.

        One that ends unfinished must raise, as ``check_cancelled`` does: a value it returns is its result, unless its
        time was over.
        """
        return self._cancelled is not None and self._cancelled.is_set()

    def check_cancelled(self) -> None:
        """For sync handlers: end here when cancelled; a message that its worker had no time for runs again elsewhere.

        Raises:
            InterruptedError: ``cancelled`` is True.
        """
        if self.cancelled:
            raise InterruptedError(f"{self.name} {self.id} was cancelled, or its worker stops")

    def wait_cancelled(self, timeout: float) -> bool:
        """For sync handlers: sleep up to so many seconds, returning True at once when cancelled; see ``cancelled``."""
        if self._cancelled is None:
            self._cancelled = threading.Event()
        return self._cancelled.wait(timeout)

    def adopt(self, delivery: Delivery) -> None:
        """The same message, delivered again while it runs, is what will be settled; called by the worker."""
        self._delivery = delivery

    def cancel(self) -> None:
        """Set ``cancelled``; called by the worker."""
        if self._cancelled is None:
            self._cancelled = threading.Event()
        self._cancelled.set()

    async def progress(self, fraction: float | None, note: str = "") -> None:
        """Report how far the work is.

        Args:
            fraction: 0..1, or None when unknown.
            note: A few words, at most 1 000 characters.

        Raises:
            ValueError: The fraction is outside 0..1.
        """
        self.progress_nowait(fraction, note)

    def progress_nowait(self, fraction: float | None, note: str = "") -> None:
        """The same for sync handlers; safe from any thread."""
        if fraction is not None and not 0 <= fraction <= 1:
            raise ValueError(f"progress takes a fraction from 0 to 1, not {fraction!r}")
        self._services.report(self, fraction, bounded(encodable(note), LONGEST_NOTE))

    async def label(self, **labels: Scalar) -> None:
        """Set labels of the task's record: ``await ctx.label(customer="c-1")``. They are written within half a second,
        or with the outcome, and stay whatever the outcome is; a label that was set at send is replaced.

        Raises:
            EncodeError: A label cannot travel.
        """
        self.label_nowait(**labels)

    def label_nowait(self, **labels: Scalar) -> None:
        """The same for sync handlers; safe from any thread."""
        self._services.label(self, self._services.composer.labels(labels))

    async def in_thread(self, function: Callable[[], Any]) -> Any:
        """Run a sync function in the worker's thread pool; how sync handlers are run."""
        if self._cancelled is None:
            self._cancelled = threading.Event()  # here, so that the thread and ``cancel`` never make one each
        return await self._services.in_thread(self, function)

    async def send(self, call: Call[Any]) -> str:
        """Leave a task as a follow-up: published when this attempt commits, or not at all.

        Returns:
            The id it will have.
        """
        return self.send_nowait(call)

    def send_nowait(self, call: Call[Any]) -> str:
        """The same for sync handlers."""
        check_call(call)
        return self._leave(lambda origin: self._services.composer.call(call, origin=origin), call.options.id)

    async def publish(
        self, payload: Any, *, exchange: str | Exchange, routing_key: str = "", **options: Unpack[SendKeywords]
    ) -> str:
        """Leave an event as a follow-up: published when this attempt commits, or not at all.

        Returns:
            The id it will have.
        """
        return self.publish_nowait(payload, exchange=exchange, routing_key=routing_key, **options)

    def publish_nowait(
        self, payload: Any, *, exchange: str | Exchange, routing_key: str = "", **options: Unpack[SendKeywords]
    ) -> str:
        """The same for sync handlers."""
        checked = send_options(options)
        return self._leave(
            lambda origin: self._services.composer.event(payload, exchange, routing_key, checked, origin=origin),
            checked.id,
        )

    def _leave(self, compose: Callable[[Origin], Outgoing], given_id: str | None) -> str:
        message = self.message
        if self.ended:
            raise RuntimeError(f"this attempt at {message.name} {message.id} has ended: a follow-up would be lost")
        if self.followups is None:
            self.followups = []
        attempt = message.attempt + message.postponed
        own_id = given_id or follow_up_id(self.source, message.id, message.run, attempt, len(self.followups))
        outgoing = compose(Origin(message.id, message.root or message.id, own_id))
        self.followups.append(outgoing)
        return outgoing.message.id
