"""The address of one server, and who we are there."""

from __future__ import annotations

import ssl

import msgspec


class Login(msgspec.Struct, frozen=True, kw_only=True):
    """Who we are at a server, and how we talk to it.

    Args:
        user: User, or "".
        password: Password, or "".
        db: The database.
        tls: How to check the server's certificate, None without TLS.
        connect_timeout: Seconds.
        command_timeout: Seconds.
    """

    user: str = ""
    password: str = ""
    db: int = 0
    tls: ssl.SSLContext | None = None
    connect_timeout: float = 5.0
    command_timeout: float = 15.0

    def __repr__(self) -> str:  # no password in any text
        return f"Login({self.user!r})"


class Address(msgspec.Struct, frozen=True, kw_only=True):
    """A server and who we are there.

    Args:
        login: Who we are there.
        host: Its name; "" with a path.
        port: Its port.
        path: A Unix socket, or "".
    """

    login: Login
    host: str = ""
    port: int = 0
    path: str = ""

    def __str__(self) -> str:
        return f"unix:{self.path}" if self.path else f"{self.host}:{self.port}"

    def __repr__(self) -> str:
        return str(self)

    def at(self, host: str, port: int) -> Address:
        """Another server, where we are the same."""
        return Address(login=self.login, host=host, port=port)
