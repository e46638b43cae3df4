"""From a broker's name and version to what is known of it without a connection."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from brokerkit.dialect import Dialect
from brokerkit.errors import ConfigurationError, MissingCapability
from brokerkit.topology import Finding, Queue, Topology
from brokerkit.topology.suggestion import similar
from brokerkit.transport import Capabilities

Version = tuple[int, int]

_WRITTEN = re.compile(r"(?P<name>[a-z]+(?:\+[a-z]+)?)(?:[: ]v?(?P<major>\d{1,4})(?:\.(?P<minor>\d{1,4}))?[.\w-]*)?")


def _rabbitmq(version: Version | None) -> Dialect:
    from brokerkit.transports.rabbitmq.dialect import RabbitmqDialect

    return RabbitmqDialect() if version is None else RabbitmqDialect(version)


def _redis(version: Version | None) -> Dialect:
    from brokerkit.transports.redis.dialect import RedisDialect

    return RedisDialect() if version is None else RedisDialect("redis", version)


def _redis_cluster(version: Version | None) -> Dialect:
    from brokerkit.transports.redis.dialect import RedisDialect

    return RedisDialect(cluster=True) if version is None else RedisDialect("redis", version, cluster=True)


def _valkey_cluster(version: Version | None) -> Dialect:
    from brokerkit.transports.redis.dialect import RedisDialect

    return RedisDialect("valkey", version or (8, 0), cluster=True)


def _valkey(version: Version | None) -> Dialect:
    from brokerkit.transports.redis.dialect import RedisDialect

    return RedisDialect("valkey", version or (8, 0))


def _sqlite(version: Version | None) -> Dialect:
    from brokerkit.transports.sqlite.dialect import SqliteDialect

    return SqliteDialect()


def _memory(version: Version | None) -> Dialect:
    from brokerkit.transports.memory.dialect import MemoryDialect

    return MemoryDialect()


DIALECTS: Mapping[str, Callable[[Version | None], Dialect]] = {
    "rabbitmq": _rabbitmq,
    "redis": _redis,
    "redis+cluster": _redis_cluster,
    "valkey": _valkey,
    "valkey+cluster": _valkey_cluster,
    "sqlite": _sqlite,
    "memory": _memory,
}
_SCHEMES: Mapping[str, str] = {
    "amqp": "rabbitmq",
    "amqps": "rabbitmq",
    "redis": "redis",
    "rediss": "redis",
    "unix": "redis",
    "redis+cluster": "redis+cluster",
    "redis+sentinel": "redis",
    "sqlite": "sqlite",
    "memory": "memory",
}


def dialect_for(text: str) -> Dialect:
    """What is known of a broker.

    Args:
        text: ``rabbitmq:4.3``, ``redis:7``, ``redis+cluster:7``, ``valkey:9``, ``sqlite``, ``memory``, or the ``name``
            of a transport's capabilities (``rabbitmq 4.3.6``). Without a version: RabbitMQ 4.3, Redis 7.0, Valkey 8.0.

    Raises:
        ConfigurationError: There is no such broker, or the version is too old.
    """
    said = _WRITTEN.fullmatch(text.strip().lower())
    make = DIALECTS.get(said["name"]) if said is not None else None
    if said is None or make is None:
        hint = similar(text, DIALECTS)
        raise ConfigurationError(
            f"no broker {text!r} is known{hint}; name one as rabbitmq:4.3, redis:7, valkey:9, sqlite or memory"
        )
    try:
        return make((int(said["major"]), int(said["minor"] or 0)) if said["major"] else None)
    except MissingCapability as error:
        raise ConfigurationError(str(error)) from error


def dialect_of_scheme(scheme: str) -> Dialect | None:
    """What is known of the newest broker behind a URL's scheme, None for an unknown one."""
    name = _SCHEMES.get(scheme)
    return DIALECTS[name](None) if name is not None else None


class Connected(msgspec.Struct, frozen=True):
    """A ``Dialect`` that knows what a broker said when it was connected.

    Args:
        capabilities: What it said.
        dialect: That of its version.
    """

    capabilities: Capabilities
    dialect: Dialect

    def findings(self, topology: Topology) -> Iterable[Finding]:
        return self.dialect.findings(topology)

    def lane(self, queue: Queue, level: int) -> str:
        return self.dialect.lane(queue, level)

    def delay(self, topology: Topology, targets: Sequence[str], seconds: float) -> Sequence[str]:
        return self.dialect.delay(topology, targets, seconds)


def connected(capabilities: Capabilities) -> Dialect:
    """The dialect of a broker that is connected.

    Raises:
        ConfigurationError: It is of no kind that is known here.
    """
    return Connected(capabilities, dialect_for(capabilities.name))
