"""What an app stands on: its broker, the store of its records, and its clock."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, nullcontext

from brokerkit.abilities import OwnStore
from brokerkit.clock import Clock
from brokerkit.connect import redacted, store_for, transport_for
from brokerkit.errors import ConfigurationError, StoreError
from brokerkit.settings import BROKERS_OWN, DEFAULT_URL, ENVIRONMENT_URL
from brokerkit.store import OpenStore, Retention, Store
from brokerkit.transport import Transport

Beside = Callable[[], AbstractAsyncContextManager[object]]
"""Makes a context that is entered whenever the app is opened."""


class Backing:
    """The broker, store and clock of an app, as they were given.

    Args:
        place: The broker's URL, its transport, or None for what the environment says when it is first connected.
        store: As ``App`` takes it.
        clock: Supplies the time.
        beside: See ``Beside``.
        retention: How long records are kept, where a URL names who keeps them.

    Attributes:
        scheme: The scheme of the broker's URL; "" where the environment or a transport says it.
        address: The broker's URL without its password; "" for a transport, and before the environment was asked.

    Raises:
        ConfigurationError: The URL makes no sense.
    """

    def __init__(
        self,
        place: str | Transport | None,
        store: str | OpenStore | None,
        clock: Clock,
        beside: Beside = nullcontext,
        *,
        retention: Retention,
    ) -> None:
        for what, given in (("broker", place), ("store", store)):
            if given is not None and not isinstance(given, str) and not hasattr(given, "__aenter__"):
                raise ConfigurationError(f"the {what} is named by its URL, as sqlite:///shop.db; {given!r} is none")
        self.scheme = place.partition(":")[0] if isinstance(place, str) else ""
        self.address = redacted(place) if isinstance(place, str) else ""
        self.clock = clock
        self.beside = beside
        self.retention = retention
        self.transport = transport_for(place, clock, retention) if isinstance(place, str) else place
        self._store = store

    def replaced(self, transport: Transport, clock: Clock, beside: Beside) -> Backing:
        """Another broker, which keeps the records as well, unless none are kept."""
        store = None if self._store is None else BROKERS_OWN
        backing = Backing(transport, store, clock, beside, retention=self.retention)
        backing.scheme = self.scheme
        return backing

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[tuple[Transport, Store | None, bool]]:
        """The broker, the store if there is one, and whether that is the broker's own; connected."""
        if self.transport is None:
            url = os.environ.get(ENVIRONMENT_URL) or DEFAULT_URL
            self.transport, self.address = transport_for(url, self.clock, self.retention), redacted(url)
        store = self.chosen_store()
        async with self.transport as transport, AsyncExitStack() as stack:
            if self._store == BROKERS_OWN and isinstance(transport, OwnStore):
                yield transport, transport.store, True
            elif store is not None:
                yield transport, await _entered(store, stack), False
            else:
                yield transport, None, False

    def chosen_store(self) -> OpenStore | None:
        """The store that was named, if one was."""
        if self._store is None or self._store == BROKERS_OWN:
            return None
        return store_for(self._store, self.clock, self.retention) if isinstance(self._store, str) else self._store


async def _entered(store: OpenStore, stack: AsyncExitStack) -> Store:
    try:
        return await stack.enter_async_context(store)
    except OSError as error:
        raise StoreError(f"the store cannot be opened: {error}") from error
