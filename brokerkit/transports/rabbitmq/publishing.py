"""Confirmed publishing: many messages in one write, an answer for each, and once more after a lost connection."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from brokerkit.clock import SystemClock
from brokerkit.deadlines import TimeLimits
from brokerkit.errors import BrokerBlocked, ConnectionLost, TransportError
from brokerkit.transport import Published
from brokerkit.transports.rabbitmq.connection import Connection
from brokerkit.transports.rabbitmq.outlet import Batch, Outlet, Prepared

if TYPE_CHECKING:
    from brokerkit.transports.rabbitmq.replacements import Replacements

__all__ = ["Prepared", "Publisher"]

_log = logging.getLogger("brokerkit")

_WINDOW = 512
_NOWHERE_ELSE: Mapping[str, str] = {}
_FORGOTTEN = 16
"""Windows of given-up messages after which the channel is replaced, lest they pile up where no confirmation ever comes
(a quorum queue without a majority)."""
_BETWEEN_CHANNELS = 0.1
"""Seconds to wait when a link does not open a channel."""


class Publisher:
    """Publishes on a connection of its own, so that a blocked broker never holds back acknowledgements.

    Calls may be concurrent: they take turns, a part of the window at a time.

    Args:
        connection: Which.
        window: Most messages that may wait for their confirmation. Default 512.

    Attributes:
        replacements: Knows which queues are being replaced; None where nobody looks.
    """

    def __init__(self, connection: Connection, window: int = _WINDOW) -> None:
        self._connection = connection
        self._window = window
        self._turn = asyncio.Lock()
        self._limits = TimeLimits(SystemClock())
        self._outlet: Outlet | None = None
        self._wanted = 0
        self._bell: asyncio.Future[None] | None = None
        self.replacements: Replacements | None = None
        connection.on_blocked.append(lambda _: self._ring())

    def _places(self) -> Mapping[str, str]:
        return self.replacements.places if self.replacements is not None else _NOWHERE_ELSE

    @property
    def blocked(self) -> bool:
        """The broker takes no messages for now."""
        link = self._connection.current
        return link is not None and link.blocked is not None

    async def publish(self, items: Sequence[Prepared], *, deadline: float) -> list[Published]:
        """Publish, an answer per item in order.

        What has no answer when the connection or channel is lost is written again, under the same ``Message.id``,
        until the deadline; if the broker then refuses it, its fate is UNKNOWN.

        Args:
            items: What to publish.
            deadline: Seconds; what is not answered by then is UNKNOWN.

        Raises:
            BrokerBlocked: The broker took nothing at all before the deadline.
            ConnectionLost: There was no link before the deadline.
            ConnectFailed: The same, and the broker refuses us.
        """
        batch = Batch(items)
        why: TransportError | None = None
        try:
            with self._limits.within(deadline):
                await self._deliver(batch)
        except TimeoutError:
            why = self._why()
        except TransportError as error:
            why = error
        finally:
            if batch.left:
                self._give_up(batch)
        if why is not None and not batch.sent and batch.left == len(items):
            raise why
        return [answer or Published.UNKNOWN for answer in batch.answers]

    async def _deliver(self, batch: Batch) -> None:
        await self._answered(batch)
        while again := await self._led_astray(batch):
            batch.retry(again)
            await self._answered(batch)

    async def _led_astray(self, batch: Batch) -> list[int]:
        """What was returned because its queue has just been replaced."""
        if self.replacements is None or Published.UNROUTABLE not in batch.answers:
            return []
        if not (returned := batch.returned):
            return []
        found = await self.replacements.reachable(set(returned.values()))
        return [at for at, queue in returned.items() if queue in found]

    async def _answered(self, batch: Batch) -> None:
        while batch.left:
            if not batch.todo:
                await batch.changed()
                continue
            async with self._turn:
                if batch.careful:
                    await self._send_alone(batch)
                else:
                    await self._send(batch)

    async def _send(self, batch: Batch) -> None:
        need = min(len(batch.todo), self._window // 4)
        outlet = await self._admitted(need)
        outlet = await self._looked(batch, outlet, need)
        outlet.send(batch, self._window - outlet.flying)
        await _drained(outlet)

    async def _send_alone(self, batch: Batch) -> None:
        """One message with nothing else in flight, so that a channel that ends tells which was to blame."""
        outlet = await self._looked(batch, await self._admitted(self._window), self._window)
        outlet.send(batch, 1)
        await _drained(outlet)
        while outlet.flying and not outlet.closed:
            await self._rung(self._window)

    async def _looked(self, batch: Batch, outlet: Outlet, need: int) -> Outlet:
        """The outlet, once it is known where the queues are that the batch goes straight to."""
        while self.replacements is not None and (queues := self.replacements.unknown(batch.ahead)):
            await self.replacements.look(queues)
            outlet = await self._admitted(need)
        return outlet

    async def _admitted(self, need: int) -> Outlet:
        """The outlet, once the broker takes messages and so many of them have room in the window."""
        while True:
            outlet = await self._open()
            if outlet.link.blocked is None and self._window - outlet.flying >= need:
                return outlet
            await self._rung(need)

    async def _open(self) -> Outlet:
        outlet = self._outlet
        if outlet is not None and outlet.forgotten > _FORGOTTEN * self._window:
            _log.warning(
                "%s has not confirmed %d messages; opening another channel", outlet.link.server, outlet.forgotten
            )
            await outlet.close()
        while outlet is None or outlet.closed:
            outlet = Outlet(await self._connection.up(), self._ring, self._places)
            try:
                await outlet.open()
            except ConnectionLost:
                continue
            except TransportError as error:
                _log.warning("no channel to publish on: %s", error)
                await asyncio.sleep(_BETWEEN_CHANNELS)
                continue
            self._outlet = outlet
        return outlet

    # Waiting, for one at a time: who has the turn

    async def _rung(self, need: int) -> None:
        self._wanted = need
        self._bell = asyncio.get_running_loop().create_future()
        await self._bell

    def _ring(self) -> None:
        if self._bell is None or self._bell.done():
            return
        outlet = self._outlet
        if outlet is None or outlet.closed or self._window - outlet.flying >= self._wanted:
            self._bell.set_result(None)

    def _why(self) -> TransportError | None:
        """Why nothing went out, when the broker is to blame."""
        link = self._connection.current
        if link is None:
            return self._connection.why
        if link.blocked is not None:
            return BrokerBlocked(f"{link.server} takes no messages for now: {link.blocked}")
        return None

    def _give_up(self, batch: Batch) -> None:
        if self._outlet is not None:
            self._outlet.forget(batch)
        batch.given_up = True
        batch.items = ()
        self._ring()


async def _drained(outlet: Outlet) -> None:
    try:
        await outlet.link.drain()
    except ConnectionLost:
        return  # what it took along is handed back by the outlet
