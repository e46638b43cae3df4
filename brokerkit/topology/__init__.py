"""The topology: exchanges, queues, logs and groups as one value, and where messages go in it.

``descriptors`` and the nouns beside it declare, ``validate`` checks, ``union`` puts several apps' topologies together,
``implied`` adds what is meant without being said, and ``router`` answers where a message goes.
"""

from brokerkit.topology.descriptors import Topology
from brokerkit.topology.exchange import Binding, Exchange, ExchangeType, HeaderMatch, HeaderValue
from brokerkit.topology.implied import dead_letter_owners, dead_letter_queue, implied, with_exchanges
from brokerkit.topology.log import Group, Log, Start
from brokerkit.topology.options import RabbitMQOptions, RedisOptions
from brokerkit.topology.priority import MAX_LANES, MAX_PRIORITY, PRIORITIES, lane_of, lane_weights, priority_number
from brokerkit.topology.queue import DeadLetter, Mode, Queue, QueueType
from brokerkit.topology.retry import Retry, RetryKind, exception_name
from brokerkit.topology.router import Router
from brokerkit.topology.union import union
from brokerkit.topology.validate import problems, validate

__all__ = [
    "MAX_LANES",
    "MAX_PRIORITY",
    "PRIORITIES",
    "Binding",
    "DeadLetter",
    "Exchange",
    "ExchangeType",
    "Group",
    "HeaderMatch",
    "HeaderValue",
    "Log",
    "Mode",
    "Queue",
    "QueueType",
    "RabbitMQOptions",
    "RedisOptions",
    "Retry",
    "RetryKind",
    "Router",
    "Start",
    "Topology",
    "dead_letter_owners",
    "dead_letter_queue",
    "exception_name",
    "implied",
    "lane_of",
    "lane_weights",
    "priority_number",
    "problems",
    "union",
    "validate",
    "with_exchanges",
]
