"""A message and what travels with it over RabbitMQ: from the content header and body of a delivery, and back."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable
from typing import Any

import msgspec

from brokerkit.delivery import Flag
from brokerkit.ids import new_id
from brokerkit.message import NORMAL, Message, Scalar
from brokerkit.transports.rabbitmq.encoding import MAX_HEADER, encode, reserved
from brokerkit.transports.rabbitmq.headers import Headers
from brokerkit.transports.rabbitmq.properties import Properties, message_id_of, parse
from brokerkit.transports.rabbitmq.quick import quick
from brokerkit.transports.rabbitmq.table import Unreadable, nested, read

__all__ = ["MAX_HEADER", "Envelope", "decode", "encode", "message_id_of", "reserved"]


class Envelope(msgspec.Struct, gc=False):
    """A message as it came.

    Args:
        message: The message.
        starts: Start marks it carries (``bk-starts``).
        carried: Deliveries that earlier copies of it had in this attempt (``bk-deliveries``).
        broker_count: How often a quorum queue has delivered it before (``x-delivery-count``); None where the broker
            does not count, or has not delivered it before.
        moved: This is the copy that a start mark was moved to (``bk-moved``).
        entered: When this copy entered its queue, or is due, seconds since the epoch (``bk-ts``); 0 if unknown.
        flags: UNDECODABLE when it cannot be read.
        reason: Why it was dead-lettered (``bk-reason``), or "".
        error: The last error's text (``bk-error``), or "".
        died: When it was dead-lettered, seconds since the epoch (``bk-died``), or 0.
        source: The key of the queue or group that it was dead-lettered from (``bk-source``), or "".
        died_after: How often it had been delivered in its last attempt (``bk-died-after``), or 0.
        x_death: The broker's own account of dead-letterings, as it came; ``deaths()`` reads it.
        dropped: Names of the headers that are no scalars, which ``message.headers`` cannot hold.
    """

    message: Message
    starts: int = 0
    carried: int = 0
    broker_count: int | None = None
    moved: bool = False
    entered: float = 0.0
    flags: Flag = Flag.NONE
    reason: str = ""
    error: str = ""
    died: float = 0.0
    source: str = ""
    died_after: int = 0
    x_death: bytes = b""
    dropped: tuple[str, ...] = ()

    def deaths(self) -> list[dict[str, Any]]:
        """The entries of ``x-death``, latest first: ``queue``, ``reason``, ``count``, ``time`` (seconds) and others.

        Empty when there are none, or none that can be read: https://www.rabbitmq.com/docs/dlx#effects
        """
        try:
            entries = nested(self.x_death)
        except Unreadable:
            return []
        return [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []


def _new_id() -> str:
    return new_id(time.time())


def decode(
    header: bytes | memoryview,
    body: bytes,
    exchange: str,
    routing_key: str,
    *,
    fresh: Callable[[], str] = _new_id,
) -> Envelope:
    """The message in a delivery. Never raises: what cannot be read is flagged.

    Args:
        header: The content header.
        body: The body.
        exchange: The delivery's exchange, for messages that do not say where they were published.
        routing_key: The delivery's routing key, likewise.
        fresh: Gives an id to a foreign message that has none.
    """
    if type(header) is not bytes:
        header = bytes(header)
    try:
        found = quick(header, body)
    except (Unreadable, IndexError, struct.error, UnicodeDecodeError):
        found = None
    if found is not None:
        message, entered, count = found
        return Envelope(message, 0, 0, count, False, entered)
    try:
        properties = parse(header)
        scalars, others = read(header, properties.start, properties.end)
    except Unreadable:
        message = Message(id="", name="", body=body, content_type="", exchange=exchange, routing_key=routing_key)
        return Envelope(message, flags=Flag.UNDECODABLE)
    identity = scalars.get("bk-id")
    if identity and isinstance(identity, str):
        envelope = _ours(identity, properties, scalars, body, exchange, routing_key)
    else:
        envelope = _foreign(properties.message_id or fresh(), properties, scalars, body, exchange, routing_key)
    envelope.x_death = others.pop("x-death", b"")
    envelope.dropped = tuple(name for name in others if not reserved(name))
    return envelope


_labels = msgspec.json.Decoder(dict[str, Scalar]).decode


def _ours(
    identity: str, properties: Properties, scalars: dict[str, Scalar], body: bytes, exchange: str, routing_key: str
) -> Envelope:
    try:
        found = msgspec.convert(scalars, Headers)
        labels = _labels(found.metadata) if found.metadata else {}
    except msgspec.DecodeError:  # of which a ValidationError is one
        envelope = _foreign(identity, properties, scalars, body, exchange, routing_key)
        envelope.flags = Flag.UNDECODABLE
        return envelope
    message = Message(
        id=identity,
        name=properties.type or "",
        body=body,
        content_type=properties.content_type or "",
        headers=_own(scalars),
        priority=_in_range(found.priority),
        run=found.run,
        attempt=found.attempt,
        postponed=found.postponed,
        created=_age(properties) if found.created is None else found.created / 1000,
        due=_seconds(found.due),
        expires=_seconds(found.expires),
        correlation_id=properties.correlation_id,
        reply_to=properties.reply_to,
        exchange=exchange if found.exchange is None else found.exchange,
        routing_key=routing_key if found.routing_key is None else found.routing_key,
        timeout=found.timeout,
        retry=found.retry,
        metadata=labels,
        parent=found.parent,
        root=found.root,
    )
    envelope = Envelope(message, found.starts, found.carried, found.broker_count, found.moved, found.entered / 1000)
    if found.died or found.reason:
        envelope.reason, envelope.error, envelope.source = found.reason, found.error, found.source
        envelope.died, envelope.died_after = found.died / 1000, found.died_after
    return envelope


def _foreign(
    identity: str, properties: Properties, scalars: dict[str, Scalar], body: bytes, exchange: str, routing_key: str
) -> Envelope:
    message = Message(
        id=identity,
        name=properties.type or "",
        body=body,
        content_type=properties.content_type or "",
        headers=_own(scalars),
        priority=NORMAL if properties.priority is None else _in_range(properties.priority),
        created=_age(properties),
        correlation_id=properties.correlation_id,
        reply_to=properties.reply_to,
        exchange=exchange,
        routing_key=routing_key,
    )
    count = scalars.get("x-delivery-count")
    return Envelope(message, broker_count=count if isinstance(count, int) else None)


def _own(scalars: dict[str, Scalar]) -> dict[str, Scalar]:
    """The sender's headers."""
    return {name: value for name, value in scalars.items() if not reserved(name)}


_MILLISECONDS_FROM = 10**11
"""A timestamp of so much is no second of ours but the milliseconds of a sender who mistook the unit."""


def _age(properties: Properties) -> float:
    """When it was made, seconds since the epoch, as its timestamp says; 0 without one."""
    timestamp = properties.timestamp or 0
    return timestamp / 1000 if timestamp >= _MILLISECONDS_FROM else float(timestamp)


def _seconds(milliseconds: int | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1000


def _in_range(priority: int) -> int:
    return min(max(priority, 0), 9)
