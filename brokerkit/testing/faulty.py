"""A transport and a store with ``faults`` between them and whoever uses them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Self

import msgspec

from brokerkit.abilities import (
    AtomicCommit,
    CancelWaiting,
    Committed,
    DeadLetters,
    DeadLetterView,
    OwnStore,
    Presence,
    Presences,
    Removed,
    Replay,
    Signal,
    Signals,
    SignalStream,
    Unit,
)
from brokerkit.delivery import Delivery, Lane, Source
from brokerkit.message import Outgoing
from brokerkit.outcome import Outcome
from brokerkit.records import RecordPatch, TaskRecord
from brokerkit.store import OpenStore, Put, RecordFilter, Store
from brokerkit.testing.faults import Faults
from brokerkit.topology import Topology
from brokerkit.transport import (
    INBOX_PREFIX,
    Capabilities,
    Inbox,
    Published,
    QueueStats,
    Settled,
    StartMark,
    Subscription,
    Transport,
)


class FaultySubscription:
    """A ``Subscription`` with faults."""

    def __init__(self, inner: Subscription, faults: Faults) -> None:
        self._inner = inner
        self._faults = faults

    async def receive(self, limit: Mapping[Lane, int], most: Mapping[str, int] | None = None) -> list[Delivery]:
        await self._faults.strike("receive", (), after=False)
        deliveries = await self._inner.receive(limit, most)
        ids = [delivery.message.id for delivery in deliveries]
        self._faults.journal.append(("receive", tuple(ids)))
        await self._faults.strike("receive", ids, after=True)
        return deliveries

    async def settle(self, outcomes: Sequence[tuple[Delivery, Outcome]]) -> Sequence[Settled]:
        return await self._faults.around("settle", outcomes, lambda item: item[0].message.id, self._inner.settle)

    async def mark_start(self, deliveries: Sequence[Delivery]) -> Sequence[StartMark]:
        return await self._faults.around("mark_start", deliveries, lambda d: d.message.id, self._inner.mark_start)

    async def pause(self) -> None:
        await self._faults.strike("pause", (), after=False)
        await self._inner.pause()

    async def resume(self) -> None:
        await self._inner.resume()


class FaultyTransport:
    """A ``Transport`` with faults; made by ``faulty_transport``, which adds the abilities of the inner one."""

    def __init__(self, inner: Transport, faults: Faults, capabilities: Callable[[Capabilities], Capabilities]) -> None:
        self.inner = inner
        self.faults = faults
        self._capabilities = capabilities
        self.subscriptions: list[Subscription] = []

    async def __aenter__(self) -> Self:
        await self.inner.__aenter__()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.inner.__aexit__(*exc_info)

    @property
    def capabilities(self) -> Capabilities:
        return self._capabilities(self.inner.capabilities)

    async def apply(self, topology: Topology) -> None:
        await self.inner.apply(topology)

    async def publish(self, messages: Sequence[Outgoing], *, deadline: float) -> Sequence[Published]:
        replies = all(outgoing.routing_key.startswith(INBOX_PREFIX) for outgoing in messages)
        return await self.faults.around(
            "reply" if replies else "publish",
            messages,
            lambda outgoing: outgoing.message.id,
            lambda some: self.inner.publish(some, deadline=deadline),
        )

    @asynccontextmanager
    async def consume(self, sources: Sequence[Source]) -> AsyncIterator[Subscription]:
        async with self.inner.consume(sources) as subscription:
            self.subscriptions.append(subscription)
            yield FaultySubscription(subscription, self.faults)

    def replies(self) -> AbstractAsyncContextManager[Inbox]:
        return self.inner.replies()

    async def stats(self, queue: str) -> QueueStats:
        return await self.inner.stats(queue)


class _Wrapping:
    inner: Any
    faults: Faults


class _Atomic(_Wrapping):
    async def commit(self, units: Sequence[Unit]) -> Sequence[Committed]:
        return await self.faults.around("commit", units, lambda unit: unit.delivery.message.id, self.inner.commit)


class _Own(_Wrapping):
    @property
    def store(self) -> Store:
        store: Store = self.inner.store
        return store


class _Cancelling(_Wrapping):
    async def cancel(self, message_id: str, *, after_run: int = 0) -> Removed:
        self.faults.check()
        answer: Removed = await self.inner.cancel(message_id, after_run=after_run)
        return answer


class _Dead(_Wrapping):
    def dead_letters(
        self, source: str, *, ids: Collection[str] | None = None, since: float = 0.0
    ) -> AbstractAsyncContextManager[DeadLetterView]:
        view: AbstractAsyncContextManager[DeadLetterView] = self.inner.dead_letters(source, ids=ids, since=since)
        return view


class _Signalling(_Wrapping):
    async def signal(self, signal: Signal) -> None:
        self.faults.check()
        await self.inner.signal(signal)

    def signals(self) -> AbstractAsyncContextManager[SignalStream]:
        stream: AbstractAsyncContextManager[SignalStream] = self.inner.signals()
        return stream


class _Present(_Wrapping):
    async def announce(self, presence: Presence, *, ttl: float) -> None:
        await self.faults.strike("announce", (presence.worker,), after=False)
        await self.inner.announce(presence, ttl=ttl)

    async def present(self) -> list[Presence]:
        found: list[Presence] = await self.inner.present()
        return found


class _Replaying(_Wrapping):
    async def replay(self, log: str, group: str, *, since: float = 0.0) -> int:
        return int(await self.inner.replay(log, group, since=since))


def _abilities_of(inner: Transport, apart: bool) -> list[type]:
    """The mixins for a transport; without those of the shared transaction if it is to be hidden."""
    found: list[type] = []
    for protocol, mixin in _SHARED + _OTHERS:
        if isinstance(inner, protocol) and not (apart and mixin in (_Atomic, _Own)):
            found.append(mixin)
    return found


_SHARED: list[tuple[Any, type]] = [(AtomicCommit, _Atomic), (OwnStore, _Own)]
_OTHERS: list[tuple[Any, type]] = [
    (CancelWaiting, _Cancelling),
    (DeadLetters, _Dead),
    (Signals, _Signalling),
    (Presences, _Present),
    (Replay, _Replaying),
]


def faulty_transport(
    inner: Transport, faults: Faults, *, die: Callable[[], Awaitable[None]] | None = None, apart: bool = False
) -> Transport:
    """Put faults between an app and its transport.

    Args:
        inner: The transport, not entered.
        faults: What goes wrong.
        die: Ends the inner transport as the end of its process would.
        apart: Hide that broker and store share a transaction, so that the worker commits in steps.

    Returns:
        A transport with the inner one's abilities.
    """
    faults.die = die or faults.die
    hidden = {"atomic_records": False, "atomic_commit": False} if apart else {}
    kinds = (FaultyTransport, *_abilities_of(inner, apart))
    made = type("FaultyTransport", kinds, {})(inner, faults, lambda known: msgspec.structs.replace(known, **hidden))
    wrapped: Transport = made
    return wrapped


class FaultyStore:
    """A ``Store`` with faults.

    Args:
        inner: The store.
        faults: What goes wrong.
    """

    def __init__(self, inner: OpenStore, faults: Faults) -> None:
        self._inner = inner
        self._faults = faults

    async def __aenter__(self) -> Self:
        await self._inner.__aenter__()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._inner.__aexit__(None, None, None)

    async def put(self, records: Sequence[TaskRecord]) -> Sequence[Put]:
        return await self._faults.around("put", records, lambda record: record.id, self._inner.put)

    async def patch(self, patches: Sequence[RecordPatch]) -> Sequence[Put]:
        return await self._faults.around("patch", patches, lambda patch: patch.id, self._inner.patch)

    async def get(self, ids: Sequence[str]) -> Sequence[TaskRecord | None]:
        return await self._faults.around("get", ids, lambda each: each, self._inner.get)

    async def find(self, filter: RecordFilter) -> list[TaskRecord]:  # noqa: A002 - the contract's name
        self._faults.check()
        return await self._inner.find(filter)

    async def delete(self, ids: Sequence[str]) -> int:
        self._faults.check()
        return await self._inner.delete(ids)
