"""A queue of this process alone, whose messages are taken as they come: for replies and signals."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Generic, TypeVar

from aiormq.exceptions import AMQPError

from brokerkit.errors import BrokerkitError, TransportError
from brokerkit.message import Message
from brokerkit.transports.rabbitmq import envelope
from brokerkit.transports.rabbitmq.channel import LinkChannel
from brokerkit.transports.rabbitmq.errors import while_running
from brokerkit.transports.rabbitmq.link import Link

if TYPE_CHECKING:
    from brokerkit.transports.rabbitmq.broker import RabbitmqBroker

_log = logging.getLogger("brokerkit.rabbitmq")

T = TypeVar("T")

OPEN_WITHIN = 10.0
_PAUSE = 0.5
"""Seconds before it is declared again: the queue is locked until the broker has noticed the old connection's end."""
_FAILURES = (AMQPError, OSError, BrokerkitError)


class Listener(Generic[T]):
    """Declares its queue on each connection anew. A reader's ``Sink``.

    Args:
        broker: The connections.
        queue: Its name.
        exchange: What to bind it to; "" for nothing.
        read: What a message says; None to pass it over.
    """

    def __init__(self, broker: RabbitmqBroker, queue: str, exchange: str, read: Callable[[Message], T | None]) -> None:
        self.queue = queue
        self._broker, self._exchange, self._read = broker, exchange, read
        self._found: list[T] = []
        self._ready = asyncio.Event()
        self._changed = asyncio.Event()
        self._channel: LinkChannel | None = None
        self._task: asyncio.Task[None] | None = None
        self._cancelled = self._closed = False

    async def open(self) -> None:
        """Listen. Raises ``TransportError`` when that is not possible now."""
        self._task = self._broker.background.spawn(self._run(), f"listening on {self.queue}")
        try:
            async with asyncio.timeout(OPEN_WITHIN):
                await self._ready.wait()
        except BaseException as error:
            await self.close()
            if isinstance(error, TimeoutError):
                raise TransportError(f"queue {self.queue} could not be opened in time") from error
            raise

    async def receive(self) -> list[T]:
        """Wait for something and return what is there; an empty list once closed."""
        while not self._found and not self._closed:
            self._changed.clear()
            await self._changed.wait()
        found, self._found = self._found, []
        return found

    def abandon(self) -> None:
        """Never listen again; end a waiting ``receive``."""
        self._closed = True
        self._changed.set()

    async def close(self) -> None:
        """Delete the queue and end a waiting ``receive``. Idempotent."""
        self.abandon()
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        await self._delete()

    async def _delete(self) -> None:
        channel, self._channel = self._channel, None
        if channel is None or channel.closed:
            return
        try:
            await channel.rpc.queue_delete(self.queue)
        except _FAILURES as error:
            _log.debug("queue %s goes with its connection: %s", self.queue, while_running(error))
        await channel.close()

    async def _run(self) -> None:
        while not self._closed:
            try:
                await self._serve(await self._broker.consuming.up())
            except _FAILURES as error:
                _log.warning("queue %s is not there for now: %s", self.queue, while_running(error))
            await asyncio.sleep(_PAUSE)

    async def _serve(self, link: Link) -> None:
        self._cancelled = False
        channel = self._channel = await link.channel(self)
        rpc = channel.rpc
        await rpc.queue_declare(self.queue, exclusive=True, auto_delete=True, arguments={"x-queue-type": "classic"})
        if self._exchange:
            await rpc.queue_bind(self.queue, self._exchange)
        await channel.consume(self.queue, "bk", no_ack=True, exclusive=True)
        self._ready.set()
        ended = asyncio.Event()
        channel.on_closed(lambda _: ended.set())
        while not channel.closed and not self._cancelled:
            ended.clear()
            await self._until(ended)
        await channel.close()

    async def _until(self, ended: asyncio.Event) -> None:
        try:
            async with asyncio.timeout(_PAUSE):
                await ended.wait()
        except TimeoutError:
            return

    # What the reader tells

    def delivered(
        self, tag: int, redelivered: bool, exchange: bytes, routing_key: bytes, header: bytes, body: bytes
    ) -> None:
        key = routing_key.decode("utf-8", "replace")  # anybody may publish anything here
        found = self._read(envelope.decode(header, body, exchange.decode("utf-8", "replace"), key).message)
        if found is not None:
            self._found.append(found)

    def confirmed(self, tag: int, multiple: bool, ok: bool) -> None: ...

    def returned(self, reply_code: int, reply_text: str, header: bytes, body: bytes) -> None: ...

    def cancelled(self, consumer_tag: str) -> None:
        self._cancelled = True

    def fed(self) -> None:
        self._changed.set()
