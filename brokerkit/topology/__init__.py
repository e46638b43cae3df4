"""The topology: exchanges, queues, logs and groups as one value, and where messages go in it.

``descriptors`` and the nouns beside it declare, ``validate`` checks, ``union`` puts several apps' topologies together,
``implied`` adds what is meant without being said, and ``router`` answers where a message goes.
"""

from brokerkit.topology.descriptors import Topology
from brokerkit.topology.exchange import Binding, Exchange, ExchangeType, HeaderMatch, HeaderValue
from brokerkit.topology.finding import Finding, ObjectPath
from brokerkit.topology.implied import dead_letter_owners, dead_letter_queue, implied, with_exchanges
from brokerkit.topology.log import Group, Log, Start, is_entry, start_time
from brokerkit.topology.modes import modeless, with_modes
from brokerkit.topology.options import Mode, RabbitMQOptions, RedisOptions
from brokerkit.topology.owning import owned, to_store, unlike, verified
from brokerkit.topology.priority import MAX_LANES, MAX_PRIORITY, PRIORITIES, lane_of, lane_weights, priority_number
from brokerkit.topology.queue import DeadLetter, Queue, QueueType
from brokerkit.topology.retry import Retry, RetryKind, exception_name
from brokerkit.topology.router import Hop, Router
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
    "Finding",
    "Group",
    "HeaderMatch",
    "HeaderValue",
    "Hop",
    "Log",
    "Mode",
    "ObjectPath",
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
    "is_entry",
    "lane_of",
    "lane_weights",
    "modeless",
    "owned",
    "priority_number",
    "problems",
    "start_time",
    "to_store",
    "union",
    "unlike",
    "validate",
    "verified",
    "with_exchanges",
    "with_modes",
]
