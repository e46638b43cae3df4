"""Where replies to this process arrive."""

from __future__ import annotations

from typing import TYPE_CHECKING

from brokerkit.message import Message
from brokerkit.transports.rabbitmq.listening import Listener

if TYPE_CHECKING:
    from brokerkit.transports.rabbitmq.broker import RabbitmqBroker


class RabbitmqInbox(Listener[Message]):
    """An ``Inbox``.

    Args:
        broker: The connections.
        address: Its address, which is its queue's name.
    """

    def __init__(self, broker: RabbitmqBroker, address: str) -> None:
        super().__init__(broker, address, "", lambda message: message)

    @property
    def address(self) -> str:
        return self.queue
