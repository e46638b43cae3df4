"""How an app behaves, apart from what it declares."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

import msgspec

from brokerkit.calls import RECORD_LEVELS, RecordLevel
from brokerkit.codec import Limits
from brokerkit.message import JSON, MSGPACK
from brokerkit.middleware import ReceiveMiddleware, SendMiddleware
from brokerkit.store import Retention
from brokerkit.topology import Mode, Retry

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
        record: What the store keeps of tasks and handlers that do not say: "outcome" (default), "full" or "none".
        retention: How long records are kept, where the app's broker or store is named by its URL; default 1 h after a
            success, 7 d after any other outcome, a million records.
        mode: That of all descriptors that name none: "own" creates what is missing, "verify" only compares, "trust"
            does not even look; default None: the topology's own default.
        middleware: Wraps every handler, the first one outermost.
        send_middleware: Wraps every publish, the first one outermost.

    Raises:
        ValueError: A value makes no sense.
    """

    retry: Retry = Retry.exponential()
    limits: Limits = Limits()
    content_type: str = MSGPACK
    publish_deadline: float = 10.0
    record: RecordLevel = "outcome"
    retention: Retention = Retention()
    mode: Mode | None = None
    middleware: Sequence[ReceiveMiddleware] = ()
    send_middleware: Sequence[SendMiddleware] = ()

    def __post_init__(self) -> None:
        if self.content_type not in (MSGPACK, JSON):
            raise ValueError(f"content_type={self.content_type!r}: choose {MSGPACK!r} or {JSON!r}")
        if self.record not in RECORD_LEVELS:
            raise ValueError(f"record={self.record!r}: choose {', '.join(RECORD_LEVELS)}")
        if self.mode not in (None, *get_args(Mode)):
            raise ValueError(f"mode={self.mode!r}: choose {', '.join(get_args(Mode))}")
        if not 0 < self.publish_deadline < float("inf"):
            raise ValueError(f"publish_deadline={self.publish_deadline!r}: give seconds > 0")
