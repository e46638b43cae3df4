"""Inboxes and signals: what is said to processes, not to queues."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

import msgspec

from brokerkit.abilities import Presence, Signal
from brokerkit.errors import TransportError
from brokerkit.message import Message
from brokerkit.transports.gate import Gate
from brokerkit.transports.redis import scripts
from brokerkit.transports.redis.insisting import insist
from brokerkit.transports.redis.packing import InboxPlan
from brokerkit.transports.redis.servers import Servers

_log = logging.getLogger("brokerkit")

AT_ONCE = 500
"""Replies taken with one command."""
PAUSE = 1.0
"""Seconds until replies are looked for again that the server has refused to give."""

encode = msgspec.msgpack.Encoder().encode
decode_signal = msgspec.msgpack.Decoder(Signal).decode
decode_presence = msgspec.msgpack.Decoder(Presence).decode
_message = msgspec.msgpack.Decoder(Message).decode


class RedisInbox:
    """An ``Inbox``.

    Args:
        plan: Where its replies wait.
        servers: The connections.
        lease: Seconds; replies are kept for four of them after it was last renewed.
    """

    def __init__(self, plan: InboxPlan, servers: Servers, lease: float) -> None:
        self.plan, self._servers, self._lease = plan, servers, lease
        self._doubtful = False
        self._items: list[Message] = []
        self._known: dict[str, None] = {}
        """What has arrived lately: a reply may come with a wake-up, and is in the list as well."""
        self._taken = 0
        self._gate, self._bell = Gate(), Gate()
        self._closed = False
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when replies are kept, and we are told of them."""

    @property
    def address(self) -> str:
        return self.plan.address

    @property
    def keys(self) -> tuple[str, str, str]:
        """All that there is of it."""
        return self.plan.alive, self.plan.replies, self.plan.taken

    async def receive(self) -> list[Message]:
        while not self._items and not self._closed:
            await self._gate.wait()
        items, self._items = self._items, []
        return items

    def wake(self) -> None:
        """There may be something."""
        self._bell.open()

    def doubt(self) -> None:
        """Something may have been missed, and whether it is still known to be read."""
        self._doubtful = True
        self.wake()

    async def renew(self) -> None:
        """Have replies kept."""
        await insist(
            self._servers,
            self.plan.alive,
            lambda: self._servers.ask("SET", self.plan.alive, "1", "PX", int(self._lease * 4000)),
        )

    def take(self, body: bytes) -> None:
        """A reply comes by itself, or was taken."""
        try:
            message = _message(body)
        except (msgspec.MsgspecError, ValueError) as error:
            _log.error("a reply cannot be read: %s", error)
            return
        if message.id in self._known:
            return
        self._known[message.id] = None
        if len(self._known) > 2 * AT_ONCE:
            del self._known[next(iter(self._known))]
        self._items.append(message)
        self._gate.open()

    def close(self) -> None:
        self._closed = True
        self._gate.open()

    async def feed(self) -> None:
        """Take what arrives; runs until it is cancelled."""
        while True:
            await self._bell.wait()
            try:
                if self._doubtful:
                    self._doubtful = False
                    await self.renew()
                while found := await self._look():
                    for body in found:
                        self.take(body)
                    self._taken += len(found)
            except TransportError as error:
                _log.warning("replies could not be taken from Redis: %s", error)
                await asyncio.sleep(PAUSE)
                self.wake()

    async def _look(self) -> Sequence[bytes]:
        """What is there; what was taken before goes."""
        keys, args = [self.plan.replies, self.plan.taken], [self._taken, AT_ONCE]
        found: Sequence[bytes] = await insist(
            self._servers, self.plan.replies, lambda: self._servers.run(scripts.TAKE, keys, args)
        )
        return found


class RedisSignals:
    """A ``SignalStream``."""

    def __init__(self) -> None:
        self._items: list[Signal] = []
        self._gate = Gate()
        self._closed = False

    async def receive(self) -> list[Signal]:
        while not self._items and not self._closed:
            await self._gate.wait()
        items, self._items = self._items, []
        return items

    def add(self, body: bytes) -> None:
        """Take what was said to all."""
        try:
            self._items.append(decode_signal(body))
        except (msgspec.MsgspecError, ValueError) as error:
            _log.error("a signal cannot be read: %s", error)
            return
        self._gate.open()

    def close(self) -> None:
        self._closed = True
        self._gate.open()
