"""What a store's URL says: where the database is, and how it is used."""

from __future__ import annotations

import re
from typing import Literal
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

import msgspec

from brokerkit.errors import ConfigurationError

Tls = Literal["off", "prefer", "require", "verify"]

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_LONGEST_SCHEMA = 63  # https://www.postgresql.org/docs/current/limits.html
_LONGEST_PREFIX = 40  # leaves room for the names of tables and indexes in those 63 characters
_PORTS = {"postgresql": 5432, "mysql": 3306, "mariadb": 3306}


class SqlOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Query options of ``postgresql://``, ``mysql://`` and ``mariadb://``.

    Args:
        schema: PostgreSQL's schema for the tables, created when it is missing; default the user's own first one.
        prefix: What the tables' names begin with; default ``brokerkit_``.
        pool_size: Connections at most, 1 to 100; default 5. A worker writes up to four batches at a time.
        connect_timeout: Seconds that connecting may take; default 5.
        timeout: Seconds that any call may take, waiting for a free connection and trying again included; default 10.
        tls: ``off``, ``prefer`` (encrypted where the server can; PostgreSQL only), ``require`` (encrypted, the server
            is not verified) or ``verify`` (its certificate and name are). Default ``prefer`` for PostgreSQL,
            else ``off``.
        cafile: A PEM file with the authorities that ``tls=verify`` trusts; default the system's.
    """

    schema: str | None = None
    prefix: str = "brokerkit_"
    pool_size: int = 5
    connect_timeout: float = 5.0
    timeout: float = 10.0
    tls: Tls | None = None
    cafile: str | None = None


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """A database and how to use it. Its text never shows the password.

    Args:
        scheme: ``postgresql``, ``mysql`` or ``mariadb``.
        host: Where it listens.
        port: Its port.
        user: Who connects.
        password: With what, or None.
        database: The database's name.
        options: The URL's options.
    """

    scheme: str
    host: str
    port: int
    user: str
    password: str | None
    database: str
    options: SqlOptions

    def __str__(self) -> str:
        """What error messages call it."""
        return f"{self.scheme}://{self.user}@{self.host}:{self.port}/{self.database}"

    __repr__ = __str__


def target_of(url: str) -> Target:
    """What a URL says.

    Raises:
        ConfigurationError: It says something wrong. The message shows no value that may be a password.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ConfigurationError(
            "the store's URL cannot be read: check its port, and write @ : / in a password as %40 %3A %2F"
        ) from None
    scheme, database = parts.scheme, unquote(parts.path.removeprefix("/"))
    if scheme not in _PORTS:
        raise ConfigurationError("a store's URL begins with postgresql://, mysql:// or mariadb://")
    if not parts.username or not database or "/" in database:
        raise ConfigurationError(f"{scheme}:// needs a user and a database: {scheme}://user:password@host/database")
    return Target(
        scheme=scheme,
        host=parts.hostname or "localhost",
        port=port or _PORTS[scheme],
        user=unquote(parts.username),
        password=None if parts.password is None else unquote(parts.password),
        database=database,
        options=_options(parts),
    )


def _options(parts: SplitResult) -> SqlOptions:
    scheme, known = parts.scheme, SqlOptions.__struct_fields__
    given = dict(parse_qsl(parts.query, keep_blank_values=True))
    unknown = [name for name in given if name not in known]
    if unknown:  # only the names: people put passwords there
        raise ConfigurationError(f"{scheme}:// does not know {', '.join(unknown)}; its options are {', '.join(known)}")
    try:
        options = msgspec.convert(given, SqlOptions, strict=False)
    except msgspec.ValidationError as error:
        raise ConfigurationError(f"{scheme}:// options: {error}") from None
    _check(scheme, options)
    return options


def _check(scheme: str, options: SqlOptions) -> None:
    if options.schema is not None and scheme != "postgresql":
        raise ConfigurationError(f"{scheme}:// takes no schema: name another database, or use prefix=")
    if options.tls == "prefer" and scheme != "postgresql":
        raise ConfigurationError(f"{scheme}:// cannot prefer TLS: tls=off, tls=require or tls=verify")
    if options.cafile is not None and options.tls != "verify":
        raise ConfigurationError(f"{scheme}:// cafile= is only read with tls=verify")
    for field, longest in (("schema", _LONGEST_SCHEMA), ("prefix", _LONGEST_PREFIX)):
        value = getattr(options, field)
        if value is not None and (not _IDENTIFIER.match(value) or len(value) > longest):
            raise ConfigurationError(
                f"{scheme}:// {field}={value!r}: letters, digits and _, not a digit first, at most {longest} characters"
            )
    if not 1 <= options.pool_size <= 100:
        raise ConfigurationError(f"{scheme}:// pool_size={options.pool_size}: 1 to 100 connections")
    for field in ("connect_timeout", "timeout"):
        if not 0 < getattr(options, field) <= 3600:
            raise ConfigurationError(f"{scheme}:// {field}={getattr(options, field)}: seconds, more than 0, up to 3600")
