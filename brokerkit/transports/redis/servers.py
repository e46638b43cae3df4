"""What keeps the keys: one server, or the primaries of a cluster."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import hiredis

from brokerkit.errors import ConnectFailed, ConnectionLost
from brokerkit.transports.redis.address import Address
from brokerkit.transports.redis.errors import while_connecting
from brokerkit.transports.redis.greeting import greet as greeted
from brokerkit.transports.redis.link import Argument, Link, Push, connect
from brokerkit.transports.redis.scripts import Script
from brokerkit.transports.redis.session import Greet, Locate, Session
from brokerkit.transports.redis.url import Kind, Location


class Servers(Protocol):
    """Connections that come back by themselves. A command or script goes where its first key is."""

    @property
    def where(self) -> str:
        """What they are called in texts."""
        ...

    @property
    def losses(self) -> int:
        """How often a connection has been lost."""
        ...

    async def open(self) -> None:
        """Connect for the first time. Raises ``ConnectFailed``."""

    def close(self) -> None:
        """End the connections for good."""

    def complain(self, text: str) -> None:
        """Say why they do not serve us, once in a while."""

    async def keep(self) -> None:
        """Connect again whenever a connection is lost; runs until it is cancelled or closed."""

    async def ready(self, key: str) -> None:
        """Wait for the connection to the server of a key."""

    def hear(self, channel: str) -> None:
        """Hear what is said on a channel, from now on as soon as can be, and again after each loss."""

    async def listen(self, channel: str) -> None:
        """The same, from when this returns, however long it takes. Raises ``TransportError`` where we may not."""

    async def ask(self, *command: Argument) -> Any:
        """Send a command and wait for its answer; its first argument is a key.

        Raises:
            ConnectionLost: There is no connection, or it ended before the answer came.
            TransportError: The server answered with an error.
        """
        ...

    async def run(
        self, script: Script, keys: Sequence[Argument], args: Sequence[Argument], *, then: Sequence[Argument] = ()
    ) -> Any:
        """Run a script, whose keys lie together; with ``then``, a command that the server carries out right after it on
        the same connection, the answer is that of both. Raises as ``ask``."""
        ...

    @property
    def all(self) -> Sequence[Session]:
        """The connection to each server, for what is asked of all."""
        ...


def servers(
    location: Location,
    name: str,
    *,
    greet: Greet | None = None,
    on_push: Push | None = None,
    on_up: Callable[[], None] = lambda: None,
) -> Servers:
    """The servers of a location, not connected yet.

    Args:
        location: Where they are.
        name: What a server's list of clients calls our connections.
        greet: Awaited with each new connection, before anybody uses it. Default: make sure that it is one for us.
        on_push: Called with each push message.
        on_up: Called after each time a connection is there.
    """
    if greet is None:

        async def greet(link: Link) -> None:
            _ = await greeted(link, str(location), location.kind)

    if location.kind is Kind.CLUSTER:
        from brokerkit.transports.redis.cluster import Cluster  # loads 20 MB that nobody else needs

        return Cluster(location.addresses, name, greet=greet, on_push=on_push, on_up=on_up)
    locate = _sentinels(location) if location.kind is Kind.SENTINEL else _always(location.addresses[0])
    patience = location.login.command_timeout
    return Session(locate, str(location), name, patience=patience, greet=greet, on_push=on_push, on_up=on_up)


def _always(address: Address) -> Locate:
    async def locate() -> Address:
        return address

    return locate


def _sentinels(location: Location) -> Locate:
    """Ask the sentinels, the one that answered last first."""
    sentinels = list(location.addresses)

    async def locate() -> Address:
        problems: list[str] = []
        for sentinel in tuple(sentinels):
            try:
                found = await _primary(sentinel, location.service)
            except ConnectFailed as error:
                problems.append(str(error))
                continue
            sentinels.remove(sentinel)
            sentinels.insert(0, sentinel)
            if found is None:
                raise ConnectFailed(
                    f"the sentinel {sentinel} knows no primary named {location.service!r}; see SENTINEL MASTERS there"
                )
            return Address(login=location.login, host=found[0], port=found[1])
        raise ConnectFailed("no sentinel can be reached: " + "; ".join(problems))

    return locate


async def _primary(sentinel: Address, service: str) -> tuple[str, int] | None:
    link: Link = await connect(sentinel, "brokerkit")
    try:
        async with asyncio.timeout(sentinel.login.connect_timeout):
            answer = await link.send("SENTINEL", "GET-MASTER-ADDR-BY-NAME", service)
    except (TimeoutError, ConnectionLost) as error:
        raise while_connecting(str(sentinel), error) from error
    finally:
        link.abort()
    if isinstance(answer, hiredis.ReplyError):
        raise ConnectFailed(f"the sentinel {sentinel} answered: {answer}")
    return None if answer is None else (answer[0].decode(), int(answer[1]))
