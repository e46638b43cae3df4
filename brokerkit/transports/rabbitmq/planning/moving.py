"""Moving messages from a queue as they are: each is acknowledged when the broker has confirmed its copy."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple, Self

from brokerkit.errors import ConnectionLost, TransportError
from brokerkit.transports.rabbitmq.channel import LinkChannel
from brokerkit.transports.rabbitmq.errors import while_running
from brokerkit.transports.rabbitmq.frames import ack_frame, publish_frames

if TYPE_CHECKING:
    from brokerkit.transports.rabbitmq.broker import RabbitmqBroker

_PREFETCH = 2000
"""Room for what is published while a queue is being deleted; the most that a quorum queue pushes."""
_LOOK = 0.05
"""Seconds between two looks whether there is nothing left."""
_AGAIN = 0.2
"""Seconds until what had no room is published again."""
_CANCELLED_WITHIN = 10.0


class _Moved(NamedTuple):
    tag: int
    header: bytes
    body: bytes


class Mover:
    """Consumes a queue and publishes what comes elsewhere, on one channel: a ``Sink``.

    Args:
        broker: The connections.
        queue: The queue.
        exchange: Where to publish; "" for the default exchange.
        key: With which key.
    """

    def __init__(self, broker: RabbitmqBroker, queue: str, exchange: str, key: str) -> None:
        self.moved = 0
        self._broker, self._queue = broker, queue
        self._exchange, self._key = exchange.encode(), key.encode()
        self._channel: LinkChannel | None = None
        self._waiting: deque[_Moved] = deque()
        self._flying: dict[int, _Moved] = {}
        self._first = self._next = 1
        self._changed, self._ended = asyncio.Event(), asyncio.Event()
        self._failure = ""
        self._held_up = 0

    async def __aenter__(self) -> Self:
        link = await self._broker.consuming.link(10.0)
        self._channel = channel = await link.channel(self, confirms=True)
        try:
            await channel.rpc.basic_qos(prefetch_count=_PREFETCH)
            await channel.consume(self._queue, "bk.move")
        except Exception as error:
            await channel.close()
            raise while_running(error) from error
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        assert self._channel is not None
        await self._channel.close()

    async def until(self, finished: Callable[[], Awaitable[bool]]) -> None:
        """Move until that says so, asked while nothing is on its way.

        Raises:
            TransportError: The place to move to is not there, or the connection was lost; nothing is lost then.
        """
        while True:
            self._changed.clear()
            await self._send()
            if not self._busy and await finished() and not self._busy:
                return
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK):
                    await self._changed.wait()

    async def deleted(
        self, delete: Callable[[], Awaitable[None]], or_else: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        """Have the queue deleted, and move what came until then: the broker pushes it before it tells of the end.

        Args:
            delete: Deletes it.
            or_else: Called before anything is published that came until then.
        """
        await delete()
        try:
            async with asyncio.timeout(_CANCELLED_WITHIN):
                await self._ended.wait()
        except TimeoutError:
            raise TransportError(f"the broker does not tell that queue {self._queue} is deleted") from None
        if self._waiting and or_else is not None:
            await or_else()
        await self.flush()

    async def flush(self) -> None:
        """Publish all that is here."""
        while self._busy:
            self._changed.clear()
            await self._send()
            if self._busy:
                await self._changed.wait()

    @property
    def _busy(self) -> bool:
        """Something is on its way, or waits to be."""
        return bool(self._waiting or self._flying or self._held_up)

    async def _send(self) -> None:
        channel = self._channel
        assert channel is not None
        if self._failure:
            raise TransportError(self._failure)
        if channel.closed:
            raise ConnectionLost(f"the channel that moves queue {self._queue} was closed")
        parts: list[bytes] = []
        while self._waiting:
            each = self._waiting.popleft()
            self._flying[self._next] = each
            self._next += 1
            frames = (channel.number, self._exchange, self._key, each.header, each.body, channel.link.frame_max)
            parts.append(publish_frames(*frames))
        if parts:
            channel.write(b"".join(parts))
            await channel.link.drain()

    # A sink

    def delivered(
        self, tag: int, redelivered: bool, exchange: bytes, routing_key: bytes, header: bytes, body: bytes
    ) -> None:
        self._waiting.append(_Moved(tag, header, body))

    def confirmed(self, tag: int, multiple: bool, ok: bool) -> None:
        tags = range(self._first, tag + 1) if multiple else (tag,)
        done = [self._flying.pop(each) for each in tags if each in self._flying]
        if multiple:
            self._first = tag + 1
        if self._failure:
            return  # a returned message is confirmed, too: it must not be acknowledged
        if not ok:
            loop = asyncio.get_running_loop()
            loop.call_later(_AGAIN, self._take_back, done)
            self._held_up += len(done)
            return
        channel = self._channel
        assert channel is not None
        channel.write(b"".join(ack_frame(channel.number, each.tag, False) for each in done))
        self.moved += len(done)

    def _take_back(self, refused: list[_Moved]) -> None:
        self._held_up -= len(refused)
        self._waiting.extendleft(reversed(refused))
        self._changed.set()

    def returned(self, reply_code: int, reply_text: str, header: bytes, body: bytes) -> None:
        place = f"exchange {self._exchange.decode()}" if self._exchange else f"queue {self._key.decode()}"
        self._failure = f"messages of queue {self._queue} cannot move to {place}: {reply_text}"

    def cancelled(self, consumer_tag: str) -> None:
        self._ended.set()
        self._changed.set()

    def fed(self) -> None:
        self._changed.set()
