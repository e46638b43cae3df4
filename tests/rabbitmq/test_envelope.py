"""Messages as content headers: there and back, read and written by pamqp, sorted by the broker."""

from __future__ import annotations

import enum
import math
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokerkit.errors import EncodeError
from brokerkit.message import Message, Scalar
from brokerkit.transports.rabbitmq.encoding import reserved
from brokerkit.transports.rabbitmq.envelope import Envelope, decode, encode
from brokerkit.transports.rabbitmq.quick import quick
from brokerkit.transports.rabbitmq.table import field
from tests.rabbitmq import messages as any_of
from tests.rabbitmq.messages import moment, pamqp_header, read_by_pamqp, sorted_by_broker

PLAIN = Message(
    id="0199c0ffee0AbCdEfGhIjKlMnOpQrStUv", name="mail.send", body=b"body", created=1795000000.123, exchange="shop",
    routing_key="orders.eu",
)  # fmt: skip


def there_and_back(message: Message, **extra: Any) -> Envelope:
    return decode(encode(message, "m1", extra), message.body, "bk.d.out", "other")


# There and back


@given(any_of.messages, st.integers(0, 2**50))
def test_a_message_comes_back_as_it_was(message: Message, milliseconds: int) -> None:
    envelope = there_and_back(message, **{"bk-ts": milliseconds})
    assert envelope == Envelope(message, entered=milliseconds / 1000)


@given(any_of.plain_messages, st.integers(0, 2**50))
def test_the_broker_may_sort_the_headers(message: Message, milliseconds: int) -> None:
    header = sorted_by_broker(encode(message, "m1", {"bk-ts": milliseconds}), field("x-delivery-count", 3))
    expected = Envelope(message, entered=milliseconds / 1000, broker_count=3)
    assert decode(header, message.body, "", "") == expected


@given(any_of.messages)
def test_pamqp_reads_what_we_write(message: Message) -> None:
    raw = encode(message, "m1", {"bk-starts": 2, "bk-reason": None}, 7)
    assert raw[:4] == b"\0\x3c\0\0"  # class basic, no weight
    header = read_by_pamqp(raw)
    properties, headers = header.properties, header.properties.headers
    assert headers is not None
    assert header.body_size == len(message.body)
    assert (properties.message_id, properties.delivery_mode, properties.priority) == ("m1", 2, 7)
    assert (properties.correlation_id, properties.reply_to) == (message.correlation_id, message.reply_to)
    assert (properties.message_type or "", properties.content_type) == (message.name, message.content_type)
    assert properties.timestamp == (moment(message.created) if message.created else None)
    assert {name: value for name, value in headers.items() if not reserved(name)} == message.headers
    assert headers["bk-id"] == message.id
    assert (headers["bk-x"], headers["bk-rk"], headers["bk-p"]) == (
        message.exchange, message.routing_key, message.priority,
    )  # fmt: skip
    assert (headers["bk-run"], headers["bk-attempt"], headers["bk-starts"]) == (message.run, message.attempt, 2)
    assert "bk-reason" not in headers


@given(any_of.messages, st.dictionaries(any_of.names, any_of.single_scalars, max_size=4))
def test_we_read_what_pamqp_writes(message: Message, headers: dict[str, Scalar]) -> None:
    # It leaves out properties that are empty.
    correlation_id, reply_to = message.correlation_id or None, message.reply_to or None
    message = msgspec.structs.replace(message, headers=headers, correlation_id=correlation_id, reply_to=reply_to)
    ours = read_by_pamqp(encode(message, "m1")).properties
    header = pamqp_header(
        message.body, headers=ours.headers, content_type=ours.content_type, delivery_mode=2, message_id="m2",
        correlation_id=ours.correlation_id, reply_to=ours.reply_to, timestamp=ours.timestamp, expiration="5",
        message_type=ours.message_type, app_id="shop", user_id="guest",
    )  # fmt: skip
    assert decode(header, message.body, "", "") == Envelope(message)


def test_defaults_are_not_sent() -> None:
    headers = read_by_pamqp(encode(Message(id="1", name="n", body=b""), "m1")).properties.headers
    assert headers is not None
    assert set(headers) == {"bk-id", "bk-p", "bk-run", "bk-attempt", "bk-x", "bk-rk"}


def test_what_the_transport_adds_comes_back() -> None:
    extra = {
        "bk-starts": 2, "bk-deliveries": 5, "bk-moved": True, "bk-ts": 1795000000456, "bk-reason": "failed",
        "bk-error": "KeyError: 'x'", "bk-died": 1795000001000, "bk-died-after": 4, "bk-source": "orders",
        "bk-d0": 1, "bk-to-q": "orders",
    }  # fmt: skip
    assert there_and_back(PLAIN, **extra) == Envelope(
        PLAIN, starts=2, carried=5, moved=True, entered=1795000000.456, reason="failed", error="KeyError: 'x'",
        died=1795000001.0, died_after=4, source="orders",
    )  # fmt: skip


@pytest.mark.parametrize(
    "change",
    [
        {}, {"headers": {"traceparent": "00-1"}}, {"parent": "p"}, {"root": "r"}, {"parent": "p", "root": "r"},
        {"correlation_id": "c", "reply_to": "bk.inbox.1"}, {"priority": 9, "run": 2, "attempt": 3}, {"exchange": ""},
    ],
)  # fmt: skip
def test_the_usual_message_is_read_by_its_layout(change: dict[str, Any]) -> None:
    message = msgspec.structs.replace(PLAIN, **change)
    header = encode(message, "m1", {"bk-ts": 1795000000456})
    assert quick(header, b"body") == (message, 1795000000.456, None)
    assert quick(sorted_by_broker(header), b"body") == (message, 1795000000.456, None)
    redelivered = sorted_by_broker(header, field("x-delivery-count", 1))
    assert quick(redelivered, b"body") == (message, 1795000000.456, 1)


@pytest.mark.parametrize("name", ["x-acquired-count", "x-last-death-queue", "bk-unheard-of"])
def test_what_is_added_besides_is_not_the_senders(name: str) -> None:
    header = sorted_by_broker(encode(PLAIN, "m1"), field(name, "1"))
    assert decode(header, b"body", "", "") == Envelope(PLAIN)


@given(any_of.plain_messages)
def test_reading_by_layout_and_field_by_field_agree(message: Message) -> None:
    header = encode(message, "m1", {"bk-ts": 5})
    found = quick(header, message.body)
    assert found is not None
    slowly = decode(_unusual(header), message.body, "", "")
    assert (found[0], found[1]) == (slowly.message, slowly.entered)


def _unusual(header: bytes) -> bytes:
    """The same with a property that the layout does not provide for."""
    flags = int.from_bytes(header[12:14], "big") | 0x0008  # app_id, the last but one
    return header[:12] + flags.to_bytes(2, "big") + header[14:] + b"\x04shop"


def test_a_message_does_not_share_its_headers_with_the_next() -> None:
    header = encode(PLAIN, "m1")
    decode(header, b"", "", "").message.headers["touched"] = 1
    assert decode(header, b"", "", "").message.headers == {}


def test_a_header_may_come_as_a_view_of_a_buffer() -> None:
    assert decode(memoryview(encode(PLAIN, "m1")), b"body", "", "") == Envelope(PLAIN)


def test_more_names_than_are_remembered_come_back_right() -> None:
    for number in range(10_000):
        message = msgspec.structs.replace(PLAIN, routing_key=f"user.{number}", reply_to=f"bk.inbox.{number}")
        found = quick(encode(message, "m1"), b"body")
        assert found is not None
        assert found[0] == message


def test_a_due_time_in_milliseconds_does_not_drift() -> None:
    # 2.007 * 1000 is a little more than 2007.
    assert there_and_back(msgspec.structs.replace(PLAIN, due=2.007)).message.due == 2.007


@pytest.mark.parametrize("due", [1795000000.1231, 1795000000.0001, 1795000000.9999, 1795000000.123])
def test_what_is_due_is_never_due_early_and_stays_so_over_retries(due: float) -> None:
    once = there_and_back(msgspec.structs.replace(PLAIN, due=due)).message
    assert once.due is not None
    assert due <= once.due < due + 0.0011
    assert there_and_back(once).message.due == once.due


# What AMQP does not take


@pytest.mark.parametrize(
    "change",
    [
        {"headers": {"n" * 256: 1}}, {"headers": {"é" * 128: 1}}, {"headers": {"n": 2**63}},
        {"headers": {"n": -(2**63) - 1}},
        {"headers": {"n": "x" * 130_000}}, {"headers": {f"n{number}": "x" * 100 for number in range(1200)}},
        {"headers": {"n": "\ud800"}}, {"headers": {"n": None}}, {"headers": {"n": [1]}}, {"headers": {"n": b"x"}},
        {"name": "n" * 256}, {"correlation_id": "c" * 256}, {"reply_to": "r" * 256}, {"content_type": "t" * 256},
        {"id": "\ud800"}, {"retry": "x" * 130_000}, {"run": 2**63}, {"created": -1.0}, {"created": math.inf},
    ],
    ids=lambda change: " ".join(change),
)  # fmt: skip
def test_what_amqp_cannot_carry_is_an_error_and_leaves_no_trace(change: dict[str, Any]) -> None:
    with pytest.raises(EncodeError):
        encode(msgspec.structs.replace(PLAIN, **change), "m1")
    assert there_and_back(PLAIN) == Envelope(PLAIN)


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_rabbitmq_would_close_the_connection_over_no_number(number: float) -> None:
    with pytest.raises(EncodeError, match="finite"):
        encode(msgspec.structs.replace(PLAIN, headers={"n": number}), "m1")
    with pytest.raises(EncodeError, match="finite"):
        encode(msgspec.structs.replace(PLAIN, timeout=number), "m1")


@pytest.mark.parametrize("name", ["CC", "BCC"])
def test_rabbitmq_would_close_the_channel_over_its_own_routing_headers(name: str) -> None:
    with pytest.raises(EncodeError, match=name):
        encode(msgspec.structs.replace(PLAIN, headers={name: "orders"}), "m1")
    there_and_back(msgspec.structs.replace(PLAIN, headers={name.lower(): "orders"}))


@pytest.mark.parametrize(("message_id", "priority"), [("m" * 256, None), ("m1", 256), ("m1", -1)])
def test_properties_out_of_range_are_an_error(message_id: str, priority: int | None) -> None:
    with pytest.raises(EncodeError):
        encode(PLAIN, message_id, {}, priority)


def test_headers_of_subclasses_travel_as_what_they_are() -> None:
    class Colour(enum.StrEnum):
        RED = "red"

    class Size(enum.IntEnum):
        BIG = 3

    message = msgspec.structs.replace(PLAIN, headers={"c": Colour.RED, "s": Size.BIG})
    assert there_and_back(message).message.headers == {"c": "red", "s": 3}


def test_names_that_are_ours_or_the_brokers_are_not_taken_for_the_senders() -> None:
    theirs = {
        "bk-id": "forged", "bk-new": 1, "x-death": "loop", "x-first-death-queue": "q", "x-last-death-queue": "q",
        "x-delivery-count": 7,
    }  # fmt: skip
    message = msgspec.structs.replace(PLAIN, headers=theirs | {"x-mine": 1, "bkx": 2})
    headers = read_by_pamqp(encode(message, "m1")).properties.headers
    assert headers is not None
    assert not set(theirs) - {"bk-id"} & set(headers)
    envelope = there_and_back(message)
    assert envelope.message.headers == {"x-mine": 1, "bkx": 2}
    assert (envelope.message.id, envelope.broker_count) == (PLAIN.id, None)
