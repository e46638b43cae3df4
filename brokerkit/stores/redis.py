"""Records on a Redis server: a broker's own, or one for brokers that keep none."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Self

from brokerkit.errors import StoreError, TransportError
from brokerkit.records import RecordPatch, TaskRecord
from brokerkit.store import Put, RecordFilter, Retention
from brokerkit.transports.background import Background
from brokerkit.transports.redis.errors import Full
from brokerkit.transports.redis.insisting import Insistent
from brokerkit.transports.redis.keys import Keys
from brokerkit.transports.redis.records import Records
from brokerkit.transports.redis.reports import RecordKeys, RecordWriter
from brokerkit.transports.redis.servers import Servers, servers
from brokerkit.transports.redis.url import read_url


class RedisStore(AbstractAsyncContextManager["RedisStore"]):
    """An ``OpenStore`` with ``Leases``, ``AddOnce`` and ``Counters``.

    Finding looks at every record, unless the URL says ``?index=true``.

    ``Retention.cap`` counts finished records; unfinished ones end with their own retention.

    Args:
        place: A server's URL; or what gives the records that a transport has open (``RedisTransport.store``), which
            then needs not be entered.
        retention: How long records are kept, for a URL; the server's clock decides. Default ``Retention()``.
    """

    def __init__(self, place: str | Callable[[], Records], *, retention: Retention | None = None) -> None:
        self._place = place
        self._retention = retention or Retention()
        self._records: Records | None = None
        self._servers: Servers | None = None
        self._background = Background("redis")
        if isinstance(place, str):
            self._location, self._options, _ = read_url(place)

    async def __aenter__(self) -> Self:
        if isinstance(self._place, str) and self._servers is None:
            connections = servers(self._location, "brokerkit-store")
            with _store_errors():
                try:
                    await connections.open()
                except BaseException:
                    connections.close()
                    raise
            keys = RecordKeys(Keys(self._options.prefix, self._location.together))
            writer = RecordWriter(keys, self._retention, index=self._options.index)
            asking = Insistent(connections, self._location.login.command_timeout)
            self._servers, self._records = connections, Records(asking, writer)
            await self._background.start()
            _ = self._background.spawn(connections.keep(), "store")
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        connections, self._servers = self._servers, None
        if connections is not None:
            await self._background.stop()
            connections.close()
            self._records = None

    @property
    def _open(self) -> Records:
        if not isinstance(self._place, str):
            return self._place()
        if self._records is None:
            raise StoreError("the Redis store is not connected; use it inside: async with store")
        return self._records

    async def put(self, records: Sequence[TaskRecord]) -> Sequence[Put]:
        with _store_errors():
            return await self._open.put(records)

    async def patch(self, patches: Sequence[RecordPatch]) -> Sequence[Put]:
        with _store_errors():
            return await self._open.patch(patches)

    async def get(self, ids: Sequence[str]) -> Sequence[TaskRecord | None]:
        with _store_errors():
            return await self._open.get(ids)

    async def find(self, filter: RecordFilter) -> list[TaskRecord]:  # noqa: A002 - the contract's name
        with _store_errors():
            return await self._open.find(filter)

    async def delete(self, ids: Sequence[str]) -> int:
        with _store_errors():
            return await self._open.delete(ids)

    async def lease(self, name: str, owner: str, seconds: float) -> bool:
        with _store_errors():
            return await self._open.lease(name, owner, seconds)

    async def add_once(self, key: str, seconds: float) -> bool:
        with _store_errors():
            return await self._open.add_once(key, seconds)

    async def count(self, name: str, by: int, seconds: float) -> int:
        with _store_errors():
            return await self._open.count(name, by, seconds)


@contextmanager
def _store_errors() -> Iterator[None]:
    """The server's errors as those of a store."""
    try:
        yield
    except Full as error:
        raise StoreError(f"no record was stored: {error}") from error
    except TransportError as error:
        raise StoreError(str(error)) from error
