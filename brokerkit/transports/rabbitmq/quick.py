"""Reading content headers by their layout.

Most messages have the same headers in the same order, so four reads of several fields at once do for nearly all.
Whatever has another layout is read field by field, in ``envelope.py``.
"""

from __future__ import annotations

from struct import Struct

from brokerkit.message import Message, Scalar
from brokerkit.transports.rabbitmq.encoding import (
    ATTEMPT,
    CONTENT_TYPE,
    CORRELATION,
    CREATED,
    ENTERED,
    EXCHANGE,
    HEADERS,
    ID,
    KEY,
    MESSAGE_ID,
    MODE,
    PARENT,
    REPLY_TO,
    ROOT,
    RUN,
    TIMESTAMP,
    TYPE,
    URGENCY,
    reserved,
)
from brokerkit.transports.rabbitmq.frames import CLASS
from brokerkit.transports.rabbitmq.table import Unreadable, read

_class_and_flags, _u32, _ms = Struct(">H10xH").unpack_from, Struct(">I").unpack_from, Struct(">q").unpack_from
_head = Struct(">I12sq12sq7sI").unpack_from
"""The table's length, attempt, time of creation, length of the id."""
_HEAD_SIZE = 55
_urgency_and_next = Struct(">6sq7sI").unpack_from
_key, _exchange = Struct(">7sI").unpack_from, Struct(">6sI").unpack_from
_run = Struct(">8sq").unpack_from
_NEEDED = CONTENT_TYPE | HEADERS | MODE | MESSAGE_ID
_POSSIBLE = _NEEDED | CORRELATION | REPLY_TO | TIMESTAMP | TYPE
_COUNT = "x-delivery-count"

Quick = tuple[Message, float, int | None]
"""The message, when it entered (seconds since the epoch, or 0), and how often the broker has delivered it before."""


class _Texts(dict[bytes, str]):
    """Strings that were read before: names, keys, addresses. Only a cache."""

    _MOST, _LONGEST = 4096, 512

    def __missing__(self, raw: bytes) -> str:
        text = raw.decode()
        if len(raw) <= self._LONGEST:
            if len(self) >= self._MOST:
                self.clear()
            self[raw] = text
        return text


_texts = _Texts()


def quick(header: bytes, body: bytes) -> Quick | None:
    """A message with nothing rare; None for any other. A damaged header may raise whatever reading raises."""
    class_id, flags = _class_and_flags(header)
    if flags & ~_POSSIBLE or _NEEDED & ~flags or class_id != CLASS:
        return None
    at = 15 + header[14]
    content_type = _texts[header[15:at]]
    size, attempt_name, attempt, created_name, created, id_name, length = _head(header, at)
    if attempt_name != ATTEMPT or created_name != CREATED or id_name != ID or not length or attempt < 1:
        return None
    begin = at + _HEAD_SIZE
    stop, end = begin + length, at + 4 + size
    found = _placed(header, stop, end)
    if found is None:
        return None
    priority, parent, routing_key, root, run, entered, exchange, own, count = found
    correlation_id, reply_to, name = _after(header, end, flags)
    message = Message(
        id=header[begin:stop].decode(),
        name=name,
        body=body,
        content_type=content_type,
        headers=own,
        priority=priority,
        run=run,
        attempt=attempt,
        created=created / 1000,
        correlation_id=correlation_id,
        reply_to=reply_to,
        exchange=exchange,
        routing_key=routing_key,
        parent=parent,
        root=root,
    )
    return message, entered, count


_Placed = tuple[int, str | None, str, str | None, int, float, str, dict[str, Scalar], int | None]


def _placed(header: bytes, at: int, end: int) -> _Placed | None:
    """What comes after the id, in the table."""
    parent = root = None
    entered = 0.0
    name, priority, key_name, length = _urgency_and_next(header, at)
    at += 14
    if key_name != KEY and header.startswith(PARENT, at):
        parent, at = _long(header, at + len(PARENT))
        key_name, length = _key(header, at)
    if name != URGENCY or key_name != KEY or not 0 <= priority <= 9:
        return None
    begin, at = at + 11, at + 11 + length
    routing_key = _texts[header[begin:at]]
    if header.startswith(ROOT, at):
        root, at = _long(header, at + len(ROOT))
    name, run = _run(header, at)
    if name != RUN or run < 1:
        return None
    at += 16
    if header.startswith(ENTERED, at):
        entered, at = _ms(header, at + 7)[0] / 1000, at + 15
    name, length = _exchange(header, at)
    if name != EXCHANGE:
        return None
    begin, at = at + 10, at + 10 + length
    exchange = _texts[header[begin:at]]
    if at == end:
        return priority, parent, routing_key, root, run, entered, exchange, {}, None
    if header.startswith(b"bk-", at + 1):
        return None
    own, others = read(header, at, end)
    count = own.pop(_COUNT, None)
    if others or any(map(reserved, own)) or not (count is None or isinstance(count, int)):
        return None
    return priority, parent, routing_key, root, run, entered, exchange, own, count


def _long(header: bytes, at: int) -> tuple[str, int]:
    begin = at + 4
    end = begin + _u32(header, at)[0]
    return header[begin:end].decode(), end


def _after(header: bytes, end: int, flags: int) -> tuple[str | None, str | None, str]:
    """Correlation id, reply address and type, which come after the table."""
    correlation_id = reply_to = None
    name = ""
    at = end + 1
    if flags & CORRELATION:
        start, at = at + 1, at + 1 + header[at]
        correlation_id = header[start:at].decode()
    if flags & REPLY_TO:
        start, at = at + 1, at + 1 + header[at]
        reply_to = _texts[header[start:at]]
    at += 1 + header[at]
    if flags & TIMESTAMP:
        at += 8
    if flags & TYPE:
        start, at = at + 1, at + 1 + header[at]
        name = _texts[header[start:at]]
    if at != len(header):
        raise Unreadable("the content header has not the length that it says")
    return correlation_id, reply_to, name
