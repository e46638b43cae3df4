"""A connection to one server that comes back by itself."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

import hiredis

from brokerkit.errors import ConnectionLost, TransportError
from brokerkit.transports.redis.address import Address
from brokerkit.transports.redis.complaints import Complaints
from brokerkit.transports.redis.errors import Elsewhere, NotYet, code_of, while_connecting, while_running
from brokerkit.transports.redis.link import Argument, Link, Push, connect
from brokerkit.transports.redis.scripts import Script

_log = logging.getLogger("brokerkit")

FIRST_WAIT, LONGEST_WAIT = 0.05, 2.0
"""Seconds before the second attempt to connect, and at most, with full jitter."""

Locate = Callable[[], Awaitable[Address]]
"""Finds the server, each time anew: it may have become another one."""
Greet = Callable[[Link], Awaitable[None]]


class Session:
    """One connection to one server, for one purpose.

    Args:
        locate: Finds the server.
        where: What it is called in texts.
        name: What the server's list of clients calls the connection.
        patience: Seconds a command may take before the connection counts as broken.
        greet: Awaited with each new connection, before anybody uses it.
        on_push: Called with each push message.
        on_up: Called each time the connection is there, with all that is to be heard.
        on_down: Called each time it is lost, or a channel is not heard there any more.

    Attributes:
        losses: How often the connection has been lost.
        channels: What is to be heard, again after each loss.
    """

    def __init__(
        self,
        locate: Locate,
        where: str,
        name: str,
        *,
        patience: float,
        greet: Greet,
        on_push: Push | None = None,
        on_up: Callable[[], None] = lambda: None,
        on_down: Callable[[], None] = lambda: None,
    ) -> None:
        self._locate, self.where, self._name, self._patience = locate, where, name, patience
        self._greet, self._on_push, self._on_up, self._on_down = greet, on_push, on_up, on_down
        self._link: Link | None = None
        self._up = asyncio.Event()
        self._since, self._wait = 0.0, 0.0
        self._complaints = Complaints()
        self._closed = False
        self.losses = 0
        self.channels: dict[str, None] = {}

    # Its life

    async def open(self) -> None:
        """Connect for the first time.

        Raises:
            ConnectFailed: In one line, with the fix.
            Replied: The server does not let us hear what we have to.
        """
        await self._connect()

    def close(self) -> None:
        """End the connection for good."""
        self._closed = True
        self._up.clear()
        link, self._link = self._link, None
        if link is not None:
            link.abort()

    def complain(self, text: str) -> None:
        """Say why the server does not serve us, once in a while."""
        self._complaints.add(text)

    @property
    def up(self) -> bool:
        """Whether the connection is there, as far as known."""
        return self._up.is_set()

    async def keep(self) -> None:
        """Connect again whenever the connection is lost; runs until it is cancelled or closed."""
        while not self._closed:
            if self._link is None:
                await self._reconnect()
            else:
                await self._watch(self._link)

    async def _watch(self, link: Link) -> None:
        """Until the connection ends, or an answer is overdue: a server that hangs, a network that swallows."""
        while not link.closed.done():
            await asyncio.wait([link.closed], timeout=self._patience / 3)
            try:
                async with asyncio.timeout(self._patience):
                    await link.send("PING")
            except TimeoutError:
                link.abort(f"no answer for {self._patience:g} s")
                await asyncio.wait([link.closed])
            except ConnectionLost:
                return

    async def _reconnect(self) -> None:
        while not self._closed:
            await asyncio.sleep(random.uniform(0, self._wait))
            self._wait = min(max(FIRST_WAIT, 2 * self._wait), LONGEST_WAIT)
            try:
                await self._connect()
            except TransportError as error:
                self.complain(str(error))
            else:
                self._complaints.clear()
                if not self._closed:
                    _log.warning("the connection to the Redis server %s is there again", self.where)
                return

    async def _connect(self) -> None:
        link = await connect(await self._locate(), self._name, self._on_push)
        try:
            async with asyncio.timeout(self._patience):
                await self._greet(link)
                await self._hear_all(link)
        except BaseException as error:
            link.abort()
            if isinstance(error, TimeoutError):
                raise while_connecting(self.where, error) from error
            raise
        if self._closed:
            link.abort()
            return
        link.when_lost = partial(self._lost, link)
        self._link, self._since = link, asyncio.get_running_loop().time()
        self._up.set()
        self._on_up()

    def _lost(self, link: Link) -> None:
        if link is not self._link:
            return
        self._link = None
        self._up.clear()
        # A server that takes connections and ends them is not to be overrun.
        if asyncio.get_running_loop().time() - self._since > LONGEST_WAIT:
            self._wait = 0.0
        self.losses += 1
        _log.warning("the connection to the Redis server %s was lost (%s); connecting again", self.where, link.why)
        self._on_down()

    # Hearing

    def hear(self, channel: str) -> None:
        """Hear what is said there, from now on as soon as can be, and again after each loss."""
        self.channels[channel] = None
        if self._link is not None and channel not in self._link.heard and self._link.usable:
            answer = self._link.hear(channel)
            answer.add_done_callback(partial(self._perhaps_heard, self._link, channel))

    async def listen(self, channel: str) -> None:
        """Hear what is said there, from when this returns; waits for the connection however long it takes.

        Raises:
            Replied: The server does not let us.
        """
        while True:
            await self.ready()
            try:
                link = self._usable()
                self.hear(channel)
                answer = await asyncio.shield(link.heard[channel])
            except ConnectionLost:
                await asyncio.sleep(0)
                continue
            if isinstance(answer, hiredis.ReplyError):
                error = while_running(self.where, answer)
                if not isinstance(error, ConnectionLost):
                    raise error
            elif link is self._link:
                return

    def _perhaps_heard(self, link: Link, channel: str, answer: asyncio.Future[Any]) -> None:
        if answer.cancelled() or answer.exception() or not isinstance(answer.result(), hiredis.ReplyError):
            return
        error = while_running(self.where, answer.result())
        link.heard.pop(channel, None)
        if isinstance(error, Elsewhere):
            self._give_up(channel)
        elif isinstance(error, ConnectionLost):
            link.abort(str(error))  # the next connection hears it
        else:
            _log.error("what is said on %s is not heard: %s", channel, error)

    async def _hear_all(self, link: Link) -> None:
        """Also what is asked for meanwhile."""
        while new := [channel for channel in self.channels if channel not in link.heard]:
            answers = [link.hear(channel) for channel in new]
            for channel, answer in zip(new, await asyncio.gather(*answers), strict=True):
                if not isinstance(answer, hiredis.ReplyError):
                    continue
                error = while_running(self.where, answer)
                if not isinstance(error, Elsewhere):
                    raise error
                self._give_up(channel)

    def _give_up(self, channel: str) -> None:
        """Somebody else has it."""
        self.channels.pop(channel, None)
        self._on_down()

    # Using it

    async def ready(self, _key: str = "") -> None:
        """Wait for the connection."""
        await self._up.wait()

    async def ask(self, *command: Argument, asking: bool = False) -> Any:
        """Send a command and wait for its answer.

        Args:
            command: The command; its first argument is its first key, if it has any.
            asking: The key is on its way to this server.

        Raises:
            ConnectionLost: There is no connection, or it ended before the answer came.
            TransportError: The server answered with an error.
        """
        link = self._usable()
        if asking:
            _ = link.send("ASKING")
        return self._checked(link, await link.send(*command))

    def _checked(self, link: Link, answer: Any) -> Any:
        if isinstance(answer, hiredis.ReplyError):
            raise self._error(link, answer)
        return answer

    async def run(
        self,
        script: Script,
        keys: Sequence[Argument],
        args: Sequence[Argument],
        *,
        asking: bool = False,
        then: Sequence[Argument] = (),
    ) -> Any:
        """Run a script, which the server is given again if it has forgotten it. Raises as ``ask``.

        Args:
            script: The script.
            keys: Its keys.
            args: Its arguments.
            asking: The keys are on their way to this server.
            then: A command that the server carries out right after it, on the same connection; the answer is then that
                of both.
        """
        link = self._usable()
        if asking:
            _ = link.send("ASKING")
        # What ASKING allows is the very next command.
        others_first = script.hands_over and not asking
        asked = link.send("EVALSHA", script.sha, len(keys), *keys, *args, others_first=others_first)
        also = link.send(*then) if then else None
        answer = await asked
        if isinstance(answer, hiredis.ReplyError):
            if code_of(answer) != "NOSCRIPT":
                raise self._error(link, answer)
            answer = await self.ask("EVAL", script.body, len(keys), *keys, *args, asking=asking)
            also = link.send(*then) if then else None
        return answer if also is None else (answer, self._checked(link, await also))

    @property
    def all(self) -> tuple[Session]:
        """This connection, as that of each server."""
        return (self,)

    def _usable(self) -> Link:
        if self._link is None or not self._link.usable:
            raise ConnectionLost(f"there is no connection to the Redis server {self.where}")
        return self._link

    def _error(self, link: Link, answer: hiredis.ReplyError) -> Exception:
        error = while_running(self.where, answer)
        if isinstance(error, ConnectionLost) and not isinstance(error, NotYet):
            link.abort(str(error))
            self._lost(link)
        return error
