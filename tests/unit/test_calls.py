"""Calls and their options, and the messages made of them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokerkit import App, EncodeError, Exchange, Queue, Retry, SendOptions, TaskStatus
from brokerkit.calls import Call, Composer, Origin, TaskProfile, any_result, event_name, seconds
from brokerkit.codec import Limits
from brokerkit.message import JSON, MSGPACK
from brokerkit.options import SendKeywords, TaskKeywords
from brokerkit.tasks import TaskOptions
from brokerkit.testing import VirtualClock

NOW = 1_700_000_000.0


def composer(*, records: bool = True, limits: Limits | None = None) -> Composer:
    numbers = count(1)
    return Composer(VirtualClock(NOW), lambda now: f"id-{next(numbers)}", limits or Limits(), records=records)


def call(options: SendOptions | None = None, **profile: Any) -> Call[Any]:
    return Call(
        TaskProfile(**{"name": "charge", "queue": "payments", **profile}),
        b"\x80", MSGPACK, options or SendOptions(), any_result,
    )  # fmt: skip


def test_a_call_becomes_a_message_straight_to_its_queue_with_a_pending_record() -> None:
    outgoing = composer().call(call(priority=7, expires=60.0, metadata={"shop": "eu"}), reply_to="bk.inbox.me")
    message, record = outgoing.message, outgoing.record
    assert (outgoing.exchange, outgoing.routing_key) == ("", "payments")
    assert (message.id, message.name, message.body, message.run, message.attempt) == ("id-1", "charge", b"\x80", 1, 1)
    assert (message.priority, message.created, message.due, message.expires) == (7, NOW, None, NOW + 60)
    assert message.reply_to == "bk.inbox.me"
    assert record is not None
    assert (record.id, record.status, record.queue, record.created) == ("id-1", TaskStatus.PENDING, "payments", NOW)
    assert record.metadata == message.metadata == {"shop": "eu"}


def test_no_reply_and_no_record_where_none_is_wanted() -> None:
    assert composer().call(call(reply=False), reply_to="bk.inbox.me").message.reply_to is None
    assert composer().call(call(record="none")).record is None
    assert composer(records=False).call(call()).record is None


@pytest.mark.parametrize(
    ("options", "field", "value"),
    [
        ({"delay": 5}, "due", NOW + 5),
        ({"delay": timedelta(minutes=1)}, "due", NOW + 60),
        ({"delay": 0}, "due", None),
        ({"at": datetime.fromtimestamp(NOW + 9, UTC)}, "due", NOW + 9),
        ({"expires": 5}, "expires", NOW + 5),
        ({"expires": timedelta(minutes=1)}, "expires", NOW + 60),
        ({"expires": datetime.fromtimestamp(NOW + 9, UTC)}, "expires", NOW + 9),
        ({"timeout": timedelta(seconds=3)}, "timeout", 3.0),
        ({"priority": "critical"}, "priority", 9),
        ({"priority": 0}, "priority", 0),
        ({"headers": {"a": 1, "b": True}}, "headers", {"a": 1, "b": True}),
        ({"correlation_id": "c"}, "correlation_id", "c"),
        ({"metadata": {"b": 2}}, "metadata", {"a": 1, "b": 2}),
        ({"id": "mine"}, "id", "mine"),
    ],
)
def test_each_option_sets_its_field_of_the_message(options: dict[str, Any], field: str, value: Any) -> None:
    message = composer().call(call(SendOptions(**options), metadata={"a": 1}, priority=3, expires=99.0)).message
    assert getattr(message, field) == value


def test_a_retry_policy_travels_with_the_message() -> None:
    policy = Retry.fixed(max_retries=7, delay=0.5, retry_on=(ConnectionError,))
    message = composer().call(call(SendOptions(retry=policy))).message
    assert msgspec.json.decode(message.retry, type=Retry) == policy


def test_a_follow_up_knows_its_family() -> None:
    origin = Origin(parent="p", root="r", id="derived")
    for outgoing in (composer().call(call(), origin=origin), composer().event({}, "things", "key", origin=origin)):
        assert (outgoing.message.id, outgoing.message.parent, outgoing.message.root) == ("derived", "p", "r")
    assert composer().call(call(SendOptions(id="mine")), origin=origin).message.id == "mine"


@dataclass
class Placed:
    order_id: str


@pytest.mark.parametrize(
    ("payload", "name"), [(Placed("1"), "Placed"), ({"a": 1}, ""), ([1], ""), ("x", ""), (None, ""), (1.5, "")]
)
def test_an_event_is_named_by_its_type(payload: object, name: str) -> None:
    outgoing = composer().event(payload, Exchange("orders", type="topic"), "order.eu", SendOptions(headers={"a": 1}))
    assert outgoing.message.name == name == event_name(type(payload))
    assert (outgoing.exchange, outgoing.routing_key, outgoing.record) == ("orders", "order.eu", None)
    assert (outgoing.message.exchange, outgoing.message.routing_key) == ("orders", "order.eu")
    assert outgoing.message.headers == {"a": 1}


@pytest.mark.parametrize(
    ("payload", "words"),
    [("x" * 100, "event of 102 bytes is over the limit of 50"), ([[[[[[1]]]]]], "deeper"), (object(), "cannot encode")],
)
def test_an_event_that_the_receiver_would_refuse_is_refused(payload: object, words: str) -> None:
    with pytest.raises(EncodeError, match=words):
        composer(limits=Limits(body=50, nesting=3)).event(payload, "orders", "")


@given(
    st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs", "Cc"])).filter(lambda name: not name.startswith("bk-")),
        st.text(st.characters(exclude_categories=["Cs", "Cc"]))
        | st.integers(-(2**63), 2**63 - 1)
        | st.booleans()
        | st.floats(allow_nan=False),
        max_size=5,
    )
)
def test_headers_arrive_as_they_were_given(headers: dict[str, Any]) -> None:
    given_headers = dict(headers)
    message = composer().call(call(SendOptions(headers=headers))).message
    headers["later"] = 1
    assert message.headers == given_headers


def test_headers_may_be_as_large_as_the_limit_and_no_larger() -> None:
    limited = composer(limits=Limits(headers=20))
    assert limited.call(call(SendOptions(headers={"a": "x" * 19}))).message.headers
    with pytest.raises(EncodeError, match="headers of 21 bytes are over the limit of 20"):
        limited.call(call(SendOptions(headers={"a": "x" * 20})))
    with pytest.raises(EncodeError, match="headers of 21 bytes"):
        limited.call(call(SendOptions(headers={"a": "ü" * 10})))  # bytes, not characters


@pytest.mark.parametrize(("keywords", "struct"), [(SendKeywords, SendOptions), (TaskKeywords, TaskOptions)])
def test_the_keywords_are_the_fields_of_the_struct(keywords: type, struct: type[msgspec.Struct]) -> None:
    assert list(keywords.__annotations__) == list(struct.__struct_fields__)


@pytest.mark.parametrize(("span", "expected"), [(1, 1.0), (0.5, 0.5), (timedelta(minutes=2), 120.0)])
def test_a_span_is_seconds_or_a_timedelta(span: float | timedelta, expected: float) -> None:
    assert seconds(span) == expected


def test_binding_sends_nothing_and_needs_no_open_app() -> None:
    app = App("memory://")

    @app.task(queue=Queue("payments"), priority="high", metadata={"shop": "eu"})
    async def charge(order_id: str) -> int:
        return len(order_id)

    bound = charge.options(delay=5).message("o-1")
    assert repr(bound) == "Call('charge', queue='payments')"
    assert (bound.profile.priority, bound.options.delay, bound.profile.metadata) == (7, 5, {"shop": "eu"})
    assert msgspec.msgpack.decode(bound.body) == {"order_id": "o-1"}
    assert bound.result(b"\x03", MSGPACK) == 3
    assert bound.result(b"3", JSON) == 3
