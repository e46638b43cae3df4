"""RabbitMQ's definitions."""

from __future__ import annotations

from typing import Any

from brokerkit.errors import ConfigurationError
from brokerkit.operations.dialects import dialect_for
from brokerkit.topology import Topology


def as_definitions(
    topology: Topology, broker: str, *, vhost: str | None = None, policies: bool = False, delays: bool = False
) -> dict[str, Any]:
    """Exactly what the RabbitMQ transport would declare.

    Args:
        topology: Valid.
        broker: The broker, as ``rabbitmq:4.3``.
        vhost: The virtual host, for an import of the whole broker. Default None: for one into a virtual host.
        policies: What may change later as policies. Default as arguments.
        delays: Also what delayed messages wait in.

    Raises:
        ConfigurationError: The broker is no RabbitMQ, or would refuse the topology.
    """
    from brokerkit.transports.rabbitmq.definitions import definitions
    from brokerkit.transports.rabbitmq.dialect import RabbitmqDialect

    dialect = dialect_for(broker)
    if not isinstance(dialect, RabbitmqDialect):
        raise ConfigurationError(f"only RabbitMQ has definitions; name its version, as rabbitmq:4.3, not {broker!r}")
    return definitions(topology, dialect.version, vhost=vhost, policies=policies, delays=delays)
