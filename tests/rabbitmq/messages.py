"""Random messages, and content headers as pamqp writes and reads them."""

from __future__ import annotations

import datetime as dt
import struct
from typing import Any

from hypothesis import strategies as st
from pamqp import commands
from pamqp.header import ContentHeader

from brokerkit.message import Message, Scalar

words = st.text(max_size=60)
short_words = st.text(max_size=20)
times = st.integers(1, 4_000_000_000_000).map(lambda milliseconds: milliseconds / 1000)
numbers = st.integers(-(2**63), 2**63 - 1)
singles = st.floats(allow_nan=False, allow_infinity=False, width=32)
"""Numbers that 32 bits hold: pamqp writes no others."""
single_scalars: st.SearchStrategy[Scalar] = st.one_of(words, numbers, st.booleans(), singles)
scalars: st.SearchStrategy[Scalar] = single_scalars | st.floats(allow_nan=False, allow_infinity=False)
NOT_THEIRS = ("bk-", "x-death", "x-first-death-", "x-last-death-", "x-delivery-count", "x-acquired-count")
names = st.one_of(
    st.sampled_from(["a", "tenant", "traceparent", "X-Request", "bkx", "x-deaf", "zz"]),
    st.text(max_size=30).filter(lambda name: not name.startswith(NOT_THEIRS) and name not in {"CC", "BCC"}),
)
headers = st.dictionaries(names, scalars, max_size=4)
messages = st.builds(
    Message,
    id=st.text(min_size=1, max_size=40),
    name=short_words,
    body=st.binary(max_size=50),
    content_type=st.sampled_from(["application/msgpack", "application/json", "text/plain", ""]),
    headers=headers,
    priority=st.integers(0, 9),
    run=st.integers(1, 2**40),
    attempt=st.integers(1, 2**40),
    postponed=st.integers(0, 2**40),
    created=st.one_of(st.just(0.0), times),
    due=st.none() | times,
    expires=st.none() | times,
    correlation_id=st.none() | words,
    reply_to=st.none() | short_words,
    exchange=short_words,
    routing_key=words,
    timeout=st.none() | st.floats(0, 2**20, width=32),
    retry=short_words,
    metadata=st.dictionaries(short_words, words | st.booleans() | st.integers(-(2**63), 2**63 - 1), max_size=2),
    parent=st.none() | short_words,
    root=st.none() | short_words,
)
"""Any message that can be sent. Times are whole milliseconds, as they are on the wire."""

plain_messages = st.builds(
    Message,
    id=st.text(min_size=1, max_size=40),
    name=short_words,
    body=st.just(b"body"),
    headers=st.just({}) | headers,
    created=times,
    reply_to=st.none() | short_words,
    exchange=short_words,
    routing_key=words,
    parent=st.none() | short_words,
    root=st.none() | short_words,
)
"""What most messages are like."""


def moment(seconds: float) -> dt.datetime:
    """As pamqp has it, to the second."""
    return dt.datetime.fromtimestamp(int(seconds), dt.UTC)


def pamqp_header(body: bytes = b"", **properties: Any) -> bytes:
    """A content header by pamqp, which sorts headers by name and writes integers as small as they go."""
    return ContentHeader(body_size=len(body), properties=commands.Basic.Properties(**properties)).marshal()


def read_by_pamqp(header: bytes) -> ContentHeader:
    """The same in the other direction."""
    found = ContentHeader()
    found.unmarshal(header)
    return found


def sorted_by_broker(header: bytes, more: bytes = b"") -> bytes:
    """A header of ours as RabbitMQ 4 delivers it, and older versions when they add something: fields sorted by name.

    Args:
        header: Ours.
        more: Fields that the broker adds, encoded.
    """
    start = 15 + header[14]
    size = struct.unpack_from(">I", header, start)[0]
    fields: list[bytes] = _fields(header[start + 4 : start + 4 + size] + more)
    fields.sort(key=_name)
    table = b"".join(fields)
    return header[:start] + struct.pack(">I", len(table)) + table + header[start + 4 + size :]


def _name(field: bytes) -> bytes:
    return field[1 : 1 + field[0]]


_SIZES = {b"l": 8, b"d": 8, b"t": 1}


def _fields(table: bytes) -> list[bytes]:
    fields: list[bytes] = []
    while table:
        at = 2 + table[0]
        kind = table[at - 1 : at]
        end = at + (_SIZES[kind] if kind in _SIZES else 4 + struct.unpack_from(">I", table, at)[0])
        fields.append(table[:end])
        table = table[end:]
    return fields
