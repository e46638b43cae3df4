"""The primaries of a cluster, used as one.

https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot

from brokerkit.errors import ConnectFailed, ConnectionLost, TransportError
from brokerkit.transports.redis.address import Address
from brokerkit.transports.redis.complaints import Complaints
from brokerkit.transports.redis.errors import Elsewhere, Replied
from brokerkit.transports.redis.link import Argument, Push
from brokerkit.transports.redis.scripts import Script
from brokerkit.transports.redis.session import Greet, Session

_log = logging.getLogger("brokerkit")

MOST_REDIRECTIONS = 16
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 1.0
"""Seconds between two looks at who has which slot while somebody is missing, and before a key that is on its way from
one server to another is asked for again."""

Call = Callable[[Session, bool], Awaitable[Any]]


class Cluster:
    """One connection to each primary, see ``servers.Servers``.

    Args:
        seeds: Some of its servers, to learn of the others.
        name: What the servers' lists of clients call our connections.
        greet: Awaited with each new connection, before anybody uses it.
        on_push: Called with each push message.
        on_up: Called after each time a connection is there.
    """

    def __init__(
        self,
        seeds: Sequence[Address],
        name: str,
        *,
        greet: Greet,
        on_push: Push | None = None,
        on_up: Callable[[], None] = lambda: None,
    ) -> None:
        self._seeds, self._name, self._push, self._on_up = tuple(seeds), name, on_push, on_up
        self._greet = greet
        self._sessions: dict[tuple[str, int], Session] = {}
        self._unkept: list[Session] = []
        self._owners: list[Session | None] = [None] * REDIS_CLUSTER_HASH_SLOTS
        self._channels: dict[str, None] = {}
        self._look = asyncio.Event()
        self._closed = False
        self._past_losses = 0
        self._complaints = Complaints()

    @property
    def losses(self) -> int:
        return self._past_losses + sum(session.losses for session in self._sessions.values())

    async def open(self) -> None:
        """Insists for a while: a primary that has died may just be being replaced."""
        loop = asyncio.get_running_loop()
        until, pause = loop.time() + self._seeds[0].login.connect_timeout, FIRST_PAUSE
        while (problem := await self._try_to_open()) is not None:
            if loop.time() + pause > until:
                raise ConnectFailed(problem)
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    async def _try_to_open(self) -> str | None:
        """Connect to all primaries, as far as somebody knows them; the problem if that does not work."""
        problems: dict[str, None] = {}
        for seed in self._seeds:
            session = self._session(seed.host, seed.port)
            try:
                if not session.up:
                    await session.open()
                await self._read_slots(session)
                for channel in self._channels:
                    self._assign(channel)
                if None in self._owners:
                    return f"{self.where} is down: some of its slots have no server"
                await asyncio.gather(*(primary.open() for primary in self._primaries() if not primary.up))
            except TransportError as error:
                problems[str(error)] = None
            else:
                return None
        return "; ".join(problems)

    def close(self) -> None:
        self._closed = True
        for session in self._sessions.values():
            session.close()
        self._look.set()

    async def keep(self) -> None:
        pause = FIRST_PAUSE
        async with asyncio.TaskGroup() as group:
            while not self._closed:
                new, self._unkept = self._unkept, []
                for session in new:
                    _ = group.create_task(session.keep())
                await self._look.wait()
                self._look.clear()
                found = await self._look_again()
                pause = FIRST_PAUSE if found else min(2 * pause, LONGEST_PAUSE)
                if not found:
                    self._look.set()
                await asyncio.sleep(pause)

    # Who has which slot

    @property
    def where(self) -> str:
        return f"the Redis Cluster of {','.join(map(str, self._seeds))}"

    def complain(self, text: str) -> None:
        self._complaints.add(text)

    def _primaries(self) -> list[Session]:
        return [owner for owner in dict.fromkeys(self._owners) if owner is not None]

    def _session(self, host: str, port: int) -> Session:
        session = self._sessions.get((host, port))
        if session is None:
            address = self._seeds[0].at(host, port)

            async def locate() -> Address:
                return address

            session = Session(
                locate,
                str(address),
                self._name,
                patience=address.login.command_timeout,
                greet=self._greet,
                on_push=self._pushed,
                on_up=self._on_up,
                on_down=self._look.set,
            )
            self._sessions[host, port] = session
            self._unkept.append(session)
            self._look.set()
        return session

    def _pushed(self, push: list[Any]) -> None:
        if push[0] == b"sunsubscribe":  # the slot of a channel has left that server
            self._look.set()
        elif self._push is not None:
            self._push(push)

    async def _look_again(self) -> bool:
        """Ask who has which slot; false if nobody knows, or not of all."""
        up = [session for session in self._sessions.values() if session.up]
        if not up:  # all that we knew may have moved
            for seed in self._seeds:
                _ = self._session(seed.host, seed.port)
        for session in up:
            try:
                await self._read_slots(session)
                for channel in self._channels:
                    self._assign(channel)
                self._forget_others()
                return None not in self._owners and all(owner.up for owner in self._primaries())
            except TransportError as error:
                _log.debug("%s does not say who has which slot: %s", session.where, error)
        return False

    async def _read_slots(self, session: Session) -> None:
        host = session.where.rpartition(":")[0]
        owners: list[Session | None] = [None] * REDIS_CLUSTER_HASH_SLOTS
        try:
            async with asyncio.timeout(LONGEST_PAUSE):  # another one may know as well
                found = await session.ask("CLUSTER", "SLOTS")
        except TimeoutError:
            raise ConnectionLost(f"the Redis server {session.where} does not answer") from None
        for first, last, (name, port, *_), *_ in found:
            # A server that does not know its own name is where we have asked it.
            owner = self._session(name.decode() if name else host, port)
            owners[first : last + 1] = [owner] * (last + 1 - first)
        self._owners = owners

    def _forget_others(self) -> None:
        """Servers that have no slots any more; a replica may become a primary again, and is then new to us."""
        primaries = self._primaries()
        for place, session in list(self._sessions.items()):
            if session not in primaries and None not in self._owners:
                del self._sessions[place]
                self._past_losses += session.losses + 1
                session.close()

    def _owner(self, key: Argument) -> Session:
        text = key if isinstance(key, bytes) else str(key).encode()
        owner = self._owners[key_slot(text)]
        if owner is None:
            self._look.set()
            raise ConnectionLost(f"nobody in {self.where} has the slot of {key!r} for now")
        return owner

    # Using it

    async def ready(self, key: str) -> None:
        while True:
            try:
                owner = self._owner(key)
                async with asyncio.timeout(LONGEST_PAUSE):
                    return await owner.ready()
            except TimeoutError:
                self._look.set()
            except ConnectionLost:
                await asyncio.sleep(FIRST_PAUSE)

    def hear(self, channel: str) -> None:
        self._channels[channel] = None
        self._assign(channel)

    async def listen(self, channel: str) -> None:
        self.hear(channel)
        while True:
            try:
                owner = self._owner(channel)
                async with asyncio.timeout(LONGEST_PAUSE):
                    return await owner.listen(channel)
            except (TimeoutError, ConnectionLost, Elsewhere):
                self._look.set()
                await asyncio.sleep(FIRST_PAUSE)

    def _assign(self, channel: str) -> None:
        """Have it heard where it is said, as far as known."""
        owner = self._owners[key_slot(channel.encode())]
        for session in self._sessions.values():
            if session is not owner:
                session.channels.pop(channel, None)
        if owner is None:
            self._look.set()
        else:
            owner.hear(channel)

    async def ask(self, *command: Argument) -> Any:
        return await self._at(command[1], lambda session, asking: session.ask(*command, asking=asking))

    async def run(
        self, script: Script, keys: Sequence[Argument], args: Sequence[Argument], *, then: Sequence[Argument] = ()
    ) -> Any:
        return await self._at(
            keys[0], lambda session, asking: session.run(script, keys, args, asking=asking, then=then)
        )

    @property
    def all(self) -> list[Session]:
        return self._primaries()

    async def _at(self, key: Argument, call: Call) -> Any:
        """Call the server of a key, wherever it has gone. What a server refuses has not been carried out."""
        session, asking, pause = self._owner(key), False, FIRST_PAUSE
        for _ in range(MOST_REDIRECTIONS):
            try:
                return await call(session, asking)
            except Elsewhere as error:
                session, asking = (
                    self._session(error.host or session.where.rpartition(":")[0], error.port),
                    error.for_once,
                )
                if not asking:
                    self._owners[error.slot] = session
                    self._look.set()
                await self._until_up(session)
            except Replied as error:
                if error.code != "TRYAGAIN":
                    raise
                await asyncio.sleep(pause)  # some keys of the slot are still to follow
                session, asking, pause = self._owner(key), False, min(2 * pause, LONGEST_PAUSE)
            except ConnectionLost:
                self._look.set()
                raise
        raise ConnectionLost(f"the keys of a call keep moving within {self.where}")

    async def _until_up(self, session: Session) -> None:
        """A server that is new to us gets a moment to be connected to."""
        try:
            async with asyncio.timeout(LONGEST_PAUSE):
                await session.ready()
        except TimeoutError:
            raise ConnectionLost(f"the Redis server {session.where} has the keys and cannot be reached") from None
