"""One connection: commands go out as they come, answers return in order, pushes go where they belong.

Nobody can take another's answer: a caller who no longer waits leaves its place in the row, and the answer is dropped.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, cast

import hiredis

from brokerkit.errors import ConnectionLost
from brokerkit.transports.redis.address import Address
from brokerkit.transports.redis.errors import while_connecting

Argument = str | bytes | int | float
Push = Callable[[list[Any]], None]
_NOTHING = object()
_PING = hiredis.pack_command(("PING",))


class Link(asyncio.Protocol):
    """A connection on the running event loop.

    Args:
        address: Where to.
        on_push: Called with each push message.
    """

    def __init__(self, address: Address, on_push: Push | None = None) -> None:
        self._address, self._on_push = address, on_push
        self._loop = asyncio.get_running_loop()
        self._reader = hiredis.Reader(notEnoughData=_NOTHING)
        self._waiting: deque[asyncio.Future[Any]] = deque()
        self._dropped: asyncio.Future[Any] = self._loop.create_future()
        self._dropped.set_result(None)
        self._transport: asyncio.Transport | None = None
        self.heard: dict[str, asyncio.Future[Any]] = {}
        """Channels that were asked for, with the answers."""
        self.closed: asyncio.Future[None] = self._loop.create_future()
        """Done when the connection has ended, for whatever reason."""
        self.why = ""
        """That reason."""
        self.when_lost: Callable[[], None] = lambda: None
        """Called when it has ended, before anybody who waits for an answer is told."""

    # Called by the event loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Not asserted: uvloop's transports have the methods without being of the class.
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        try:
            while (reply := self._reader.gets()) is not _NOTHING:
                # That a channel is heard is said by a push, in the place of the answer.
                if type(reply) is hiredis.PushNotification and reply[0] != b"ssubscribe":
                    self._pushed(reply)
                else:
                    future = self._waiting.popleft()
                    if not future.done():
                        future.set_result(reply)
        except (hiredis.ProtocolError, IndexError):
            self.abort("it answers what was not asked, or is no Redis server")

    def _pushed(self, push: list[Any]) -> None:
        if push[0] == b"sunsubscribe":  # its slot has left this server
            self.heard.pop(push[1].decode(), None)
        if self._on_push is not None:
            self._on_push(push)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self.why = self.why or (str(exc) if exc else "the server has closed it")
        self.when_lost()
        waiting, self._waiting = self._waiting, deque()
        for future in waiting:
            if not future.done():
                text = f"the connection to the Redis server {self._address} was lost: {self.why}"
                future.set_exception(ConnectionLost(text))
                future.exception()  # whoever has gone need not be told
        if not self.closed.done():
            self.closed.set_result(None)

    # Called by us

    @property
    def usable(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    def send(self, *command: Argument, others_first: bool = False) -> asyncio.Future[Any]:
        """Send a command; its answer may be a ``hiredis.ReplyError``.

        Args:
            command: The command.
            others_first: Whomever the server tells something because of it is told before us. A server writes first to
                whom it has answered last, and with a PING before the command that is not us: whoever waits for a
                message starts up to 0.1 ms earlier.
        """
        future: asyncio.Future[Any] = self._loop.create_future()
        if self._transport is None or self._transport.is_closing():
            raise ConnectionLost(f"there is no connection to the Redis server {self._address}")
        packed: bytes = hiredis.pack_command(command)  # type: ignore[arg-type] # any number of them
        if others_first:
            self._waiting.append(self._dropped)
            packed = _PING + packed
        self._waiting.append(future)
        self._transport.write(packed)
        return future

    def hear(self, channel: str) -> asyncio.Future[Any]:
        """Have what is published there pushed to us, from the moment the answer is there; it may be an error."""
        answer = self.heard.get(channel)
        if answer is None:
            answer = self.heard[channel] = self.send("SSUBSCRIBE", channel)
        return answer

    def abort(self, why: str = "we have ended it") -> None:
        """End at once."""
        if self._transport is not None:
            self.why = self.why or why
            self._transport.abort()


async def connect(address: Address, name: str, on_push: Push | None = None) -> Link:
    """Connect and introduce ourselves.

    Raises:
        ConnectFailed: In one line, with the fix.
    """
    link: Link | None = None
    try:
        async with asyncio.timeout(address.login.connect_timeout):
            link = await _dial(address, on_push)
            for command in _greeting(address, name):
                answer = await link.send(*command)
                if isinstance(answer, hiredis.ReplyError):
                    raise answer
    except BaseException as error:
        if link is not None:
            link.abort()
        if isinstance(error, OSError | TimeoutError | ConnectionLost | hiredis.ReplyError):
            raise while_connecting(str(address), error) from error
        raise
    return link


async def _dial(address: Address, on_push: Push | None) -> Link:
    loop = asyncio.get_running_loop()
    if address.path:
        _, link = await loop.create_unix_connection(lambda: Link(address, on_push), address.path)
    else:
        _, link = await loop.create_connection(
            lambda: Link(address, on_push), address.host, address.port, ssl=address.login.tls
        )
    return link


def _greeting(address: Address, name: str) -> list[tuple[Argument, ...]]:
    """HELLO with all that it can carry: before a password it is all that a server may be asked."""
    login = address.login
    hello: tuple[Argument, ...] = ("HELLO", 3)
    if login.password:
        hello += ("AUTH", login.user or "default", login.password)
    hello += ("SETNAME", name)
    return [hello, ("SELECT", login.db)] if login.db else [hello]
