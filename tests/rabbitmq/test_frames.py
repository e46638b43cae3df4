"""Frames of ours, read and written by pamqp."""

from __future__ import annotations

import pamqp.frame
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pamqp import commands
from pamqp.body import ContentBody
from pamqp.header import ContentHeader

from brokerkit.errors import EncodeError
from brokerkit.transports.rabbitmq.frames import ack_frame, nack_frame, publish_frames, reject_frame

CHANNELS = st.integers(1, 65535)
TAGS = st.integers(0, 2**63 - 1)
NAMES = st.text(max_size=63).map(str.encode)  # at most 252 bytes


def header_for(body: bytes) -> bytes:
    return ContentHeader(body_size=len(body), properties=commands.Basic.Properties(message_id="m1")).marshal()


def unmarshal(data: bytes) -> list[tuple[int, int, object]]:
    """Size on the wire, channel and frame of each."""
    frames: list[tuple[int, int, object]] = []
    while data:
        size, channel, frame = pamqp.frame.unmarshal(data)
        frames.append((size, channel, frame))
        data = data[size:]
    return frames


def publish(body: bytes, frame_max: int, channel: int = 1) -> list[tuple[int, int, object]]:
    return unmarshal(publish_frames(channel, b"shop", b"orders.eu", header_for(body), body, frame_max))


@given(CHANNELS, NAMES, NAMES, st.binary(max_size=300), st.integers(64, 200))
def test_pamqp_reads_what_we_publish(
    channel: int, exchange: bytes, routing_key: bytes, body: bytes, frame_max: int
) -> None:
    data = publish_frames(channel, exchange, routing_key, header_for(body), body, frame_max)
    (_, _, method), (_, _, header), *pieces = frames = unmarshal(data)
    assert isinstance(method, commands.Basic.Publish)
    assert (method.exchange, method.routing_key) == (exchange.decode(), routing_key.decode())
    assert (method.mandatory, method.immediate) == (True, False)
    assert isinstance(header, ContentHeader)
    assert (header.body_size, header.properties.message_id) == (len(body), "m1")
    assert b"".join(piece.value for _, _, piece in pieces if isinstance(piece, ContentBody)) == body
    assert {number for _, number, _ in frames} == {channel}
    assert all(0 < size <= frame_max for size, _, _ in frames[1:])


@pytest.mark.parametrize(("size", "pieces"), [(0, 0), (1, 1), (92, 1), (93, 2), (184, 2), (185, 3)])
def test_a_body_takes_as_few_frames_as_it_can(size: int, pieces: int) -> None:
    assert len(publish(b"x" * size, frame_max=100)) == 2 + pieces


def test_without_a_limit_every_body_is_one_frame() -> None:
    assert len(publish(b"x" * 1_000_000, frame_max=0)) == 3
    assert len(publish(b"", frame_max=0)) == 2


@pytest.mark.parametrize("body", [b"", b"x", b"x" * 1000])
def test_headers_that_do_not_fit_into_a_frame_are_an_error(body: bytes) -> None:
    header = header_for(body)
    assert len(unmarshal(publish_frames(1, b"", b"q", header, body, len(header) + 8))) >= 2
    with pytest.raises(EncodeError, match="one frame"):
        publish_frames(1, b"", b"q", header, body, len(header) + 7)


@pytest.mark.parametrize(("exchange", "routing_key", "what"), [(256, 1, "exchange"), (1, 256, "routing key")])
def test_names_that_amqp_cannot_hold_are_an_error(exchange: int, routing_key: int, what: str) -> None:
    with pytest.raises(EncodeError, match=f"{what}.*256 bytes"):
        publish_frames(1, b"e" * exchange, b"k" * routing_key, header_for(b""), b"", 131072)


def test_names_of_255_bytes_pass() -> None:
    (_, _, method), *_ = unmarshal(publish_frames(1, b"e" * 255, b"k" * 255, header_for(b""), b"", 131072))
    assert isinstance(method, commands.Basic.Publish)
    assert (method.exchange, method.routing_key) == ("e" * 255, "k" * 255)


def test_any_number_of_keys_goes_where_it_should() -> None:
    for number in [*range(3000), *range(3000)]:
        key = f"user.{number}"
        (_, channel, method), _ = unmarshal(
            publish_frames(1 + number % 2, b"", key.encode(), header_for(b""), b"", 4096)
        )
        assert isinstance(method, commands.Basic.Publish)
        assert (channel, method.routing_key) == (1 + number % 2, key)


@given(CHANNELS, TAGS, st.booleans(), st.booleans())
def test_settling_is_byte_for_byte_what_pamqp_writes(channel: int, tag: int, multiple: bool, requeue: bool) -> None:
    assert ack_frame(channel, tag, multiple) == pamqp.frame.marshal(commands.Basic.Ack(tag, multiple), channel)
    assert reject_frame(channel, tag, requeue) == pamqp.frame.marshal(commands.Basic.Reject(tag, requeue), channel)
    nack = commands.Basic.Nack(tag, multiple, requeue)
    assert nack_frame(channel, tag, multiple, requeue) == pamqp.frame.marshal(nack, channel)
