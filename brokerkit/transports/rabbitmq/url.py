"""What an ``amqp://`` or ``amqps://`` URL says."""

from __future__ import annotations

import ssl
from typing import Annotated
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlsplit

import msgspec

from brokerkit.errors import ConfigurationError
from brokerkit.tls import client_context

_PORTS = {"amqp": 5672, "amqps": 5671}
_SHAPE = "amqp://user:password@host:5672/vhost"

Seconds = Annotated[float, msgspec.Meta(gt=0, le=86400)]


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Query options of ``amqp://`` and ``amqps://``.

    Args:
        heartbeat: Whole seconds; a broker that is silent for twice that long is taken for gone. Default 15.
        connect_timeout: Seconds that the first connection may take, all hosts together. Default 10.
        confirm_window: Messages that may wait for their confirmation at one time, 256..1024. Default 512.
        consumer_timeout: Seconds after which the broker takes back what is not settled, as it is configured there.
            Default 1800, as RabbitMQ's own (https://www.rabbitmq.com/docs/consumers#acknowledgement-timeout).
        cafile: PEM file of the authorities that may have signed the broker's certificate, instead of the system's.
        certfile: PEM file of the certificate to show to the broker.
        keyfile: PEM file of its private key, when that is not in ``certfile``.
        management: URL of the broker's management API, with its own user and password. Default none.
    """

    heartbeat: Annotated[int, msgspec.Meta(ge=1, le=3600)] = 15
    connect_timeout: Seconds = 10.0
    confirm_window: Annotated[int, msgspec.Meta(ge=256, le=1024)] = 512
    consumer_timeout: Seconds = 1800.0
    cafile: str = ""
    certfile: str = ""
    keyfile: str = ""
    management: str = ""

    def __repr__(self) -> str:
        return "Options(...)"  # management may hold a password


class Host(msgspec.Struct, frozen=True):
    """Where a broker listens."""

    name: str
    port: int

    def __str__(self) -> str:
        return f"[{self.name}]:{self.port}" if ":" in self.name else f"{self.name}:{self.port}"


class Server(msgspec.Struct, frozen=True):
    """A broker and how to log in. Its texts are without the password.

    Args:
        hosts: Its nodes, tried in turn; never empty.
        user: Who logs in.
        password: With what; the default, RabbitMQ's own, works from the broker's own host only.
        vhost: The virtual host.
        tls: Encrypted, and the broker's certificate verified.
        options: The rest.
    """

    hosts: tuple[Host, ...]
    user: str = "guest"
    password: str = "guest"
    vhost: str = "/"
    tls: bool = False
    options: Options = Options()

    def __str__(self) -> str:
        return f"{self._user()}@{','.join(map(str, self.hosts))}{self._path()}"

    __repr__ = __str__

    def at(self, host: Host) -> str:
        """One of its nodes, for texts."""
        return f"{self._user()}@{host}{self._path()}"

    def tls_context(self) -> ssl.SSLContext | None:
        """What its connections are encrypted with, or None. Reads files, so call it in a thread. Raises
        ``ConfigurationError``."""
        options = self.options
        return client_context(options.cafile, options.certfile, options.keyfile) if self.tls else None

    def _user(self) -> str:
        return f"{'amqps' if self.tls else 'amqp'}://{quote(self.user, safe='')}:***"

    def _path(self) -> str:
        return "/" if self.vhost == "/" else f"/{quote(self.vhost, safe='')}"


def parse(url: str) -> Server:
    """Read ``amqp[s]://user:password@host:port,host:port/vhost?option=value``.

    Raises:
        ConfigurationError: In one line, without the password.
    """
    try:
        parts = urlsplit(url)
    except ValueError:  # its text may hold the password
        raise ConfigurationError(f"the broker's URL cannot be read; write {_SHAPE}") from None
    if parts.scheme not in _PORTS:
        raise ConfigurationError(f"RabbitMQ's URLs begin with amqp:// or amqps://, not {parts.scheme!r}")
    if "@" in parts.path + parts.fragment:  # which may be the rest of the password
        raise _unescaped(parts.scheme)
    userinfo, _, places = parts.netloc.rpartition("@")
    user, password = _login(parts.scheme, userinfo)
    return Server(
        hosts=tuple(_host(parts.scheme, place) for place in (places or "localhost").split(",")),
        user=user,
        password=password,
        vhost=_vhost(parts),
        tls=parts.scheme == "amqps",
        options=_options(parts),
    )


def _login(scheme: str, userinfo: str) -> tuple[str, str]:
    if not userinfo:
        return "guest", "guest"
    user, _, password = userinfo.partition(":")
    if not user or not password:
        raise ConfigurationError(f"{scheme}:// names a user or a password without the other; write {_SHAPE}")
    return unquote(user), unquote(password)


def _host(scheme: str, place: str) -> Host:
    name, port = place, ""
    if place.startswith("["):  # an IPv6 address
        name, closed, rest = place[1:].partition("]")
        port = rest.removeprefix(":")
        if not closed or (rest and not rest.startswith(":")):
            name = ""
    elif ":" in place:
        name, _, port = place.rpartition(":")
    if not name or (":" in name and not place.startswith("[")) or (port and not _is_port(port)):
        raise _unescaped(scheme)
    return Host(name, int(port) if port else _PORTS[scheme])


def _unescaped(scheme: str) -> ConfigurationError:
    """Shows nothing of the URL: what was taken for a host may be a part of the password."""
    return ConfigurationError(
        f"{scheme}:// names a host or port that cannot be read; write {_SHAPE},"
        " with %40 for @, %2F for /, %3F for ? and %23 for # inside a name or password"
    )


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and 0 < int(text) < 65536


def _vhost(parts: SplitResult) -> str:
    path = parts.path.removeprefix("/")
    if path in {"", "/"}:  # "//" is how many write the default virtual host
        return "/"
    if "/" in path:
        raise ConfigurationError(f"{parts.scheme}:// names one virtual host after the slash; write a / in it as %2F")
    if parts.fragment:
        raise ConfigurationError(f"{parts.scheme}:// has no use for a #; write it as %23")
    return unquote(path)


def _options(parts: SplitResult) -> Options:
    try:
        given = dict(parse_qsl(parts.query, strict_parsing=bool(parts.query)))
        options = msgspec.convert(given, Options, strict=False)
    except (msgspec.ValidationError, ValueError) as error:
        if "@" in parts.query and not parts.query.startswith("management="):
            raise _unescaped(parts.scheme) from None
        raise ConfigurationError(f"{parts.scheme}:// options: {error}") from None
    if parts.scheme == "amqp" and (options.cafile or options.certfile or options.keyfile):
        raise ConfigurationError("amqp:// is not encrypted: cafile, certfile and keyfile belong to amqps://")
    if options.keyfile and not options.certfile:
        raise ConfigurationError("amqps:// has a keyfile without its certfile")
    return options
