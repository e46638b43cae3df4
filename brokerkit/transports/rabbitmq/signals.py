"""Words to every worker, over a fanout exchange."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from brokerkit.abilities import Signal
from brokerkit.ids import new_id
from brokerkit.message import JSON, Message
from brokerkit.transports.rabbitmq import standins
from brokerkit.transports.rabbitmq.listening import Listener
from brokerkit.transports.rabbitmq.plan import ExchangePlan, Plan
from brokerkit.transports.rabbitmq.publishing import Prepared

if TYPE_CHECKING:
    from brokerkit.transports.rabbitmq.broker import RabbitmqBroker

EXCHANGE = "bk.signals"

_PLAN = Plan(exchanges=(ExchangePlan(EXCHANGE, "fanout"),))
_SEND_WITHIN = 10.0
_decode = msgspec.json.Decoder(Signal).decode


class RabbitmqSignals(Listener[Signal]):
    """A ``SignalStream``.

    Args:
        broker: The connections.
        queue: A name nobody else uses.
    """

    def __init__(self, broker: RabbitmqBroker, queue: str) -> None:
        super().__init__(broker, queue, EXCHANGE, self._heard)

    def _heard(self, message: Message) -> Signal | None:
        signal = _signal(message)
        if signal is not None and signal.kind == standins.SIGNAL:
            self._broker.look(signal.target)
            _ = self._broker.background.spawn(self._broker.replacements.look_again(), "looking for replaced queues")
            return None
        return signal

    async def open(self) -> None:
        await declare(self._broker)
        await super().open()


async def declare(broker: RabbitmqBroker) -> None:
    """Have the exchange there."""
    await broker.declare(_PLAN, EXCHANGE)


async def send(broker: RabbitmqBroker, signal: Signal) -> None:
    """Send to every process that listens; nobody may."""
    await declare(broker)
    message = Message(
        id=new_id(broker.clock.now()), name="bk.signal", body=msgspec.json.encode(signal), content_type=JSON
    )
    await broker.publisher.publish([Prepared(EXCHANGE, "", message)], deadline=_SEND_WITHIN)


def _signal(message: Message) -> Signal | None:
    try:
        return _decode(message.body)
    except msgspec.MsgspecError:
        return None  # of a later version
