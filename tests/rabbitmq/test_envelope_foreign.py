"""Content headers that are not as we write them: from strangers, damaged, added to by the broker."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pamqp.encode import field_table

from brokerkit.delivery import Flag
from brokerkit.message import Message
from brokerkit.transports.rabbitmq.envelope import Envelope, decode, encode, message_id_of
from tests.rabbitmq import messages as any_of
from tests.rabbitmq.messages import moment, pamqp_header, read_by_pamqp

PLAIN = Message(
    id="0199c0ffee0AbCdEfGhIjKlMnOpQrStUv", name="mail.send", body=b"body", created=1795000000.123, exchange="shop",
    routing_key="orders.eu",
)  # fmt: skip


def there_and_back(message: Message, **extra: Any) -> Envelope:
    return decode(encode(message, "m1", extra), message.body, "bk.d.out", "other")


def foreign(body: bytes = b"{}", fresh: Callable[[], str] = lambda: "fresh", **properties: Any) -> Envelope:
    return decode(pamqp_header(body, **properties), body, "shop", "orders.eu", fresh=fresh)


def test_a_foreign_message_is_taken_as_it_is() -> None:
    envelope = foreign(
        message_id="their-1", message_type="order.placed", content_type="application/json", priority=200,
        correlation_id="c", reply_to="elsewhere", timestamp=moment(1795000000), headers={"tenant": 7, "vip": True},
    )  # fmt: skip
    assert envelope == Envelope(
        Message(
            id="their-1", name="order.placed", body=b"{}", content_type="application/json", priority=9,
            correlation_id="c", reply_to="elsewhere", created=1795000000.0, headers={"tenant": 7, "vip": True},
            exchange="shop", routing_key="orders.eu",
        )
    )  # fmt: skip


def test_a_foreign_message_without_an_id_gets_one() -> None:
    assert foreign().message.id == "fresh"
    assert foreign(message_id="").message.id == "fresh"
    assert decode(pamqp_header(), b"", "", "").message.id != decode(pamqp_header(), b"", "", "").message.id


def test_a_foreign_message_cannot_pass_for_ours_without_an_id() -> None:
    for forged in ("", 5, True, None):
        envelope = foreign(message_id="their-1", headers={"bk-id": forged, "bk-attempt": 9, "bk-run": "x", "bk-p": 9})
        assert (envelope.message.id, envelope.message.attempt, envelope.message.priority) == ("their-1", 1, 5)
        assert not envelope.flags


def test_headers_that_are_no_scalars_are_left_out_and_named() -> None:
    when = dt.datetime(2026, 11, 24, tzinfo=dt.UTC)
    envelope = foreign(headers={"list": [1], "map": {"a": 1}, "none": None, "raw": bytearray(b"x"), "at": when, "n": 1})
    assert envelope.message.headers == {"n": 1, "at": int(when.timestamp())}
    assert set(envelope.dropped) == {"list", "map", "none", "raw"}


def test_text_that_is_not_utf8_does_not_make_a_message_unreadable() -> None:
    header = pamqp_header(message_id="abc", message_type="name", headers={"good": 1, "text": "latin"})
    envelope = decode(header.replace(b"latin", b"\xff\xfe\xfd\xfc\xfb").replace(b"name", b"n\xffme"), b"", "", "")
    assert (envelope.message.id, envelope.message.headers, envelope.dropped) == ("abc", {"good": 1}, ("text",))
    assert envelope.message.name == "n\ufffdme"
    assert not envelope.flags


def test_a_timestamp_in_milliseconds_is_understood() -> None:
    header = pamqp_header(timestamp=moment(1795000000)).replace(
        (1795000000).to_bytes(8, "big"), (1795000000123).to_bytes(8, "big")
    )
    assert decode(header, b"", "", "").message.created == 1795000000.123


def nested(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2)


@given(
    st.dictionaries(
        st.text(max_size=20) | st.sampled_from(["bk-id", "bk-run", "bk-meta", "bk-due", "x-death", "x-delivery-count"]),
        st.recursive(any_of.single_scalars | st.none(), nested, max_leaves=5),
        max_size=5,
    ),
    st.none() | any_of.words,
    st.none() | any_of.words,
    st.none() | st.integers(0, 255),
)  # fmt: skip
def test_any_foreign_message_has_an_id(
    headers: dict[str, Any], message_id: str | None, name: str | None, priority: int | None
) -> None:
    envelope = foreign(headers=headers, message_id=message_id, message_type=name, priority=priority)
    assert envelope.message.id
    assert 0 <= envelope.message.priority <= 9
    assert all(type(value) in {str, int, float, bool} for value in envelope.message.headers.values())
    if "bk-id" not in headers:
        assert not envelope.flags
        assert envelope.message.name == (name or "")
    envelope.deaths()


# Damage


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("bk-run", "1"), ("bk-run", 0), ("bk-attempt", -1), ("bk-attempt", 1.5), ("bk-p", "high"), ("bk-due", "soon"),
        ("bk-meta", "{"), ("bk-meta", "[1]"), ("bk-meta", '{"a": [1]}'), ("bk-starts", -1), ("bk-created", True),
        ("bk-x", 5), ("bk-parent", 1), ("bk-moved", 1),
    ],
)  # fmt: skip
def test_damaged_headers_of_ours_are_flagged_and_the_id_is_kept(name: str, value: Any) -> None:
    headers = read_by_pamqp(encode(PLAIN, "m1")).properties.headers
    assert headers is not None
    envelope = foreign(b"body", headers=headers | {name: value}, message_id="m1", message_type="mail.send")
    assert envelope.flags is Flag.UNDECODABLE
    assert (envelope.message.id, envelope.message.name, envelope.message.body) == (PLAIN.id, "mail.send", b"body")


@pytest.mark.parametrize("change", [{"run": 0}, {"attempt": 0}, {"postponed": -1}])
def test_counts_that_cannot_be_are_flagged(change: dict[str, int]) -> None:
    envelope = there_and_back(msgspec.structs.replace(PLAIN, **change))
    assert (envelope.flags, envelope.message.id) == (Flag.UNDECODABLE, PLAIN.id)


@pytest.mark.parametrize(("priority", "expected"), [(-3, 0), (12, 9)])
def test_a_priority_out_of_range_counts_as_the_nearest(priority: int, expected: int) -> None:
    assert there_and_back(msgspec.structs.replace(PLAIN, priority=priority)).message.priority == expected


def test_a_broken_header_is_flagged_with_its_body() -> None:
    header = encode(PLAIN, "m1")
    for broken in (
        b"",
        header[:-1],
        header + b"x",
        header[:40],
        b"\0\x0a" + header[2:],
        header[:13] + b"\xe1" + header[14:],
        pamqp_header(headers={"a": "xyz"}, message_id="m1").replace(b"\x03xyz", b"\x04xyz"),
        pamqp_header(headers={"a": "xyz"}, message_id="m1").replace(b"aS", b"a?"),
    ):
        envelope = decode(broken, b"body", "shop", "key")
        assert envelope.flags is Flag.UNDECODABLE
        assert (envelope.message.id, envelope.message.body) == ("", b"body")
        assert (envelope.message.exchange, envelope.message.routing_key) == ("shop", "key")


@given(st.data(), any_of.messages | any_of.plain_messages)
def test_nothing_that_arrives_raises(data: st.DataObject, message: Message) -> None:
    header = bytearray(encode(message, "m1", {"bk-ts": 5}))
    for _ in range(data.draw(st.integers(1, 3))):
        header[data.draw(st.integers(0, len(header) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(header)) | st.just(len(header)))
    envelope = decode(bytes(header[:cut]), b"body", "", "")
    assert envelope.message.body == b"body"
    assert envelope.message.id or envelope.flags is Flag.UNDECODABLE
    envelope.deaths()
    message_id_of(bytes(header[:cut]))


@given(st.binary(max_size=80))
def test_noise_does_not_raise(noise: bytes) -> None:
    for header in (
        noise,
        encode(PLAIN, "m1")[:14] + noise,
        b"\0\x3c" + bytes(10) + b"\x20\0" + len(noise).to_bytes(4) + noise,
    ):
        envelope = decode(header, b"", "", "")
        assert envelope.message.id or envelope.flags is Flag.UNDECODABLE


# What the broker adds


def test_the_brokers_account_of_deaths_is_read() -> None:
    when = dt.datetime(2026, 11, 24, tzinfo=dt.UTC)
    entry = {
        "queue": "orders",
        "reason": "rejected",
        "count": 2,
        "time": when,
        "exchange": "",
        "routing-keys": ["orders", "b"],
    }
    headers = read_by_pamqp(encode(PLAIN, "m1")).properties.headers
    assert headers is not None
    envelope = foreign(b"body", headers=headers | {"x-death": [entry, {"queue": "older"}], "x-first-death-queue": "q"})
    assert envelope.deaths() == [entry | {"time": int(when.timestamp())}, {"queue": "older"}]
    assert envelope.message.id == PLAIN.id
    assert (envelope.message.headers, envelope.dropped) == ({}, ())
    assert there_and_back(envelope.message).x_death == b""


@pytest.mark.parametrize("value", ["text", 5, [], {}, [1, "a"], {"queue": "q"}])
def test_a_forged_account_of_deaths_is_empty(value: Any) -> None:
    assert foreign(headers={"x-death": value}).deaths() == []


def test_nesting_without_end_is_not_followed() -> None:
    table = field_table({"a": 1})
    for _ in range(3000):
        table = len(b"\x01aF" + table).to_bytes(4, "big") + b"\x01aF" + table
    entry = b"F" + table
    value = b"\x07x-deathA" + len(entry).to_bytes(4, "big") + entry
    header = b"\0\x3c" + bytes(10) + b"\x20\0" + len(value).to_bytes(4, "big") + value
    envelope = decode(header, b"", "", "")
    assert envelope.message.id
    assert envelope.deaths() == []


def test_the_id_of_one_publish_is_found_in_its_header() -> None:
    assert message_id_of(encode(PLAIN, "k3-1a")) == "k3-1a"
    assert message_id_of(memoryview(pamqp_header(message_id="x", headers={"a": 1}))) == "x"
    assert message_id_of(pamqp_header()) is None
    assert message_id_of(b"") is None
    assert message_id_of(encode(PLAIN, "k3-1a")[:-3]) is None
