"""An app under test: another broker instead of its own, other functions instead of its dependencies."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from types import TracebackType
from typing import Any

from brokerkit.app import App
from brokerkit.backing import Beside
from brokerkit.clock import Clock, SystemClock
from brokerkit.testing.brokers import (
    DummyBroker,
    DummyTransport,
    ImmediateBroker,
    ImmediateTransport,
    RecordingBroker,
    SkippingBroker,
)
from brokerkit.testing.sent import Sent
from brokerkit.testing.skipping import SkippingClock
from brokerkit.transports.memory import MemoryTransport

MANY = 1_000
"""Slots of an immediate worker: a task that sends one and so on must find another free slot each time."""


class StandIn:
    """A broker in an app's place for a while, as a context manager that gives a ``Sent``.

    ``async with`` opens the app as well. ``with`` leaves that to the program under test, which may do it in an event
    loop of its own, as the test client of a web framework does.
    """

    def __init__(
        self, app: App, broker: RecordingBroker, transport: MemoryTransport, beside: Beside = nullcontext
    ) -> None:
        self._app = app
        self._broker = broker
        self._transport = transport
        self._beside = beside
        self._replaced = ExitStack()

    def __enter__(self) -> Sent:
        self._replaced.enter_context(self._app.standing_in(self._transport, self._broker.clock, self._beside))
        return Sent(self._broker.sent)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._replaced.close()

    async def __aenter__(self) -> Sent:
        sent = self.__enter__()
        try:
            await self._app.__aenter__()
        except BaseException:
            self._replaced.close()
            raise
        return sent

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        try:
            return await self._app.__aexit__(kind, error, traceback)
        finally:
            self._replaced.close()


def immediate(app: App) -> StandIn:
    """Have ``send`` and ``publish`` return when the tasks, subscribers and follow-ups have run that they set in motion.

    They run as ever: in a worker with its lifespan, through the middleware and the codec, with retries, records,
    replies and dead letters; only that delays, also those between retries, take no time. So a task that fails does not
    raise from ``send`` but from ``result()``.

    ``async with immediate(app) as sent: handle = await charge.send("o-1")``; what was sent, follow-ups included, is in
    ``sent``.

    Args:
        app: With any URL; it must not be open.

    Raises:
        ConfigurationError: The app is open.
    """
    broker = ImmediateBroker(SystemClock())
    return StandIn(
        app, broker, ImmediateTransport(broker), lambda: app.worker(concurrency=MANY, sync_threads=64, grace=1.0)
    )


def dummy(app: App) -> StandIn:
    """Have the app accept what is sent and published, and run nothing of it.

    What no queue takes is ``Unroutable``, and arguments that do not fit are refused, as ever. Who waits for a result is
    told that there is none.

    ``async with dummy(app) as sent: await place_order("o-1")``, then ``sent.assert_sent(charge, order_id="o-1")``.

    Args:
        app: With any URL; it must not be open.

    Raises:
        ConfigurationError: The app is open.
    """
    broker = DummyBroker(SystemClock())
    return StandIn(app, broker, DummyTransport(broker))


def memory(app: App, clock: Clock | None = None) -> StandIn:
    """Have the app work on a broker in this process, with the workers that the test starts.

    ``async with memory(app, clock) as sent, app.worker(): await charge.send("o-1"); await clock.advance(60)``.

    Args:
        app: With any URL; it must not be open.
        clock: A ``VirtualClock``, whose time only the test moves. Default a ``SkippingClock``: timeouts are real, and
            when nothing runs it jumps to what is delayed, so that days of retries take milliseconds.

    Raises:
        ConfigurationError: The app is open.
    """
    if clock is None or isinstance(clock, SkippingClock):
        skipping = SkippingBroker(clock or SkippingClock())
        return StandIn(app, skipping, MemoryTransport(skipping))
    broker = RecordingBroker(clock)
    return StandIn(app, broker, MemoryTransport(broker))


def override(app: App, function: Callable[..., Any], instead: Callable[..., Any]) -> AbstractContextManager[None]:
    """Replace a dependency in all workers that start inside the context: ``with override(app, open_session, fake):``.

    Args:
        app: Whose handlers depend on it, directly or not.
        function: What is given to ``Depends``.
        instead: What is called in its place. It may have dependencies of its own, among them ``function`` itself.

    Raises:
        ConfigurationError: A worker of the app has started: its dependencies are made already.
    """
    return app.overrides.replacing(function, instead)
