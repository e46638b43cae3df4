"""The Redis transport: streams with consumer groups, and one script for each step, on Redis 7.0 or newer and Valkey.

``compile`` needs neither a server nor the client library. ``mode="verify"`` and ``"trust"`` create what is missing,
too: nobody but brokerkit could have created it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from brokerkit.transports.redis.transport import RedisTransport

__all__ = ["RedisTransport"]


def __getattr__(name: str) -> Any:
    # Loaded on first use, and the client library with it.
    if name == "RedisTransport":
        from brokerkit.transports.redis.transport import RedisTransport

        return RedisTransport
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
