"""The client's side of TLS: a server's certificate is always verified."""

from __future__ import annotations

import ssl

from brokerkit.errors import ConfigurationError


def client_context(cafile: str = "", certfile: str = "", keyfile: str = "") -> ssl.SSLContext:
    """What connections to brokers are encrypted with. Reads files.

    Args:
        cafile: Certificates that a server's is checked against; "" for the system's.
        certfile: The certificate to show, or "".
        keyfile: Its key; "" when ``certfile`` has it.

    Raises:
        ConfigurationError: Names the option and the file that is no good.
    """
    try:
        context = ssl.create_default_context(cafile=cafile or None)
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(f"cafile={cafile} {_problem(error)}") from error
    if certfile:
        _load_certificate(context, certfile, keyfile)
    return context


def _load_certificate(context: ssl.SSLContext, certfile: str, keyfile: str) -> None:
    shown = f"certfile={certfile}" + (f" with keyfile={keyfile}" if keyfile else "")
    try:
        context.load_cert_chain(certfile, keyfile or None, password=_no_passphrase)
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(f"{shown} {_problem(error)}") from error


def _no_passphrase() -> str:
    """Without this, OpenSSL asks for the passphrase of an encrypted key on the terminal, and waits."""
    return ""


def _problem(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return f"holds no usable certificate or key in PEM ({error.reason or error.args[-1]})"
    return f"cannot be read: {error.strerror or error}"
