"""A topology in the forms of others: RabbitMQ's definitions, AsyncAPI."""

from brokerkit.operations.export.asyncapi import as_asyncapi
from brokerkit.operations.export.rabbitmq import as_definitions

__all__ = ["as_asyncapi", "as_definitions"]
