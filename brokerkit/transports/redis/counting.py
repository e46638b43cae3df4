"""How much is where."""

from __future__ import annotations

from brokerkit.transport import LaneStats, QueueStats
from brokerkit.transports.redis import deadletters, scripts
from brokerkit.transports.redis.broker import RedisBroker
from brokerkit.transports.redis.link import Argument


async def stats(broker: RedisBroker, key: str, now: float) -> QueueStats:
    """Count one queue or group."""
    target = await broker.target(key)
    keys: list[Argument] = [target.leases, target.delayed, target.payloads]
    args: list[Argument] = [target.lanes]
    for level in range(target.lanes):
        reads = target.reads(level)
        args.append(len(reads))
        for read in reads:
            keys.append(read.stream)
            args += (read.group, int(read.own))
    if target.log:
        keys.append(broker.routes.plan.logs[target.log].meta)
        args += ("1", f"lost:{target.group}")
    else:
        args.append("0")
    numbers, delayed = await broker.asking.run(scripts.STATS, keys, args)
    *rest, consumers, lost = numbers
    lanes = tuple(
        LaneStats(*(None if number < 0 else number for number in rest[at : at + 3])) for at in range(0, len(rest), 3)
    )
    ready = None if any(lane.ready is None for lane in lanes) else sum(lane.ready or 0 for lane in lanes)
    return QueueStats(
        key,
        ready,
        sum(lane.in_flight or 0 for lane in lanes),
        delayed,
        await deadletters.count(broker, target, now),
        consumers,
        lanes,
        lost if target.log else None,
    )
