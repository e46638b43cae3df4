"""The RabbitMQ transport, over AMQP 0-9-1: quorum queues, confirms for everything, delays without plugins.

``compile`` and ``ladder`` need neither a broker nor the client library.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from brokerkit.transports.rabbitmq.transport import RabbitmqTransport

__all__ = ["RabbitmqTransport"]


def __getattr__(name: str) -> Any:
    # Loaded on first use, and the client library with it.
    if name == "RabbitmqTransport":
        from brokerkit.transports.rabbitmq.transport import RabbitmqTransport

        return RabbitmqTransport
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
