"""Our own headers of a message, and what they may hold."""

from __future__ import annotations

from typing import Annotated

import msgspec

from brokerkit.message import NORMAL

_Count = Annotated[int, msgspec.Meta(ge=0)]
_Ordinal = Annotated[int, msgspec.Meta(ge=1)]
_NAMES = {
    "priority": "bk-p", "exchange": "bk-x", "routing_key": "bk-rk", "postponed": "bk-post", "expires": "bk-exp",
    "metadata": "bk-meta", "entered": "bk-ts", "carried": "bk-deliveries", "broker_count": "x-delivery-count",
    "died_after": "bk-died-after",
}  # fmt: skip


class Headers(msgspec.Struct, gc=False, kw_only=True, rename=lambda name: _NAMES.get(name, f"bk-{name}")):
    """Headers that travel as ``bk-`` and the field's name, or as ``_NAMES`` says; ``convert`` checks them.

    Times are milliseconds since the epoch. For the fields of the message see ``message.py``, for the others
    ``envelope.py``. None and the defaults stand for headers that are not there.
    """

    id: str
    priority: int = NORMAL
    run: _Ordinal = 1
    attempt: _Ordinal = 1
    exchange: str | None = None
    routing_key: str | None = None
    created: int | None = None
    parent: str | None = None
    root: str | None = None
    postponed: _Count = 0
    due: int | None = None
    expires: int | None = None
    timeout: float | None = None
    retry: str = ""
    metadata: str = ""
    starts: _Count = 0
    carried: _Count = 0
    broker_count: int | None = None
    moved: bool = False
    entered: int = 0
    reason: str = ""
    error: str = ""
    died: int = 0
    died_after: _Count = 0
    source: str = ""
