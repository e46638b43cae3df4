"""One confirming channel: what was written on it and waits for the broker's answer."""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence

import msgspec

from brokerkit.errors import EncodeError
from brokerkit.message import Message, Scalar
from brokerkit.transport import INBOX_PREFIX, Published
from brokerkit.transports.rabbitmq.channel import ChannelLost, LinkChannel
from brokerkit.transports.rabbitmq.envelope import encode, message_id_of
from brokerkit.transports.rabbitmq.errors import ACCESS_REFUSED, NOT_FOUND, Closed
from brokerkit.transports.rabbitmq.frames import publish_frames
from brokerkit.transports.rabbitmq.link import Link

_log = logging.getLogger("brokerkit")

_WRITE = 1024 * 1024
"""Bytes after which a write ends, so that large messages wait in the program rather than twice in buffers."""
_OUR_FAULT = range(501, 506)
"""Codes with which the broker closes a connection for what it was sent: see ``connection.close`` in AMQP 0-9-1."""


class Prepared(msgspec.Struct, frozen=True, gc=False):
    """A message ready to leave.

    Args:
        exchange: Its name; "" for the default exchange.
        routing_key: The key.
        message: What to send.
        extra: Headers of the transport's own.
        priority: AMQP's own priority, or None.
        nack: What a refusal by the broker means: FULL where a target has a maximum length, else REFUSED.
    """

    exchange: str
    routing_key: str
    message: Message
    extra: Mapping[str, Scalar | None] = {}
    priority: int | None = None
    nack: Published = Published.REFUSED

    @property
    def straight_to(self) -> str | None:
        """The queue of an app that it goes straight to; None for an exchange or somebody's inbox."""
        return None if self.exchange or self.routing_key.startswith(INBOX_PREFIX) else self.routing_key


class Batch:
    """The messages of one call, and their answers as they come.

    Attributes:
        todo: Indices still to be written, in order.
        left: How many have no answer yet.
        sent: Something was written.
        careful: One of them ended a channel, nobody knows which: they go one at a time.
        given_up: Nobody waits for it any more.
    """

    def __init__(self, items: Sequence[Prepared]) -> None:
        self.items = items
        self.answers: list[Published | None] = [None] * len(items)
        self.todo = deque(range(len(items)))
        self.left = len(items)
        self.sent = self.careful = self.given_up = False
        self._doubtful: set[int] = set()
        self._waiter: asyncio.Future[None] | None = None

    @property
    def ahead(self) -> Iterator[Prepared]:
        """What is still to be written."""
        return (self.items[index] for index in self.todo)

    def answer(self, index: int, answer: Published) -> None:
        """Its fate this time. That it was not taken now says nothing of an earlier try that may have arrived."""
        if index in self._doubtful and answer is not Published.CONFIRMED:
            answer = Published.UNKNOWN
        self._settle(index, answer)

    def condemn(self, index: int, fault: Closed) -> None:
        """Its fate, when it ended the channel: what the broker can never take is not to be tried for ever."""
        if fault.code == NOT_FOUND:
            self.answer(index, Published.UNROUTABLE)
        else:
            self._settle(index, Published.REFUSED)

    def _settle(self, index: int, answer: Published) -> None:
        self.answers[index] = answer
        self.left -= 1
        if not self.left:
            self.wake()

    def doubt(self, index: int) -> None:
        """It may have arrived, and nobody will say."""
        self._doubtful.add(index)

    def again(self, indices: Sequence[int]) -> None:
        """Write them again, before the rest."""
        self.todo.extendleft(reversed(indices))

    @property
    def returned(self) -> dict[int, str]:
        """What was returned on its way straight to a queue, and to which."""
        return {
            index: queue
            for index, answer in enumerate(self.answers)
            if answer is Published.UNROUTABLE and (queue := self.items[index].straight_to) is not None
        }

    def retry(self, indices: Sequence[int]) -> None:
        """Write again what had an answer."""
        for index in indices:
            self.answers[index] = None
        self.left += len(indices)
        self.again(indices)

    def condemn_all(self, exchange: str | None, fault: Closed) -> None:
        """The same for all that were still to go to an exchange."""
        hopeless = [index for index in self.todo if self.items[index].exchange == exchange]
        self.todo = deque(index for index in self.todo if self.items[index].exchange != exchange)
        for index in hopeless:
            self.condemn(index, fault)

    def wake(self) -> None:
        """There is something to do for who waits for it."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def changed(self) -> None:
        """Wait until all are answered, or some have to be written again."""
        self._waiter = asyncio.get_running_loop().create_future()
        await self._waiter


class Outlet:
    """Writes publishes on one channel and takes their confirmations: a ``Sink``.

    Args:
        link: Where.
        changed: Called after answers have come, and when the channel has ended.
        places: Where to send what goes straight to queues that are being replaced.

    Attributes:
        flying: Written, unanswered, and waited for.
        forgotten: Written, unanswered, and given up.
    """

    def __init__(self, link: Link, changed: Callable[[], None], places: Callable[[], Mapping[str, str]] = dict) -> None:
        self.link, self._places = link, places
        self.flying = self.forgotten = 0
        self._changed = changed
        self._channel: LinkChannel | None = None
        self._waiting: dict[int, tuple[Batch, int]] = {}
        self._nonce = secrets.token_hex(6)
        self._first = self._next = 1

    async def open(self) -> None:
        """Open the channel. Raises ``TransportError``."""
        self._channel = await self.link.channel(self, confirms=True)
        self._channel.on_closed(self._ended)

    @property
    def closed(self) -> bool:
        return self._channel is None or self._channel.closed

    async def close(self) -> None:
        """What is unanswered goes to another channel."""
        if self._channel is not None:
            await self._channel.close()

    def send(self, batch: Batch, most: int) -> None:
        """Write up to ``most`` of a batch's messages, in one write. The channel must not be closed."""
        assert self._channel is not None
        parts: list[bytes] = []
        size = 0
        try:
            while batch.todo and len(parts) < most and size < _WRITE:
                data = self._frames(batch, batch.todo[0])
                index = batch.todo.popleft()
                if data is not None:
                    self._waiting[self._next] = batch, index
                    self._next += 1
                    parts.append(data)
                    size += len(data)
        finally:
            if parts:
                self.flying += len(parts)
                batch.sent = True
                self._channel.write(b"".join(parts))

    def _frames(self, batch: Batch, index: int) -> bytes | None:
        assert self._channel is not None
        item = batch.items[index]
        try:
            header = encode(item.message, f"{self._nonce}.{self._next:x}", item.extra, item.priority)
            return publish_frames(
                self._channel.number,
                item.exchange.encode(),
                (self._standing_in(item.routing_key) if not item.exchange else item.routing_key).encode(),
                header,
                item.message.body,
                self.link.frame_max,
            )
        except EncodeError as error:
            _log.error("the message %s (%r) cannot be sent: %s", item.message.id, item.message.name, error)
            batch.answer(index, Published.REFUSED)
            return None

    def _standing_in(self, queue: str) -> str:
        return self._places().get(queue, queue)

    def forget(self, batch: Batch) -> None:
        """Nobody waits for this batch any more; its messages leave the window, not the wire."""
        mine = sum(1 for other, _ in self._waiting.values() if other is batch)
        self.flying -= mine
        self.forgotten += mine

    # A sink

    def confirmed(self, tag: int, multiple: bool, ok: bool) -> None:
        if multiple:
            for earlier in range(self._first, tag + 1):
                self._answered(earlier, ok)
            self._first = tag + 1
        else:
            self._answered(tag, ok)
            if tag == self._first:
                self._first += 1

    def _answered(self, tag: int, ok: bool) -> None:
        entry = self._waiting.pop(tag, None)
        if entry is None:  # returned before
            return
        batch, index = entry
        if batch.given_up:
            self.forgotten -= 1
        else:
            self.flying -= 1
            batch.answer(index, Published.CONFIRMED if ok else batch.items[index].nack)

    def returned(self, reply_code: int, reply_text: str, header: bytes, body: bytes) -> None:
        nonce, _, tag = (message_id_of(header) or "").partition(".")
        if nonce != self._nonce:
            return
        entry = self._waiting.pop(int(tag, 16), None)
        if entry is None:
            return
        batch, index = entry
        if batch.given_up:
            self.forgotten -= 1
        else:
            self.flying -= 1
            batch.answer(index, Published.UNROUTABLE)

    def delivered(
        self, tag: int, redelivered: bool, exchange: bytes, routing_key: bytes, header: bytes, body: bytes
    ) -> None:
        """Nothing is consumed here."""

    def cancelled(self, consumer_tag: str) -> None:
        """Nothing is consumed here."""

    def fed(self) -> None:
        self._changed()

    # The end of the channel

    def _ended(self, error: Exception | None) -> None:
        waiting = [(batch, index) for batch, index in self._waiting.values() if not batch.given_up]
        self._waiting.clear()
        self.flying = self.forgotten = 0
        fault = self._fault(error)
        if fault is not None:
            _log.error("%s refused what was published: %s", self.link.server, fault)
        if fault is not None and len(waiting) == 1:
            batch, index = waiting.pop()
            batch.condemn(index, fault)
        _hand_back(waiting, fault)
        self._changed()

    def _fault(self, error: Exception | None) -> Closed | None:
        """What the broker found wrong with a message of ours."""
        if isinstance(error, ChannelLost):
            return error.closed
        closed = self.link.closed
        return closed if closed is not None and closed.code in _OUR_FAULT else None


def _hand_back(waiting: Sequence[tuple[Batch, int]], fault: Closed | None) -> None:
    """Have them written again. The broker works in order: what came after the culprit was not looked at."""
    exchange = _exchange_of(fault)
    batches: dict[Batch, list[int]] = {}
    found = False
    for batch, index in waiting:
        found = found or batch.items[index].exchange == exchange
        batches.setdefault(batch, []).append(index)
        if not found:
            batch.doubt(index)
    for batch, indices in batches.items():
        batch.again(indices)
        if found and fault is not None:
            batch.condemn_all(exchange, fault)
        elif fault is not None:
            batch.careful = True
        batch.wake()


def _exchange_of(fault: Closed | None) -> str | None:
    """The exchange that is missing or forbidden."""
    if fault is None or fault.code not in {NOT_FOUND, ACCESS_REFUSED}:
        return None
    found = re.search(r"exchange '([^']*)'", fault.text)
    return found[1].replace("amq.default", "") if found else None
