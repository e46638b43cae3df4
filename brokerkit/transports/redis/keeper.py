"""A thread of its own, with a connection of its own: it renews leases, which no handler can starve."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple, TypeVar

from brokerkit.errors import TransportError
from brokerkit.transports.background import Background
from brokerkit.transports.redis import scripts
from brokerkit.transports.redis.compile import QUEUE_GROUP, Read
from brokerkit.transports.redis.complaints import Complaints
from brokerkit.transports.redis.insisting import Insistent
from brokerkit.transports.redis.link import Argument
from brokerkit.transports.redis.packing import Packing
from brokerkit.transports.redis.records import Records
from brokerkit.transports.redis.reports import RecordWriter
from brokerkit.transports.redis.servers import Servers, servers
from brokerkit.transports.redis.session import LONGEST_WAIT
from brokerkit.transports.redis.url import Location

_log = logging.getLogger("brokerkit")

T = TypeVar("T")

CHORES = 1.0
"""Seconds between two rounds of everything but renewing."""
SHORTEST = 1.0
"""Seconds that an answer may take at least."""
AGAIN = 0.25
"""Seconds until a renewal that failed is tried again."""


class Lease(NamedTuple):
    """What one consumer holds of one source.

    Args:
        near: What keys begin with that lie beside those of the source.
        leases: Key of the leases.
        waiting: Key of who waits.
        consumer: The consumer.
        reads: The streams.
    """

    near: str
    leases: str
    waiting: str
    consumer: str
    reads: tuple[Read, ...]


class Graves(NamedTuple):
    """Streams of dead-letter queues whose entries do not stay for ever, and that lie together."""

    streams: tuple[str, ...]


class History(NamedTuple):
    """Logs to trim that lie together, and which of them keep what all groups have read."""

    packing: Packing
    kept: tuple[int, ...]


class Duties(NamedTuple):
    """What there is to keep; replaced as a whole by the event loop's thread.

    Args:
        leases: Consumers of this process.
        alive: Keys that say that somebody reads an inbox.
        graves: Dead-letter queues.
        logs: Logs.
    """

    leases: tuple[Lease, ...] = ()
    alive: tuple[str, ...] = ()
    graves: tuple[Graves, ...] = ()
    logs: tuple[History, ...] = ()


class Keeper:
    """Renews and cleans up.

    Args:
        location: The servers.
        lease: Seconds.
        writer: Knows how many records are kept.
        lost: Called on the event loop with the consumers that hold nothing any more.
        forgotten: Called there with a key that says that an inbox is read, and is not there.
    """

    def __init__(
        self,
        location: Location,
        lease: float,
        writer: RecordWriter,
        *,
        lost: Callable[[list[str]], None],
        forgotten: Callable[[str], None],
    ) -> None:
        self._location, self._lease, self._writer = location, lease, writer
        self._lost, self._forgotten = lost, forgotten
        self.duties = Duties()
        self._loop = asyncio.get_running_loop()
        self._thread: threading.Thread | None = None
        self._own: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._stopping = False
        self._complaints = Complaints()
        self._renewed: dict[str, float] = {}
        self._patient_until: dict[str, float] = {}

    def start(self) -> None:
        """Start the thread."""
        self._thread = threading.Thread(target=self._run, name="brokerkit keeper", daemon=True)
        self._thread.start()

    async def stop(self) -> None:
        """End the thread. Idempotent."""
        thread, self._thread = self._thread, None
        self._stopping = True
        if thread is not None:
            if self._own is not None and self._stop is not None:
                with contextlib.suppress(RuntimeError):  # it has ended by itself
                    self._own.call_soon_threadsafe(self._stop.set)
            await asyncio.to_thread(thread.join)

    def _run(self) -> None:
        asyncio.run(self._keep())

    async def _keep(self) -> None:
        self._stop = asyncio.Event()
        self._own = asyncio.get_running_loop()
        if self._stopping:  # before there was anything to set
            return
        # A connection that has died in silence is to be found out, and made again, before a lease runs out.
        place = self._location.within(max(SHORTEST, self._lease / 3))
        connections, background = servers(place, "brokerkit-keeper"), Background("redis")
        await background.start()
        try:
            if await self._connected(connections):
                _ = background.spawn(connections.keep(), "connection")
                await self._work(connections)
        finally:
            await background.stop()
            connections.close()

    async def _connected(self, connections: Servers) -> bool:
        """Connect for the first time, however long it takes; false when there is nothing to do any more."""
        assert self._stop is not None
        while not self._stop.is_set():
            try:
                await connections.open()
                return True
            except TransportError as error:
                self._complaints.add(f"leases cannot be renewed: {error}")
                await self._rest(AGAIN)
        return False

    async def _rest(self, seconds: float) -> None:
        assert self._stop is not None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stop.wait()

    async def _work(self, connections: Servers) -> None:
        """The rest must not keep us from renewing, nor one server from renewing at the others."""
        assert self._stop is not None
        async with asyncio.TaskGroup() as both:
            works = [both.create_task(work(connections)) for work in (self._renewing, self._tending)]
            await self._stop.wait()
            for work in works:
                work.cancel()

    async def _renewing(self, connections: Servers) -> None:
        assert self._stop is not None
        while not self._stop.is_set():
            await self._rest(max(0.005, min(self._lease / 3, await self._renew(connections))))

    async def _tending(self, connections: Servers) -> None:
        assert self._stop is not None
        words, within = "logs and dead letters could not be tended", self._location.login.command_timeout
        while not self._stop.is_set():
            _ = await self._try(words, self._chores(connections), within)
            await self._rest(CHORES)

    async def _try(self, otherwise: str, work: Awaitable[T], within: float) -> T | None:
        try:
            async with asyncio.timeout(within):
                return await work
        except (TransportError, TimeoutError) as error:
            self._complaints.add(f"{otherwise} at Redis: {str(error) or 'no answer'}")
            return None

    async def _renew(self, connections: Servers) -> float:
        """Renew all leases; returns the seconds until it is wanted again at the latest."""
        duties = self.duties
        parts: dict[str, list[Lease]] = {}
        for lease in duties.leases:
            parts.setdefault(lease.near, []).append(lease)
        works = [self._renew_part(connections, part) for part in parts.values()]
        works += [self._keep_alive(connections, key) for key in duties.alive]
        tried = [self._try("leases could not be renewed", work, self._lease / 3) for work in works]
        # What failed is tried again soon: there may be a server again by then.
        return min((AGAIN if each is None else each for each in await asyncio.gather(*tried)), default=self._lease)

    def _may_reap(self, near: str) -> bool:
        """Who could not renew its own leases for so long that they might have run out does not know whether others are
        dead: they may have had no server either, and get the time to come back and renew theirs."""
        now = asyncio.get_running_loop().time()
        if now - self._renewed.setdefault(near, now) > self._lease * 2 / 3:
            self._patient_until[near] = now + min(self._lease, self._lease / 3 + LONGEST_WAIT)
        return now >= self._patient_until.get(near, now)

    async def _keep_alive(self, connections: Servers, key: str) -> float:
        # Not set: whoever has just closed the inbox has deleted it.
        if not await connections.ask("PEXPIRE", key, int(self._lease * 4000)):
            self._loop.call_soon_threadsafe(self._forgotten, key)
        return self._lease

    async def _renew_part(self, connections: Servers, leases: Sequence[Lease]) -> float:
        near = leases[0].near
        keys, args = renewal(leases, self._lease, reaping=self._may_reap(near))
        *states, gone, soonest = await connections.run(scripts.RENEW, keys, args)
        self._renewed[near] = asyncio.get_running_loop().time()
        if gone:
            _log.error("%d messages that dead processes held are lost: somebody else has deleted them from Redis", gone)
        lost = [lease.consumer for lease, state in zip(leases, states, strict=True) if not state]
        if lost:
            self._loop.call_soon_threadsafe(self._lost, lost)
        return float(soonest) / 1000

    async def _chores(self, connections: Servers) -> None:
        duties = self.duties
        for graves in duties.graves:
            await connections.run(scripts.MORTAL, graves.streams, [QUEUE_GROUP, len(graves.streams)])
        for packing, kept in duties.logs:
            await connections.run(scripts.PROMOTE, packing.target_keys, packing.targets)
            await connections.run(scripts.SWEEP, packing.target_keys, [*packing.targets, *kept])
        await Records(Insistent(connections, self._location.login.command_timeout), self._writer).keep_to_cap()


def renewal(leases: Sequence[Lease], seconds: float, *, reaping: bool) -> tuple[list[Argument], list[Argument]]:
    """Keys and arguments for ``lua/renew.lua``."""
    keys: list[Argument] = []
    args: list[Argument] = [int(seconds * 1000), int(reaping), len(leases)]
    for lease in leases:
        keys += (lease.leases, lease.waiting)
        args += (lease.consumer, len(lease.reads))
        for read in lease.reads:
            keys.append(read.stream)
            args.append(read.group)
    return keys, args
