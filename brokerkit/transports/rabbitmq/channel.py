"""One AMQP channel of a link: aiormq for its questions and answers, our own frames for messages and acks."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from aiormq.channel import Channel
from pamqp import commands
from pamqp.base import Frame

from brokerkit.errors import ConnectionLost, TransportError
from brokerkit.transports.rabbitmq.cancelling import true_cancellations
from brokerkit.transports.rabbitmq.errors import Closed
from brokerkit.transports.rabbitmq.quiet import quiet

if TYPE_CHECKING:
    from brokerkit.transports.rabbitmq.link import Link

ANSWER_WITHIN = 30.0
"""Seconds that the broker gets to answer a question."""


class ChannelLost(TransportError):
    """The broker closed a channel; its connection goes on.

    Args:
        closed: What the broker said.
    """

    def __init__(self, closed: Closed) -> None:
        super().__init__(f"the broker closed a channel: {closed}")
        self.closed = closed


class Rpc(Channel):
    """aiormq's channel, whose waits end, and end with an error that says what happened."""

    async def rpc(self, frame: Frame, timeout: float | None = None) -> Any:
        with quiet(), true_cancellations():
            return await super().rpc(frame, timeout=ANSWER_WITHIN if timeout is None else timeout)


class LinkChannel:
    """A channel, and who is told when it ends.

    Attributes:
        number: Its number in frames.
        link: What it belongs to.
        rpc: Declares, binds, sets prefetch and so on, each with ``timeout=``; never publishes, acks or consumes.
        error: Why it is closed; None while it is open, and when we closed it.
    """

    def __init__(self, link: Link, rpc: Rpc) -> None:
        self.link, self.rpc, self.number = link, rpc, rpc.number
        self.error: Exception | None = None
        self._closed = False
        self._callbacks: list[Callable[[Exception | None], None]] = []

    @property
    def closed(self) -> bool:
        """Nothing can be sent any more, and no delivery of it can be settled."""
        return self._closed

    def on_closed(self, callback: Callable[[Exception | None], None]) -> None:
        """Call it, synchronously and once, when the channel ends, with the reason or None; at once if it has."""
        if self._closed:
            callback(self.error)
        else:
            self._callbacks.append(callback)

    def write(self, data: bytes) -> bool:
        """Send whole frames of this channel, whole messages if they are publishes; False once it is closed."""
        if self._closed:
            return False
        self.link.write(data)
        return True

    async def confirms(self, timeout: float | None = None) -> None:
        """Have the broker confirm what is published here, to the channel's sink."""
        await self.rpc.rpc(commands.Confirm.Select(), timeout=timeout)

    async def consume(
        self,
        queue: str,
        tag: str,
        *,
        no_ack: bool = False,
        exclusive: bool = False,
        arguments: dict[str, Any] | None = None,
        timeout: float | None = None,
    ) -> None:
        """Have the broker deliver a queue's messages to the channel's sink."""
        frame = commands.Basic.Consume(
            queue=queue, consumer_tag=tag, no_ack=no_ack, exclusive=exclusive, arguments=arguments
        )
        await self.rpc.rpc(frame, timeout=timeout)

    async def close(self, timeout: float = 5.0) -> None:
        """Close it; the broker then delivers again what was not settled. Idempotent; never raises for a lost link."""
        self.ended(None)
        if self.link.lost.is_set():
            return
        try:
            with quiet(), suppress(ConnectionLost), true_cancellations():
                await self.rpc.close(ConnectionLost("the channel was closed"), timeout=timeout)
        except TimeoutError:
            self.link.lose(f"the broker did not close a channel within {timeout:g} s")

    def ended(self, error: Exception | None) -> None:
        """Told by the link: nothing may be sent from now on."""
        if self._closed:
            return
        self._closed, self.error = True, error
        self.link.mute(self.number)
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback(error)
