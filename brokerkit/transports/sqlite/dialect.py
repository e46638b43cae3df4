"""SQLite as far as it is known without a file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from brokerkit.topology import Finding, Queue, Topology
from brokerkit.transport import Capabilities

CAPABILITIES = Capabilities(
    name="sqlite",
    durable=True,
    atomic_records=True,
    atomic_commit=True,
    cancel="atomic",
    delayed=100 * 365 * 86400.0,
    history=True,
    redrive=True,
    signals=True,
    lease=15.0,
)


class SqliteDialect(msgspec.Struct, frozen=True):
    """A ``Dialect``."""

    @property
    def capabilities(self) -> Capabilities:
        return CAPABILITIES

    def findings(self, topology: Topology) -> Iterable[Finding]:
        return ()

    def lane(self, queue: Queue, level: int) -> str:
        return f"rows of {queue.name} with lane = {level}"

    def delay(self, topology: Topology, targets: Sequence[str], seconds: float) -> Sequence[str]:
        return [f"rows of {target} that are not due" for target in targets]
