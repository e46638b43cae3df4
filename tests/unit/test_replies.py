"""Results on their way back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokerkit.errors import DecodeError
from brokerkit.message import MSGPACK, Message
from brokerkit.records import ErrorInfo, TaskStatus
from brokerkit.replies import REPLIES, Reply, chunks, pack, unpack

errors = st.none() | st.builds(ErrorInfo, st.text(max_size=20), st.text(max_size=50), st.text(max_size=200))
replies = st.builds(
    Reply,
    st.text(min_size=1, max_size=10),
    st.integers(1, 5),
    st.sampled_from([status for status in TaskStatus if status.terminal]),
    st.none() | st.binary(max_size=300),
    st.just(MSGPACK),
    errors,
    st.integers(1, 9),
)


@given(st.lists(replies, max_size=20))
def test_what_is_packed_is_unpacked(batch: list[Reply]) -> None:
    outgoing = pack("bk.inbox.me", batch, "m-1", 5.0)
    assert unpack(outgoing.message) == batch
    assert (outgoing.exchange, outgoing.routing_key, outgoing.message.created) == ("", "bk.inbox.me", 5.0)


@given(st.lists(replies, max_size=30), st.integers(1, 2_000))
def test_chunks_keep_order_lose_nothing_and_stay_within_the_limit(batch: list[Reply], limit: int) -> None:
    parts = list(chunks(batch, limit))
    assert [reply for part in parts for reply in part] == batch
    assert all(parts), "no chunk is empty"
    for part in parts:
        size = sum(len(reply.result or b"") for reply in part)
        assert len(part) == 1 or size <= limit


@pytest.mark.parametrize(
    "message",
    [
        Message(id="m", name="other", body=b"\x90"),
        Message(id="m", name=REPLIES, body=b"\xc1"),
        Message(id="m", name=REPLIES, body=b"\x91\x01"),
        Message(id="m", name=REPLIES, body=b"[]", content_type="application/json"),
    ],
)
def test_what_is_not_replies_is_refused(message: Message) -> None:
    with pytest.raises(DecodeError):
        unpack(message)
