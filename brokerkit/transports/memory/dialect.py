"""The memory broker as far as it is known without one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from brokerkit.topology import Finding, Queue, Topology
from brokerkit.transport import Capabilities

CAPABILITIES = Capabilities(
    name="memory",
    durable=False,
    atomic_records=True,
    atomic_commit=True,
    cancel="atomic",
    delayed=100 * 365 * 86400.0,
    history=True,
    redrive=True,
    signals=True,
)


class MemoryDialect(msgspec.Struct, frozen=True):
    """A ``Dialect``."""

    @property
    def capabilities(self) -> Capabilities:
        return CAPABILITIES

    def findings(self, topology: Topology) -> Iterable[Finding]:
        return ()

    def lane(self, queue: Queue, level: int) -> str:
        return f"{queue.name}, lane {level}" if queue.lanes > 1 else queue.name

    def delay(self, topology: Topology, targets: Sequence[str], seconds: float) -> Sequence[str]:
        return [f"{target}, until it is due" for target in targets]
