"""What travels: the message, and the message on its way to an exchange or queue."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from brokerkit.records import TaskRecord

Scalar = str | int | float | bool
"""What a header may hold; every broker can carry these."""

MSGPACK = "application/msgpack"
JSON = "application/json"
NORMAL = 5
"""The default priority, 0..9; higher is more urgent."""


class Message(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """One message, the same on every broker.

    Args:
        id: Stable over retries, redeliveries and redrives; the task's id. Never empty: the transport gives one to a
            foreign message that has none.
        name: The wire name: a task's name, or an event's type; "" where a foreign message has none.
        body: Encoded as ``content_type`` says.
        content_type: ``application/msgpack`` or ``application/json``; a foreign message may say anything.
        headers: The sender's own headers.
        priority: 0..9, higher is more urgent.
        run: 1 for a send, one more for each redrive.
        attempt: The counted run of the handler that comes next, from 1.
        postponed: Returns that were not counted ("not now"), in this run.
        created: When it was first sent, seconds since the epoch.
        due: Not before this time, or None for at once.
        expires: Not started after this time, or None.
        correlation_id: The sender's own, or None.
        reply_to: The address of the caller's inbox, or None when nobody waits.
        exchange: Where it was published, "" for straight to a queue.
        routing_key: The key it was published with.
        timeout: Seconds for one attempt, over the task's own; None leaves that.
        retry: A retry policy over the task's own, encoded as JSON text; "" leaves that.
        metadata: Searchable labels for the record.
        parent: Id of the message whose handler sent this one, or None.
        root: Id of the first message of that family, or None.
    """

    id: str
    name: str
    body: bytes
    content_type: str = MSGPACK
    headers: dict[str, Scalar] = {}
    priority: int = NORMAL
    run: int = 1
    attempt: int = 1
    postponed: int = 0
    created: float = 0.0
    due: float | None = None
    expires: float | None = None
    correlation_id: str | None = None
    reply_to: str | None = None
    exchange: str = ""
    routing_key: str = ""
    timeout: float | None = None
    retry: str = ""
    metadata: dict[str, Scalar] = {}
    parent: str | None = None
    root: str | None = None


class Outgoing(msgspec.Struct, frozen=True, gc=False):
    """A message addressed.

    Args:
        message: What to publish.
        exchange: An exchange's name; "" is the default exchange, which routes straight to the queue that the
            key names, or to the inbox when the key is an inbox's address.
        routing_key: The key.
        record: Its PENDING record, stored with the message or not at all, where the transport's capabilities
            include ``atomic_records``; else always None.
    """

    message: Message
    exchange: str
    routing_key: str
    record: TaskRecord | None = None


def rerun(message: Message, now: float) -> Message:
    """The message of a new run, at attempt 1 and due at once."""
    over = message.expires is not None and message.expires <= now
    return msgspec.structs.replace(
        message,
        run=message.run + 1,
        attempt=1,
        postponed=0,
        due=None,
        # It would expire again at once; whoever sends it back wants it to run.
        expires=None if over else message.expires,
    )
