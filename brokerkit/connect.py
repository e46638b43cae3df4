"""From a URL to an adapter. Client libraries load here, when their scheme is used."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Generic, TypeVar
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

import msgspec

from brokerkit.clock import Clock
from brokerkit.errors import ConfigurationError
from brokerkit.store import OpenStore, Retention
from brokerkit.topology.suggestion import similar
from brokerkit.transport import Transport

OptionsT = TypeVar("OptionsT")
A = TypeVar("A")


def redacted(url: str) -> str:
    """The URL without its password, for texts; nor those of URLs in its query."""
    try:
        parts = urlsplit(url)
        query = "&".join(map(_redacted_option, parts.query.split("&")))
    except ValueError:
        return "<unreadable URL>"
    if "@" not in parts.netloc:
        return parts._replace(query=query).geturl() if query != parts.query else url
    user = parts.netloc.rpartition("@")[0].partition(":")[0]
    return parts._replace(netloc=f"{user}:***@{parts.netloc.rpartition('@')[2]}", query=query).geturl()


def _redacted_option(option: str) -> str:
    name, equals, value = option.partition("=")
    plain = unquote(value)
    return f"{name}{equals}{redacted(plain)}" if "://" in plain else option


class MemoryOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Query options of ``memory://``: none."""


class SqliteOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Query options of ``sqlite:///path``.

    Args:
        lease: Seconds after which what a dead or stopped process held is delivered again; default 15.
    """

    lease: float = 15.0


def _memory(parts: SplitResult, clock: Clock, retention: Retention) -> Transport:
    from brokerkit.transports.memory import MemoryBroker, MemoryTransport

    _options(parts, MemoryOptions)
    if parts.netloc or parts.path.strip("/"):
        raise ConfigurationError(
            "memory:// takes no name: each app has its own broker; to share one, App(MemoryTransport(broker))"
        )
    return MemoryTransport(MemoryBroker(clock, retention))


def _sqlite_path(parts: SplitResult) -> str:
    path = parts.path.removeprefix("/")
    if parts.netloc or not path:
        raise ConfigurationError(
            "sqlite needs a file: sqlite:///shop.db beside the program, sqlite:////var/lib/shop.db for an absolute path"
        )
    return path


def _sqlite(parts: SplitResult, clock: Clock, retention: Retention) -> Transport:
    from brokerkit.transports.sqlite import SqliteTransport

    return SqliteTransport(
        _sqlite_path(parts), lease=_options(parts, SqliteOptions).lease, clock=clock, retention=retention
    )


def _sqlite_store(parts: SplitResult, clock: Clock, retention: Retention) -> OpenStore:
    from brokerkit.stores.sqlite import SqliteStore

    _options(parts, MemoryOptions)
    return SqliteStore(_sqlite_path(parts), clock=clock, retention=retention)


def _memory_store(parts: SplitResult, clock: Clock, retention: Retention) -> OpenStore:
    from brokerkit.stores.memory import MemoryStore

    _options(parts, MemoryOptions)
    return MemoryStore(clock, retention)


def _sql_store(parts: SplitResult, clock: Clock, retention: Retention) -> OpenStore:
    from brokerkit.stores.sql import SqlStore

    return SqlStore(parts.geturl(), clock=clock, retention=retention)


def _rabbitmq(parts: SplitResult, clock: Clock, retention: Retention) -> Transport:
    from brokerkit.transports.rabbitmq.transport import RabbitmqTransport

    return RabbitmqTransport(parts.geturl(), clock=clock)


def _redis(parts: SplitResult, clock: Clock, retention: Retention) -> Transport:
    from brokerkit.transports.redis import RedisTransport

    return RedisTransport(parts.geturl(), clock=clock, retention=retention)


def _redis_store(parts: SplitResult, clock: Clock, retention: Retention) -> OpenStore:
    from brokerkit.stores.redis import RedisStore

    return RedisStore(parts.geturl(), retention=retention)


class Adapter(msgspec.Struct, Generic[A], frozen=True):
    """What serves a URL scheme.

    Args:
        make: Makes it, importing its client library.
        extra: The extra of the package that installs that library; "" when it needs none.
    """

    make: Callable[[SplitResult, Clock, Retention], A]
    extra: str = ""


TRANSPORTS: Mapping[str, Adapter[Transport]] = {
    "memory": Adapter(_memory),
    "sqlite": Adapter(_sqlite),
    "amqp": Adapter(_rabbitmq, "rabbitmq"),
    "amqps": Adapter(_rabbitmq, "rabbitmq"),
    "redis": Adapter(_redis, "redis"),
    "rediss": Adapter(_redis, "redis"),
    "unix": Adapter(_redis, "redis"),
    "redis+cluster": Adapter(_redis, "redis"),
    "redis+sentinel": Adapter(_redis, "redis"),
}
STORES: Mapping[str, Adapter[OpenStore]] = {
    "memory": Adapter(_memory_store),
    "sqlite": Adapter(_sqlite_store),
    "postgresql": Adapter(_sql_store, "sql"),
    "mysql": Adapter(_sql_store, "sql"),
    "mariadb": Adapter(_sql_store, "sql"),
    "redis": Adapter(_redis_store, "redis"),
    "rediss": Adapter(_redis_store, "redis"),
    "unix": Adapter(_redis_store, "redis"),
    "redis+cluster": Adapter(_redis_store, "redis"),
    "redis+sentinel": Adapter(_redis_store, "redis"),
}


def transport_for(url: str, clock: Clock, retention: Retention) -> Transport:
    """The transport of a broker's URL, not connected yet.

    Args:
        url: The broker's.
        clock: Supplies the time.
        retention: How long records are kept, where the broker keeps any.

    Raises:
        ConfigurationError: The URL is wrong, its scheme is unknown, or its extra is not installed.
    """
    return _make(url, (clock, retention), TRANSPORTS, "broker")


def store_for(url: str, clock: Clock, retention: Retention) -> OpenStore:
    """The store of a URL, not connected yet. Raises as ``transport_for``."""
    return _make(url, (clock, retention), STORES, "store")


def _make(url: str, given: tuple[Clock, Retention], adapters: Mapping[str, Adapter[A]], what: str) -> A:
    try:
        parts = urlsplit(url)
    except ValueError:  # its text may hold the password
        raise ConfigurationError(f"the {what}'s URL cannot be read; check what stands before the path") from None
    adapter = adapters.get(parts.scheme)
    if adapter is None:
        known = ", ".join(f"{scheme}://" for scheme in adapters)
        hint = similar(parts.scheme, adapters) if parts.scheme else "; a file of SQLite is sqlite:///shop.db"
        raise ConfigurationError(f"no {what} is known for {redacted(url)!r}{hint}; this version knows {known}")
    try:
        return adapter.make(parts, *given)
    except ModuleNotFoundError as error:
        if not adapter.extra:
            raise
        raise ConfigurationError(
            f"{parts.scheme}:// needs the package {error.name!r}: pip install 'brokerkit[{adapter.extra}]'"
        ) from error


def _options(parts: SplitResult, kind: type[OptionsT]) -> OptionsT:
    try:
        given = dict(parse_qsl(parts.query, strict_parsing=bool(parts.query)))
        return msgspec.convert(given, kind, strict=False)
    except (msgspec.ValidationError, ValueError) as error:
        raise ConfigurationError(f"{parts.scheme}:// options {parts.query!r}: {error}") from error
