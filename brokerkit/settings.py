"""How an app behaves, apart from what it declares."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from brokerkit.codec import Limits
from brokerkit.message import JSON, MSGPACK
from brokerkit.middleware import ReceiveMiddleware, SendMiddleware
from brokerkit.topology import Retry

ENVIRONMENT_URL = "BROKERKIT_URL"
DEFAULT_URL = "sqlite:///brokerkit.db"
BROKERS_OWN = "broker"
"""``store=`` of an app whose records live with its broker, where the broker keeps any."""


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of an app.

    Args:
        retry: The policy of tasks and subscribers that name none, nor their queue; default 3 retries, exponential
            from 1 s to 60 s with jitter.
        limits: Sizes and nesting that are refused at both ends; default 1 MiB, 16 KiB of headers, 64 levels.
        content_type: How arguments, events and results are encoded: ``application/msgpack`` (default) or
            ``application/json``. Both are read.
        publish_deadline: Seconds for one publish; default 10.
        middleware: Wraps every handler, the first one outermost.
        send_middleware: Wraps every publish, the first one outermost.

    Raises:
        ValueError: A value makes no sense.
    """

    retry: Retry = Retry.exponential()
    limits: Limits = Limits()
    content_type: str = MSGPACK
    publish_deadline: float = 10.0
    middleware: Sequence[ReceiveMiddleware] = ()
    send_middleware: Sequence[SendMiddleware] = ()

    def __post_init__(self) -> None:
        if self.content_type not in (MSGPACK, JSON):
            raise ValueError(f"content_type={self.content_type!r}: choose {MSGPACK!r} or {JSON!r}")
        if not 0 < self.publish_deadline < float("inf"):
            raise ValueError(f"publish_deadline={self.publish_deadline!r}: give seconds > 0")
