"""What a queue that this process has not declared is like, found out from the broker.

AMQP does not list a queue's arguments, but refuses a declaration that differs and names the first difference with the
value it has. So the arguments are declared, corrected and declared again until they agree; nothing is changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from brokerkit.errors import TopologyConflict
from brokerkit.topology import MAX_PRIORITY, HeaderValue, QueueType
from brokerkit.topology.queue import dead_letter_name
from brokerkit.topology.suggestion import unknown_source
from brokerkit.transports.rabbitmq import ladder
from brokerkit.transports.rabbitmq.asking import Asking, NotPermitted, OpenChannel
from brokerkit.transports.rabbitmq.compile import TTL_MARGIN, lane_names
from brokerkit.transports.rabbitmq.plan import QueuePlan, SourcePlan

_MOST_ARGUMENTS = 32


async def discover(open_channel: OpenChannel, key: str, known: Iterable[str]) -> SourcePlan:
    """The source behind a queue's name or a group's key.

    Args:
        open_channel: Opens a channel that may be thrown away.
        key: The key.
        known: Keys of those that are known, for suggestions.

    Raises:
        TopologyError: There is no such queue.
        TransportError: The connection was lost.
    """
    async with Asking(open_channel) as asking:
        if not await asking.exists("queue", key):
            raise unknown_source(key, known)
        lanes = await _lanes(asking, key)
        arguments = await _arguments(asking, key)
    return _source(key, lanes, arguments)


async def found_lanes(asking: Asking, key: str) -> tuple[str, ...]:
    """The queues beside ``key`` that are lanes of it at the broker."""
    if not await asking.exists("exchange", f"{key}.lanes"):
        return ()
    names = [f"{key}.lane.{level}" for level in range(MAX_PRIORITY + 1)]
    return tuple([name for name in names if await asking.exists("queue", name)])


async def _lanes(asking: Asking, key: str) -> tuple[str, ...]:
    return lane_names(key, len(await found_lanes(asking, key)) + 1)


async def _arguments(asking: Asking, queue: str) -> Mapping[str, HeaderValue]:
    """Its arguments, as far as the broker compares them; none where we may not ask."""
    arguments: dict[str, HeaderValue] = {"x-queue-type": "quorum"}
    for _ in range(_MOST_ARGUMENTS):
        try:
            await asking.declare(QueuePlan(queue, arguments))
        except TopologyConflict as conflict:
            if not conflict.attribute.startswith("x-"):
                raise
            arguments.pop(conflict.attribute, None)
            if isinstance(conflict.found, (str, int, float)):
                arguments[conflict.attribute] = conflict.found
        except NotPermitted:
            name = dead_letter_name(queue, True)
            return {"x-dead-letter-routing-key": name} if name and await asking.exists("queue", name) else {}
        else:
            break
    return arguments


def _source(key: str, lanes: tuple[str, ...], arguments: Mapping[str, HeaderValue]) -> SourcePlan:
    kind: QueueType = "classic" if arguments.get("x-queue-type") == "classic" else "quorum"
    limit, ttl = arguments.get("x-max-length"), arguments.get("x-message-ttl")
    grave = arguments.get("x-dead-letter-routing-key")
    refuses = isinstance(limit, int) and arguments.get("x-overflow") == "reject-publish"
    waits = ttl / 1000 - TTL_MARGIN if isinstance(ttl, int) else 0.0
    return SourcePlan(
        key=key,
        lanes=lanes,
        kind=kind,
        delayed=tuple(ladder.waiting_room(name).name for name in lanes) if refuses else lanes,
        dead_letter=grave if isinstance(grave, str) else None,
        rejects_survive="x-dead-letter-exchange" in arguments,
        max_length=limit + (kind == "quorum") if refuses and isinstance(limit, int) else None,
        message_ttl=waits if waits > 0 and isinstance(grave, str) else None,
        single_active=arguments.get("x-single-active-consumer") is True,
        native_priority="x-max-priority" in arguments,
    )
