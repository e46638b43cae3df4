"""What a transport is made of, put together while it is open."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import socket
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from brokerkit.clock import Clock
from brokerkit.deadlines import TimeLimits
from brokerkit.errors import ConnectFailed, ConnectionLost, TransportError
from brokerkit.store import Retention
from brokerkit.topology import Topology
from brokerkit.transports.background import Background
from brokerkit.transports.redis import scripts
from brokerkit.transports.redis.calls import Calls
from brokerkit.transports.redis.compile import LogPlan, Target
from brokerkit.transports.redis.consuming import LEAVING, OPENING, Consuming
from brokerkit.transports.redis.errors import while_connecting
from brokerkit.transports.redis.greeting import Server, check, greet
from brokerkit.transports.redis.hearing import Hearing
from brokerkit.transports.redis.insisting import Insistent
from brokerkit.transports.redis.keeper import Duties, Graves, History, Keeper
from brokerkit.transports.redis.keys import Keys
from brokerkit.transports.redis.link import Argument, Link
from brokerkit.transports.redis.listening import RedisInbox
from brokerkit.transports.redis.packing import InboxPlan, Packing
from brokerkit.transports.redis.publishing import Publishing
from brokerkit.transports.redis.records import Records
from brokerkit.transports.redis.reports import RecordKeys, RecordWriter
from brokerkit.transports.redis.routes import Routes
from brokerkit.transports.redis.scripts import Script
from brokerkit.transports.redis.servers import servers
from brokerkit.transports.redis.settling import Settling
from brokerkit.transports.redis.url import Durability, Location, RedisUrlOptions

_log = logging.getLogger("brokerkit")

PATIENCE = 5.0
"""Seconds that one server of a cluster gets to settle: what the others have is not to wait for it for ever."""


class RedisBroker:
    """One opening of the servers by one transport.

    Args:
        location: The servers.
        options: What the URL says.
        durability: What a publish waits for.
        clock: For the times in messages.
        retention: How long records are kept.

    Attributes:
        name: This process, among all that use the servers.
        server: The one that was greeted last.
    """

    def __init__(
        self, location: Location, options: RedisUrlOptions, durability: Durability, clock: Clock, retention: Retention
    ) -> None:
        self.location, self.lease, self._durability = location, options.lease, durability
        self.name = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(8)}"
        self.keys = Keys(options.prefix, location.together)
        self.server = Server("redis", (0, 0))
        self.servers = servers(location, "brokerkit", greet=self._greet)
        self.asking = Insistent(self.servers, location.login.command_timeout)
        self.hearing = Hearing(location, self.keys.signals)
        limits = TimeLimits(clock)
        self.calls = Calls(self.servers, self.name, limits)
        self.routes = Routes(self.asking, self.keys, self._forgotten)
        self.writer = RecordWriter(RecordKeys(self.keys), retention, index=options.index)
        self.store = Records(self.asking, self.writer)
        # Whoever waits for replicas keeps all behind him on a connection waiting.
        self._waiting = servers(location, "brokerkit-publish") if durability.waits else self.servers
        self._publishes = Calls(self._waiting, f"{self.name}-publish", limits) if durability.waits else self.calls
        self.publishing = Publishing(
            self._publishes,
            self.routes,
            self.writer,
            self.store,
            durability=durability,
            patience=location.login.command_timeout,
        )
        patience = None if self.keys.together else PATIENCE
        self.settling = Settling(self.asking, self.calls, self.routes, self.writer, clock, patience=patience)
        self.background = Background("redis")
        self.consuming = Consuming(self, options.lease)
        lost, forgotten = self.consuming.renewal_lost, self.hearing.doubt
        self._keeper = Keeper(location, options.lease, self.writer, lost=lost, forgotten=forgotten)

    # Opening and closing

    async def open(self) -> None:
        """Connect. Raises ``ConnectFailed``."""
        try:
            async with asyncio.timeout(self.location.login.connect_timeout + self.location.login.command_timeout):
                await self._connect()
        except BaseException as error:
            self._disconnect()
            if isinstance(error, TimeoutError):
                raise while_connecting(str(self.location), error) from error
            if isinstance(error, TransportError) and not isinstance(error, ConnectFailed):
                raise ConnectFailed(str(error)) from error
            raise
        await self.background.start()
        _ = self.background.spawn(self.servers.keep(), "connection")
        _ = self.background.spawn(self.hearing.servers.keep(), "ear")
        if self._waiting is not self.servers:
            _ = self.background.spawn(self._waiting.keep(), "publishing")
        self.tend()
        self._keeper.start()

    async def _connect(self) -> None:
        await self.servers.open()
        check(self.server, self._durability, str(self.location))
        if self._waiting is not self.servers:
            await self._waiting.open()
        await self.hearing.open()
        await self.routes.refresh()

    async def close(self) -> None:
        """Hand back what is held, and leave no trace."""
        self.hearing.end()
        inboxes = list(self.hearing.inboxes.values())
        self.hearing.inboxes.clear()
        await self._keeper.stop()
        try:
            await self.consuming.close()
        except (TransportError, TimeoutError) as error:
            _log.warning(
                "Redis was not told that this process ends; leases run out by themselves: %s", str(error) or "no answer"
            )
        else:
            ours = {*self.calls.keys, *self._publishes.keys}
            await self._remove([*ours, *(key for inbox in inboxes for key in inbox.keys)])
        await self.background.stop()
        self._disconnect()

    async def abandon(self) -> None:
        """End as a killed process does: nothing is handed back."""
        self._disconnect()
        self.background.cancel()
        self._keeper.duties = Duties()
        self.consuming.end(dead=True)
        self.hearing.end()
        self.hearing.inboxes.clear()
        await self._keeper.stop()
        await self.background.stop()

    def _disconnect(self) -> None:
        self.servers.close()
        self._waiting.close()
        self.hearing.servers.close()

    async def _remove(self, keys: Sequence[str]) -> None:
        """Delete what nobody needs any more, and what ends by itself if it cannot be deleted now."""
        try:
            async with asyncio.timeout(LEAVING):
                for key in keys:
                    await self.servers.ask("DEL", key)
        except (TransportError, TimeoutError) as error:
            _log.debug("keys of a process that ends stay for a while: %s", error)

    async def once(self, near: str, script: Script, keys: Sequence[Argument], args: Sequence[Argument]) -> Any:
        """Run a script that begins with ``once.lua`` for somebody who waits.

        Raises:
            ConnectionLost: There was no answer for as long as a command may take; it may have been carried out.
            TransportError: The server answered with an error.
        """
        seconds = self.location.login.command_timeout
        try:
            return await self.calls.once(near, script, keys, args, within=seconds)
        except TimeoutError:
            text = f"no answer from the Redis server {self.location} for {seconds:g} s; it may have been done"
            raise ConnectionLost(text) from None

    async def _greet(self, link: Link) -> None:
        self.server = await greet(link, str(self.location), self.location.kind)

    async def _forgotten(self) -> None:
        """The servers have lost their data: what we wait for has to be known again before anything is sent."""
        for inbox in tuple(self.hearing.inboxes.values()):
            await inbox.renew()

    @property
    def losses(self) -> int:
        """How often a connection has been lost on which messages come to us."""
        return self.servers.losses + self.hearing.servers.losses

    # Topology

    async def apply(self, topology: Topology) -> None:
        """Declare."""
        await self.routes.apply(topology)
        self.tend()

    async def target(self, key: str) -> Target:
        """A queue or group, as declared now."""
        await self.routes.refresh()
        return self.routes.target(key)

    def log_delayed(self) -> Mapping[str, str]:
        """By log, the key of what is not due yet."""
        return {name: plan.delayed for name, plan in self.routes.plan.logs.items()}

    async def promote(self, names: Iterable[str]) -> None:
        """Append to logs what is due; they lie together."""
        packing = self._log_packing(self.routes.plan.logs[name] for name in dict.fromkeys(names))
        await self.servers.run(scripts.PROMOTE, packing.target_keys, packing.targets)

    def _log_packing(self, plans: Iterable[LogPlan]) -> Packing:
        packing = Packing(self.routes, self.writer)
        for plan in plans:
            packing.number(plan)
        return packing

    # Inboxes

    @asynccontextmanager
    async def inbox(self, plan: InboxPlan) -> AsyncIterator[RedisInbox]:
        """Have an inbox for as long as somebody reads it."""
        inbox = RedisInbox(plan, self.servers, self.lease)
        self.hearing.inboxes[plan.replies] = inbox
        self.tend()
        tasks = [self.background.spawn(inbox.feed(), "inbox"), self.background.spawn(self._furnish(inbox), "inbox")]
        try:
            await self._furnished(inbox)
            yield inbox
        finally:
            inbox.close()
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            if self.hearing.inboxes.pop(plan.replies, None) is not None:
                self.tend()
                await self._remove(inbox.keys)

    async def _furnish(self, inbox: RedisInbox) -> None:
        """Have its replies kept, and be told of them; where the connection is lost, as soon as it is there again."""
        try:
            await inbox.renew()
            await self.hearing.servers.listen(inbox.plan.channel)
        except TransportError as error:
            if inbox.ready.done():
                _log.error("replies to this process cannot be had: %s", error)
            else:
                inbox.ready.set_exception(error)
        else:
            if not inbox.ready.done():
                inbox.ready.set_result(None)
            inbox.wake()

    async def _furnished(self, inbox: RedisInbox) -> None:
        """Wait for that, but not for ever: whoever wants a reply has something to send, perhaps to another server."""
        _ = await asyncio.wait([inbox.ready], timeout=OPENING)
        if not inbox.ready.cancel():
            inbox.ready.result()
        else:
            _log.warning("replies to this process wait until %s answers again", self.hearing.servers.where)

    # What the keeper does

    def tend(self) -> None:
        """Tell the keeper what there is to keep."""
        plan = self.routes.plan
        graves: dict[str, list[str]] = {}
        for name in plan.mortal:
            target = plan.targets[name]
            graves.setdefault(target.near, []).extend(target.stream(level) for level in range(target.lanes))
        logs: dict[str, list[LogPlan]] = {}
        for log in plan.logs.values():
            logs.setdefault(log.near, []).append(log)
        self._keeper.duties = Duties(
            self.consuming.leases,
            tuple(inbox.plan.alive for inbox in self.hearing.inboxes.values()),
            tuple(Graves(tuple(streams)) for streams in graves.values()),
            tuple(
                History(self._log_packing(plans), tuple(int(each.log.history) for each in plans))
                for plans in logs.values()
            ),
        )
