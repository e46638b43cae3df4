"""The TLS side of a connection."""

from __future__ import annotations

import ssl

from brokerkit.errors import ConfigurationError
from brokerkit.stores.sql.options import SqlOptions

NO_TLS = "offers no TLS, which tls= asks for; set it up there, or connect without (tls=off)"


def unreachable(error: BaseException) -> str:
    """What it means that a connection could not be made."""
    if isinstance(error, ssl.SSLError):
        return f"is not trusted ({error.reason or error}); name its authority's certificate with cafile=, or its host"
    why = getattr(error, "strerror", None) or error
    return f"cannot be reached: {why}; is it running and is the port open?"


def context_of(options: SqlOptions) -> ssl.SSLContext | None:
    """What connections are encrypted with, None when that is not insisted on. Reads files, so call it in a thread.

    Raises:
        ConfigurationError: Names the file that is no good.
    """
    if options.tls not in {"require", "verify"}:
        return None
    try:
        context = ssl.create_default_context(cafile=options.cafile)
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(f"cafile={options.cafile} cannot be read as certificates in PEM: {error}") from error
    if options.tls == "require":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
