"""What the errors of the broker, of aiormq and of the socket mean here: one table for opening, one for running."""

from __future__ import annotations

import socket
import ssl

import msgspec
from aiormq import exceptions as amqp

from brokerkit.errors import BrokerkitError, ConfigurationError, ConnectFailed, ConnectionLost, TransportError
from brokerkit.transports.rabbitmq.url import Host, Server

NOT_FOUND, ACCESS_REFUSED, PRECONDITION_FAILED, NOT_ALLOWED = 404, 403, 406, 530
"""Reply codes, see https://www.rabbitmq.com/amqp-0-9-1-reference#constants."""
_CERTIFICATE_ALERTS = ("CERTIFICATE_REQUIRED", "HANDSHAKE_FAILURE", "UNKNOWN_CA", "BAD_CERTIFICATE")
_TRANSIENT_REFUSALS = ("limit", "is down", "shutting down")
"""In the texts of refusals that pass: a limit on connections, a virtual host that still starts."""


class Closed(msgspec.Struct, frozen=True):
    """A ``connection.close`` or ``channel.close`` of the broker."""

    code: int
    text: str

    def __str__(self) -> str:
        return f"{self.text} ({self.code})"


class Refused(ConnectFailed):
    """Somebody answered and said no: trying again does not help until somebody changes something."""


def while_connecting(server: Server, host: Host, error: BaseException, closed: Closed | None) -> BrokerkitError:
    """The meaning of a failed attempt, in one line without the password.

    ``Refused`` and ``ConfigurationError`` are final, a plain ``ConnectFailed`` is not.

    Args:
        server: Whom we wanted.
        host: Which of its nodes.
        error: What was raised.
        closed: What the broker said meanwhile, if it did.
    """
    if isinstance(error, ConfigurationError):
        return error
    place = server.at(host)
    if closed is not None:
        return _refused(server, place, closed)
    if isinstance(error, ssl.SSLError):
        return Refused(f"{place}: {_tls(server, error)}")
    if isinstance(error, TimeoutError):
        return ConnectFailed(f"{place} does not answer; is the address right, and nothing in between?")
    if isinstance(error, amqp.AuthenticationError):
        return Refused(f"{place} does not accept a user with a password (PLAIN)")
    if isinstance(error, amqp.ProtocolSyntaxError | amqp.IncompatibleProtocolError):
        return Refused(f"{place} does not speak AMQP 0-9-1; is this RabbitMQ's port?{_port(server)}")
    if isinstance(error, amqp.AMQPConnectionError | ConnectionResetError | BrokenPipeError):
        text = f"{place} closed the connection while it was being opened; is this RabbitMQ's port?{_port(server)}"
        return ConnectFailed(text)
    return ConnectFailed(f"{place} cannot be reached: {_system(error)}")


def _port(server: Server) -> str:
    if not server.tls:
        return " A port for TLS (often 5671) needs amqps://."
    return "" if server.options.certfile else " Does it want a client certificate (certfile= and keyfile=)?"


def _refused(server: Server, place: str, closed: Closed) -> ConnectFailed:
    passing = any(word in closed.text for word in _TRANSIENT_REFUSALS)
    text = f"{place} refused us: {closed}"
    if closed.code == ACCESS_REFUSED:
        text = f"{place} refused the user {server.user!r} or the password: {closed}"
    elif closed.code == NOT_ALLOWED and "not found" in closed.text:
        text = f"{place} has no virtual host {server.vhost!r}; create it, or name another after the slash: {closed}"
    elif closed.code == NOT_ALLOWED and not passing:
        text = (
            f"{place}: the user {server.user!r} has no permission for the virtual host {server.vhost!r};"
            f" grant it (rabbitmqctl set_permissions): {closed}"
        )
    final = closed.code in {ACCESS_REFUSED, NOT_ALLOWED} and not passing
    return Refused(text) if final else ConnectFailed(text)


def _tls(server: Server, error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"the broker's certificate is not trusted ({error.verify_message});"
            " name the authority that signed it with cafile=, and the broker by the name in its certificate"
        )
    if error.reason == "WRONG_VERSION_NUMBER":
        return "does not speak TLS; use amqp://, or its port for TLS (often 5671)"
    if any(alert in (error.reason or "") for alert in _CERTIFICATE_ALERTS):
        wanted = "does not accept our certificate" if server.options.certfile else "asks for a client certificate"
        return f"the broker {wanted} ({error.reason}); name one with certfile= and keyfile="
    return f"TLS failed ({error.reason or error})"


def _system(error: BaseException) -> str:
    if isinstance(error, socket.gaierror):
        return f"the host's name is unknown ({error.strerror})"
    if isinstance(error, ConnectionRefusedError):
        return "nobody listens there"
    if isinstance(error, OSError) and error.strerror and error.errno:
        return error.strerror
    return str(error) or type(error).__name__


def while_running(error: BaseException) -> TransportError:
    """The error of an operation on a link or channel that was open."""
    if isinstance(error, TransportError):
        return error
    if isinstance(error, TimeoutError):
        return TransportError("the broker did not answer in time")
    if isinstance(error, amqp.AMQPConnectionError | OSError):
        return ConnectionLost(f"the connection was lost: {text_of(error)}")
    if isinstance(error, amqp.ChannelInvalidStateError):
        return ConnectionLost("the channel was closed")
    return TransportError(text_of(error))


def text_of(error: BaseException) -> str:
    """What the broker or the system said, in one line."""
    closed = closed_by(error)
    if closed is not None:
        return str(closed)
    return " ".join(str(argument) for argument in error.args if argument is not None) or type(error).__name__


_CHANNEL_CODES = {
    amqp.ChannelAccessRefused: ACCESS_REFUSED,
    amqp.ChannelNotFoundEntity: NOT_FOUND,
    amqp.ChannelLockedResource: 405,
    amqp.ChannelPreconditionFailed: PRECONDITION_FAILED,
}


def closed_by(error: BaseException | None) -> Closed | None:
    """The broker's ``channel.close`` behind aiormq's error, or None when it was something else."""
    if not isinstance(error, amqp.ChannelClosed) or not error.args or error.args[0] is None:
        return None
    code = _CHANNEL_CODES.get(type(error))
    if code is not None:
        return Closed(code, str(error.args[0]))
    return Closed(int(error.args[0]), str(error.args[1])) if len(error.args) > 1 else None
