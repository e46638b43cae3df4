"""How many messages wait, as far as AMQP tells."""

from __future__ import annotations

from typing import TYPE_CHECKING

from brokerkit.errors import TopologyError
from brokerkit.transport import LaneStats, QueueStats
from brokerkit.transports.rabbitmq.errors import NOT_FOUND, closed_by, while_running
from brokerkit.transports.rabbitmq.plan import SourcePlan

if TYPE_CHECKING:
    from brokerkit.transports.rabbitmq.broker import RabbitmqBroker


async def stats(broker: RabbitmqBroker, source: SourcePlan) -> QueueStats:
    """As ``Transport.stats``. AMQP tells what is ready and how many consumers there are, nothing else."""
    lanes: list[LaneStats] = []
    consumers: set[int] = set()
    for queue in source.lanes:
        found = await _count(broker, queue)
        if found is None:
            raise TopologyError([f"queues: {source.key!r} is not on the broker any more; apply its topology again"])
        ready, consuming = found
        # What was pushed to us and nobody has taken waits, too.
        lanes.append(LaneStats(ready + broker.waiting_here(queue)))
        consumers.add(consuming)
    return QueueStats(
        queue=source.key,
        ready=sum(lane.ready or 0 for lane in lanes),
        in_flight=None,
        delayed=None,
        dead=await _dead(broker, source),
        # A process has one consumer for each lane it reads.
        consumers=consumers.pop() if len(consumers) == 1 else None,
        lanes=tuple(lanes),
    )


async def _dead(broker: RabbitmqBroker, source: SourcePlan) -> int | None:
    if source.dead_letter is None:
        return 0
    total = 0
    for queue in await broker.queues(source.dead_letter):
        found = await _count(broker, queue)
        if found is None:
            return None
        total += found[0]
    return total


async def _count(broker: RabbitmqBroker, queue: str) -> tuple[int, int] | None:
    """What is ready in a queue, and its consumers; None when it is not there."""
    channel = await broker.channel()
    try:
        found = await channel.rpc.queue_declare(queue, passive=True)
    except Exception as error:
        closed = closed_by(error)
        if closed is not None and closed.code == NOT_FOUND:
            return None
        raise while_running(error) from error
    finally:
        await channel.close()
    return found.message_count or 0, found.consumer_count or 0
