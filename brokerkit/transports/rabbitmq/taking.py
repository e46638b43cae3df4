"""Taking messages off a queue in batches of a known size, and holding them until they are acknowledged or given back.

``basic.get`` would need a majority of the broker's nodes for each message. A consumer with a prefetch gets a batch in
one step; once it is cancelled nothing more comes, and what it was given stays held.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from pamqp import commands
from pamqp.frame import marshal

from brokerkit.errors import TransportError
from brokerkit.transports.rabbitmq.channel import LinkChannel
from brokerkit.transports.rabbitmq.errors import while_running
from brokerkit.transports.rabbitmq.frames import ack_frame, nack_frame

if TYPE_CHECKING:
    from brokerkit.transports.rabbitmq.broker import RabbitmqBroker

_log = logging.getLogger("brokerkit.rabbitmq")

MOST_AT_ONCE = 500
_QUIET = 0.5
"""Seconds without a message after which somebody else has got those that were ready, or those that are back."""
_BACK_EACH = 0.001
"""Seconds more for each message that is given back: a quorum queue tells nothing until it has got them all."""
_LOOK_AGAIN = 0.01


class Taken(NamedTuple):
    """A message that is held.

    Args:
        tag: Its delivery tag.
        routing_key: As it was delivered.
        header: Its content header.
        body: Its body.
    """

    tag: int
    routing_key: str
    header: bytes
    body: bytes


class Hand:
    """What one channel holds. A reader's ``Sink``; used by one caller at a time.

    Args:
        broker: The connections.
    """

    def __init__(self, broker: RabbitmqBroker) -> None:
        self._broker = broker
        self._channel: LinkChannel | None = None
        self._arrived: list[Taken] = []
        self._changed = asyncio.Event()
        self._consumers = self._last = 0
        self._queue = ""
        self._from: dict[str, int] = {}
        self._behind: dict[str, int] = {}
        self._queue_of: dict[int, str] = {}

    @property
    def held(self) -> int:
        """How many messages are held."""
        return len(self._queue_of)

    async def open(self) -> None:
        """Open the channel."""
        self._channel = await self._broker.channel(self)
        self._channel.on_closed(lambda _: self._changed.set())

    async def close(self) -> None:
        """Give everything back, and wait until it is there again."""
        channel, self._channel = self._channel, None
        if channel is None:
            return
        try:
            if self.held and channel.write(nack_frame(channel.number, self._last, True, True)):
                await self._until_back(channel)
        finally:
            await channel.close()

    async def take(self, queue: str, most: int) -> list[Taken]:
        """Hold so many messages of a queue, or as many as there are."""
        channel = self._open_channel()
        try:
            ready = await self._ready(channel, queue)
            want = min(most, MOST_AT_ONCE, ready)
            found = await self._consume(channel, queue, want) if want else []
            self._behind[queue] = ready - len(found)
            return found
        except Exception as error:
            raise channel.error or while_running(error) from error

    async def _consume(self, channel: LinkChannel, queue: str, want: int) -> list[Taken]:
        self._consumers += 1
        self._queue = queue
        tag = f"bk.look.{self._consumers}"
        await channel.rpc.basic_qos(prefetch_count=want)
        await channel.consume(queue, tag)
        if await self._arrive(channel, want):
            # As many as the prefetch allows: nothing more can come, so the broker need not say that the consumer has
            # ended. The shorter the look, the less it makes room in a queue that is full.
            channel.write(marshal(commands.Basic.Cancel(consumer_tag=tag, nowait=True), channel.number))
        else:
            await channel.rpc.basic_cancel(tag)
        found, self._arrived = self._arrived, []
        return found

    async def _arrive(self, channel: LinkChannel, want: int) -> bool:
        """Wait for so many; False when they do not come."""
        while len(self._arrived) < want and not channel.closed:
            self._changed.clear()
            try:
                async with asyncio.timeout(_QUIET):
                    await self._changed.wait()
            except TimeoutError:
                break
        return len(self._arrived) >= want

    def acknowledge(self, tags: Sequence[int]) -> None:
        """Delete these for good. Raises ``TransportError`` when they have gone back by themselves.

        What nothing older is held before goes in one frame. Each frame is a command to a quorum queue; with too many of
        them under way the broker keeps the others back, and forgets them when the channel is closed meanwhile. Where
        single ones are needed, something is held that is given back after them, which is waited for.
        """
        channel = self._open_channel()
        if channel.closed:
            raise channel.error or TransportError("the channel was closed")
        for tag in tags:
            self._from[self._queue_of.pop(tag)] -= 1
        oldest = next(iter(self._queue_of), None)
        first = [tag for tag in tags if oldest is None or tag < oldest]
        frames = [ack_frame(channel.number, max(first), True)] if first else []
        frames += [ack_frame(channel.number, tag, False) for tag in tags if oldest is not None and tag > oldest]
        channel.write(b"".join(frames))

    async def count(self, queue: str) -> int:
        """How many are ready in a queue."""
        return await self._ready(self._open_channel(), queue)

    async def _ready(self, channel: LinkChannel, queue: str) -> int:
        try:
            return (await channel.rpc.queue_declare(queue, passive=True)).message_count or 0
        except Exception as error:
            raise while_running(error) from error

    def _open_channel(self) -> LinkChannel:
        if self._channel is None:
            raise TransportError("this look into a dead-letter queue has ended")
        return self._channel

    async def _until_back(self, channel: LinkChannel) -> None:
        """A quorum queue takes back what is handed back a moment later: wait until whoever looks next finds it, or no
        more comes back because somebody else consumes it."""
        try:
            patience = _QUIET + self.held * _BACK_EACH
            for queue, taken in self._from.items():
                before, since = -1, self._broker.clock.monotonic()
                there = taken + self._behind.get(queue, 0)
                while taken and (ready := await self._ready(channel, queue)) < there:
                    now = self._broker.clock.monotonic()
                    if ready > before:
                        before, since = ready, now
                    elif now > since + patience:
                        break
                    await asyncio.sleep(_LOOK_AGAIN)
        except TransportError as error:
            _log.debug("%d dead letters are not back yet: %r", self.held, error)

    # What the reader tells

    def delivered(
        self, tag: int, redelivered: bool, exchange: bytes, routing_key: bytes, header: bytes, body: bytes
    ) -> None:
        self._last = tag
        self._queue_of[tag] = self._queue
        self._from[self._queue] = self._from.get(self._queue, 0) + 1
        self._arrived.append(Taken(tag, routing_key.decode("utf-8", "replace"), header, body))

    def confirmed(self, tag: int, multiple: bool, ok: bool) -> None: ...

    def returned(self, reply_code: int, reply_text: str, header: bytes, body: bytes) -> None: ...

    def cancelled(self, consumer_tag: str) -> None:
        self._changed.set()

    def fed(self) -> None:
        self._changed.set()
