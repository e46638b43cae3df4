"""Where the servers are: what a URL says."""

from __future__ import annotations

import enum
import re
from typing import Any, NamedTuple
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

import msgspec

from brokerkit.errors import ConfigurationError
from brokerkit.tls import client_context
from brokerkit.transports.redis.address import Address, Login

DEFAULT_PORT, SENTINEL_PORT = 6379, 26379
_PREFIX = re.compile(r"[^{}*?\[\]\\\s]*(\{[^{}*?\[\]\\\s]+\})?[^{}*?\[\]\\\s]*")


class Kind(enum.Enum):
    """What the addresses of a URL are."""

    SERVER = "redis"
    CLUSTER = "redis+cluster"
    SENTINEL = "redis+sentinel"


class RedisUrlOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Query options of ``redis://host:6379/0``, ``rediss://``, ``unix:///path``, ``redis+cluster://host:7001,host:7002``
    and ``redis+sentinel://host:26379,host:26380/name-of-the-primary/0``.

    Args:
        lease: Seconds after which what a dead or stopped process held is delivered again. Default 15.
        prefix: What every key begins with; apps with another prefix do not see each other. In a cluster ``{shop}``,
            with the braces, keeps all keys on one server, where records and messages are written in one step. Default
            ``bk``.
        db: The database's number, for ``unix://``. Default 0.
        connect_timeout: Seconds to connect. Default 5.
        command_timeout: Seconds a command may take before its connection counts as broken. Default 15.
        tls: Encrypt: for clusters and sentinels; ``rediss://`` always does. Default False.
        cafile: File with the certificates that a server's is checked against. Default the system's.
        certfile: File with the certificate to show. Default none.
        keyfile: File with its key. Default: it is in ``certfile``.
        sentinel_user: User at the sentinels. Default none.
        sentinel_password: Password at the sentinels. Default none.
        index: Keep lists of records by name and time, so that finding some does not look at all. Every app that writes
            records says the same. Default False.
        durability: ``server`` (what the server's settings give) or ``replicas:<n>`` or ``fsync:<n>``: a publish is
            confirmed once so many replicas have it (WAIT), or have it on disk beside the server itself (WAITAOF: on
            Redis 8; on Redis 7.2 and Valkey where ``appendfsync`` is ``always``). Default ``server``.
    """

    lease: float = 15.0
    prefix: str = "bk"
    db: int = 0
    connect_timeout: float = 5.0
    command_timeout: float = 15.0
    tls: bool = False
    cafile: str = ""
    certfile: str = ""
    keyfile: str = ""
    sentinel_user: str = ""
    sentinel_password: str = ""
    index: bool = False
    durability: str = "server"


class Durability(NamedTuple):
    """What a publish waits for.

    Args:
        replicas: So many replicas that have it.
        fsync: So many replicas that have it on disk, and the server, too; -1 for neither.
    """

    replicas: int = 0
    fsync: int = -1

    @property
    def waits(self) -> bool:
        """Whether the server's word alone is not enough."""
        return self != Durability()

    def command(self, seconds: float) -> tuple[str | int, ...]:
        """What a server is asked after a publish."""
        milliseconds = max(1, int(seconds * 1000))
        return ("WAITAOF", 1, self.fsync, milliseconds) if self.fsync >= 0 else ("WAIT", self.replicas, milliseconds)

    def reached(self, answer: Any) -> bool:
        """Whether that is what it answers."""
        if self.fsync >= 0:
            return bool(answer[0] >= 1 and answer[1] >= self.fsync)
        return bool(answer >= self.replicas)


class Location(NamedTuple):
    """Where the data is.

    Args:
        kind: What the addresses are.
        addresses: The server; some servers of the cluster; or the sentinels.
        service: What the sentinels call the primary, or "".
        login: How to log in where the data is.
        together: All keys may be used in one script, see ``keys``.
    """

    kind: Kind
    addresses: tuple[Address, ...]
    service: str
    login: Login
    together: bool = True

    def within(self, seconds: float) -> Location:
        """The same, where a command may take so long at most."""
        if self.login.command_timeout <= seconds:
            return self
        addresses = tuple(
            msgspec.structs.replace(each, login=msgspec.structs.replace(each.login, command_timeout=seconds))
            for each in self.addresses
        )
        return self._replace(addresses=addresses, login=msgspec.structs.replace(self.login, command_timeout=seconds))

    def __str__(self) -> str:
        addresses = ",".join(map(str, self.addresses))
        return f"{self.service} (by the sentinels {addresses})" if self.kind is Kind.SENTINEL else addresses


def read_url(url: str) -> tuple[Location, RedisUrlOptions, Durability]:
    """What a URL says.

    Raises:
        ConfigurationError: It says something wrong; never with a password in its text.
    """
    parts = urlsplit(url)
    options = _options(parts)
    durability = _durability(options.durability)
    if parts.scheme == "unix":
        login = _login(parts, options, options.db)
        return Location(Kind.SERVER, (Address(path=unquote(parts.path), login=login),), "", login), options, durability
    kind = Kind.SERVER if parts.scheme in ("redis", "rediss") else Kind(parts.scheme)
    service, _, database = parts.path.strip("/").rpartition("/") if kind is not Kind.SERVER else ("", "", parts.path)
    if kind is Kind.SENTINEL and not service:
        service, database = database, ""
    login = _login(parts, options, _database(parts.scheme, database.strip("/")))
    _check(kind, service, login)
    at_sentinels = msgspec.structs.replace(login, user=options.sentinel_user, password=options.sentinel_password, db=0)
    hosts = _hosts(parts, SENTINEL_PORT if kind is Kind.SENTINEL else DEFAULT_PORT)
    logs_in = at_sentinels if kind is Kind.SENTINEL else login
    addresses = tuple(Address(host=host, port=port, login=logs_in) for host, port in hosts)
    if kind is Kind.SERVER and len(addresses) > 1:
        raise ConfigurationError(
            f"{parts.scheme}:// takes one address; several are redis+cluster://… or redis+sentinel://…/name"
        )
    together = kind is not Kind.CLUSTER or "{" in options.prefix
    return Location(kind, addresses, service, login, together), options, durability


def _check(kind: Kind, service: str, login: Login) -> None:
    if kind is Kind.SENTINEL and not service:
        raise ConfigurationError(f"{kind.value}://…/<name>: name the primary as its sentinels do, such as /mymaster")
    if kind is Kind.CLUSTER and (service or login.db):
        raise ConfigurationError(f"{kind.value}:// has one database, 0: leave the path out")


def _options(parts: SplitResult) -> RedisUrlOptions:
    try:
        given = dict(parse_qsl(parts.query, strict_parsing=bool(parts.query)))
        options = msgspec.convert(given, RedisUrlOptions, strict=False)
    except (msgspec.ValidationError, ValueError) as error:
        raise ConfigurationError(f"{parts.scheme}:// options: {error}") from None
    if options.lease <= 0 or options.connect_timeout <= 0 or options.command_timeout <= 0:
        raise ConfigurationError(
            f"{parts.scheme}:// options lease, connect_timeout and command_timeout are more than 0"
        )
    if not options.prefix or _PREFIX.fullmatch(options.prefix) is None:
        raise ConfigurationError(
            f"{parts.scheme}:// prefix={options.prefix!r}: give text without blanks and wildcards, and with at most "
            "one pair of braces"
        )
    return options


def _login(parts: SplitResult, options: RedisUrlOptions, database: int) -> Login:
    encrypted = parts.scheme == "rediss" or options.tls
    return Login(
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        db=database,
        tls=client_context(options.cafile, options.certfile, options.keyfile) if encrypted else None,
        connect_timeout=options.connect_timeout,
        command_timeout=options.command_timeout,
    )


def _hosts(parts: SplitResult, default: int) -> list[tuple[str, int]]:
    found: list[tuple[str, int]] = []
    for text in parts.netloc.rpartition("@")[2].split(","):
        one = urlsplit(f"//{text}")
        try:
            found.append((one.hostname or "127.0.0.1", one.port or default))
        except ValueError as error:
            raise ConfigurationError(f"{parts.scheme}://…{text}: {error}") from None
    return found


def _database(scheme: str, text: str) -> int:
    if text and not text.isdecimal():
        raise ConfigurationError(f"{scheme}://…/{text}: the path ends with the number of a database, as /0")
    return int(text or 0)


def _durability(text: str) -> Durability:
    kind, _, number = text.partition(":")
    if text == "server":
        return Durability()
    if kind in ("replicas", "fsync") and number.isdecimal():
        return Durability(int(number)) if kind == "replicas" else Durability(fsync=int(number))
    raise ConfigurationError(f"redis durability={text!r}: use server, replicas:<n> or fsync:<n>")
