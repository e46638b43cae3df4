"""Redis and Valkey as far as they are known without a server."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from brokerkit.errors import MissingCapability
from brokerkit.topology import Finding, Queue, Topology
from brokerkit.transport import Capabilities
from brokerkit.transports.redis.compile import compile_topology, far_dead_letters
from brokerkit.transports.redis.keys import Keys

OLDEST = (7, 0)


class RedisDialect(msgspec.Struct, frozen=True):
    """A ``Dialect``.

    Args:
        name: ``redis`` or ``valkey``.
        version: Its own. Default the oldest that is usable.
        cluster: It is one. Default False.
    """

    name: str = "redis"
    version: tuple[int, int] = OLDEST
    cluster: bool = False

    def __post_init__(self) -> None:
        if self.version < OLDEST:
            version = ".".join(map(str, self.version))
            raise MissingCapability(f"{self.name} {version} is too old; 7.0 is the oldest usable")

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            name=f"{self.name}{'+cluster' if self.cluster else ''} {self.version[0]}.{self.version[1]}",
            durable=True,
            atomic_records=not self.cluster,
            atomic_commit=not self.cluster,
            cancel="atomic",
            delayed=100 * 365 * 86400.0,
            history=True,
            redrive=True,
            signals=True,
            entries=True,
            lease=15.0,
        )

    @property
    def _keys(self) -> Keys:
        return Keys("bk", not self.cluster)

    def findings(self, topology: Topology) -> Iterable[Finding]:
        return far_dead_letters(topology) if self.cluster else ()

    def lane(self, queue: Queue, level: int) -> str:
        return compile_topology(Topology("lane", queues=[queue]), self._keys).targets[queue.name].stream(level)

    def delay(self, topology: Topology, targets: Sequence[str], seconds: float) -> Sequence[str]:
        plan = compile_topology(topology, self._keys)
        return [(plan.logs.get(target) or plan.targets[target]).delayed for target in targets]
