"""What a scenario needs of a broker or store under test, and how it says which abilities it is about."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Protocol, runtime_checkable

from brokerkit.abilities import AtomicCommit, CancelWaiting, DeadLetters, Presences, Replay, Signal, Signals
from brokerkit.clock import Clock
from brokerkit.errors import MissingCapability
from brokerkit.store import OpenStore, Retention, Store
from brokerkit.topology import Group, Log, Topology
from brokerkit.transport import Transport


class Harness(Protocol):
    """A broker under test. A scenario gets a harness of its own; brokers may be shared, names are not.

    Attributes:
        clock: The broker's idea of the time.
        short: True asks for smaller numbers where a scenario is about load.
        step: Seconds that delays and lifetimes of scenarios last: at least ten times the broker's precision.
        quiet: Seconds without a message that count as "nothing comes"; 0 on a virtual clock.
        patience: Real seconds within which what must come has come, a crash's redelivery included.
    """

    clock: Clock
    short: bool
    step: float
    quiet: float
    patience: float

    def connect(self) -> Transport:
        """Another process: a new transport to the same broker, not entered yet."""
        ...

    async def crash(self, transport: Transport) -> None:
        """That process dies at once: nothing is settled or released in order."""
        ...

    async def lose(self, transport: Transport) -> None:
        """The transport loses what it holds (a lease ran out, a connection broke) and lives on."""
        ...

    async def advance(self, seconds: float) -> None:
        """Let time pass: a virtual clock moves, a real one is waited for."""
        ...

    def name(self, stem: str) -> str:
        """A name nobody else uses, beginning with ``stem``."""
        ...

    def store(self, transport: Transport) -> Store:
        """The store of records that shares the transport's transactions; asked for only where there is one."""
        ...


@runtime_checkable
class Injector(Protocol):
    """A harness that can put bytes into a queue that are not a message."""

    async def inject(self, queue: str, body: bytes) -> None:
        """Put them there."""
        ...


@runtime_checkable
class Counter(Protocol):
    """A harness that counts where the broker's own figures do not tell all."""

    async def unsettled(self, queue: str) -> int:
        """Messages of a queue that wait, are delayed or are held."""
        ...


class StoreHarness(Protocol):
    """A store under test; empty at first, or with ids nobody else uses.

    Attributes:
        clock: The store's idea of the time.
        short: As for ``Harness``.
        step: As for ``Harness``.
    """

    clock: Clock
    short: bool
    step: float

    def connect(self, retention: Retention | None = None) -> OpenStore:
        """Another process: a store object on the same records, not entered yet. A scenario always passes the same
        retention."""
        ...

    async def advance(self, seconds: float) -> None:
        """Let time pass."""
        ...

    def name(self, stem: str) -> str:
        """A name nobody else uses, beginning with ``stem``."""
        ...


Scenario = Callable[[Harness], Awaitable[None]]
StoreScenario = Callable[[StoreHarness], Awaitable[None]]


def needs(*abilities: str) -> Callable[[Scenario], Scenario]:
    """The scenario is about these abilities. Where one is not declared, it checks that it is truly absent instead.

    Args:
        abilities: Keys of ``DECLARED``.
    """

    def decorate(scenario: Scenario) -> Scenario:
        @functools.wraps(scenario)
        async def checked(harness: Harness) -> None:
            async with harness.connect() as transport:
                missing = [ability for ability in abilities if not DECLARED[ability](transport)]
                for ability in missing:
                    await _refused(harness, transport, ability)
            if not missing:
                await scenario(harness)

        return checked

    return decorate


DECLARED: dict[str, Callable[[Transport], bool]] = {
    "atomic_records": lambda transport: transport.capabilities.atomic_records,
    "atomic_commit": lambda transport: transport.capabilities.atomic_commit,
    "cancel": lambda transport: transport.capabilities.cancel == "atomic",
    "delayed": lambda transport: transport.capabilities.delayed > 0,
    "history": lambda transport: transport.capabilities.history,
    "hold_for_groups": lambda transport: transport.capabilities.hold_for_groups,
    "release_in_order": lambda transport: transport.capabilities.release_in_order,
    "redrive": lambda transport: transport.capabilities.redrive,
    "signals": lambda transport: transport.capabilities.signals,
    "presences": lambda transport: isinstance(transport, Presences),
    "replay": lambda transport: isinstance(transport, Replay) and transport.capabilities.history,
}
"""How each ability is declared."""


async def _refused(harness: Harness, transport: Transport, ability: str) -> None:
    """What is not declared is not implemented either, or says so."""
    attempt = _attempt(harness, transport, ability)
    if attempt is None:
        return
    try:
        await attempt
    except MissingCapability:
        return
    raise AssertionError(f"{ability} is not declared, but using it did not raise MissingCapability")


async def _entered(context: AbstractAsyncContextManager[object]) -> None:
    async with context:
        pass


def _holding(harness: Harness) -> Log:
    return Log(harness.name("log"), max_length=1, hold_for_groups=True)


def _attempt(harness: Harness, transport: Transport, ability: str) -> Awaitable[object] | None:
    """A use of the ability, or None where the transport has no such method."""
    if ability == "atomic_commit" and isinstance(transport, AtomicCommit):
        return transport.commit(())
    if ability == "cancel" and isinstance(transport, CancelWaiting) and transport.capabilities.cancel == "none":
        return transport.cancel(harness.name("unknown"))
    if ability == "redrive" and isinstance(transport, DeadLetters):
        return _entered(transport.dead_letters(harness.name("unknown")))
    if ability == "signals" and isinstance(transport, Signals):
        return transport.signal(Signal("cancel", harness.name("unknown"), 1))
    if ability == "hold_for_groups":
        return transport.apply(Topology(harness.name("app"), logs=[_holding(harness)]))
    if ability == "history":
        log = Log(harness.name("log"), history=True)
        return transport.apply(Topology(harness.name("app"), logs=[log], groups=[Group(log, "g", start="earliest")]))
    if ability == "replay" and isinstance(transport, Replay):
        return transport.replay(harness.name("unknown"), "g")
    return None
