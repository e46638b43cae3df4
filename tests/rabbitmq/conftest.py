"""The private node, for every test here that asks for it."""

from tests.rabbitmq.fixtures import node, started_node, url

__all__ = ["node", "started_node", "url"]
