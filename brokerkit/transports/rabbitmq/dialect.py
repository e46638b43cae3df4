"""RabbitMQ as far as it is known without a connection."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from brokerkit.topology import Finding, ObjectPath, Queue, Topology
from brokerkit.transport import Capabilities
from brokerkit.transports.rabbitmq import compile as compiling
from brokerkit.transports.rabbitmq import ladder
from brokerkit.transports.rabbitmq.encoding import MAX_HEADER
from brokerkit.transports.rabbitmq.versions import Version, check_supported, name_of

TRANSIENT = "BK313"
SETTLE_WITHIN = 1800.0
"""Seconds: https://www.rabbitmq.com/docs/consumers#acknowledgement-timeout"""
NEWEST: Version = (4, 3)


class RabbitmqDialect(msgspec.Struct, frozen=True):
    """A ``Dialect``.

    Args:
        version: The broker's.
        settle_within: Seconds after which it takes a delivery back. Default half an hour, as the broker's own.
    """

    version: Version = NEWEST
    settle_within: float = SETTLE_WITHIN

    def __post_init__(self) -> None:
        check_supported(self.version)

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            name=f"rabbitmq {name_of(self.version)}",
            durable=True,
            cancel="tombstone",
            delayed=ladder.LONGEST,
            redrive=True,
            signals=True,
            largest_headers=MAX_HEADER,
            limits_exact=False,
            losses_counted=False,
            hold_for_groups=False,
            release_counted=True,
            settle_within=self.settle_within,
        )

    def findings(self, topology: Topology) -> Iterable[Finding]:
        yield from compiling.findings(topology, self.version)
        for exchange in topology.exchanges:
            if not exchange.durable:
                text = "it is gone after a restart of the broker, and what was bound to it is not; set durable=True"
                yield Finding(TRANSIENT, ObjectPath.of("exchanges", exchange.name, "durable"), text)

    def lane(self, queue: Queue, level: int) -> str:
        native = queue.rabbitmq is not None and queue.rabbitmq.native_priority
        return queue.name if native else compiling.lane_names(queue.name, queue.lanes)[level]

    def delay(self, topology: Topology, targets: Sequence[str], seconds: float) -> Sequence[str]:
        return [*_rungs(seconds), ladder.OUT]


def _rungs(seconds: float) -> Iterator[str]:
    """The queues of the ladder in which a message waits, longest first: those of the digits that are 1."""
    parked = ladder.rungs(seconds)
    return (ladder.step(level) for level in range(parked.level, -1, -1) if parked.headers[f"bk-d{level}"])
