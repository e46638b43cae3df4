"""The reader, fed with what is not AMQP."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pamqp import commands

from brokerkit.transports.rabbitmq.reader import Malformed
from tests.rabbitmq.streams import HEARTBEAT, Bench, bench, delivery, method, sample, split


def _broken(change: Callable[[list[bytes]], list[bytes]]) -> bytes:
    return b"".join(change(split(delivery(1, 1, b"x" * 60, frame_max=40)[0])))


DELIVER = method(commands.Basic.Deliver("ctag", 1, False, "", "key"), 1)


def frame(kind: int, channel: int, payload: bytes, end: bytes = b"\xce") -> bytes:
    return bytes([kind]) + channel.to_bytes(2, "big") + len(payload).to_bytes(4, "big") + payload + end


FIVE = frame(2, 1, b"\0\x3c\0\0" + bytes(7) + b"\x05\0\0")
"""A content header that announces five bytes."""


@pytest.mark.parametrize(
    "stream",
    [
        pytest.param(b"HTTP/1.1 400 Bad Request\r\n\r\n", id="a web server"),
        pytest.param(b"SSH-2.0-OpenSSH_9.6\r\n", id="an ssh server"),
        pytest.param(b"\x15\x03\x03\x00\x02\x02\x28\x00\x00", id="a TLS alert"),
        pytest.param(b"\x01\x00\x00\x7f\xff\xff\xff\x00", id="a method of 2 GiB"),
        pytest.param(b"\x03\x00\x01\x00\x02\x00\x00\x00", id="a frame over frame_max"),
        pytest.param(HEARTBEAT[:-1] + b"\x00", id="no end byte"),
        pytest.param(DELIVER[:-1] + b"\x00", id="no end byte after a delivery"),
        pytest.param(_broken(lambda frames: [frames[0], frames[0]]), id="a delivery in a delivery"),
        pytest.param(_broken(lambda frames: [frames[0], frames[2]]), id="a body before its header"),
        pytest.param(_broken(lambda frames: [*frames[:2], frames[1]]), id="two headers"),
        pytest.param(_broken(lambda frames: [*frames[:3], frames[2], frames[2]]), id="too much body"),
        pytest.param(DELIVER + frame(2, 1, bytes(14)), id="a header of class 0"),
        pytest.param(DELIVER + frame(2, 1, b"\0\x3c\0\0"), id="a short header"),
        pytest.param(DELIVER + frame(2, 1, FIVE[7:19]) + frame(3, 1, b"12345"), id="a header without flags"),
        pytest.param(DELIVER + frame(2, 1, b"\0\x3c\0\0" + b"\x7f" * 8 + b"\0\0"), id="a body of exabytes"),
        pytest.param(
            DELIVER + FIVE + frame(3, 1, b""), id="an empty piece of a body"
        ),
        pytest.param(
            DELIVER + FIVE + frame(3, 1, b"12345", b"\0"), id="a body without end"
        ),
        pytest.param(DELIVER + frame(2, 1, b"\0\x3c\0\0" + bytes(10), b"\0"), id="a header without end"),
        pytest.param(frame(1, 1, b"\0\x3c\0\x3c"), id="a delivery without arguments"),
        pytest.param(frame(1, 1, b"\0\x3c\0\x3c\x04ctag" + bytes(9)), id="a delivery without a key"),
        pytest.param(frame(1, 1, b"\0\x3c\0\x3c\x04ctag" + bytes(9) + b"\0\x05a"), id="a key that is too long"),
        pytest.param(frame(1, 1, b"\0\x3c\0\x3c\x04ctag" + bytes(9) + b"\0\0a"), id="a key that is too short"),
        pytest.param(frame(1, 1, b"\0\x3c\0\x50\0"), id="an ack without a tag"),
        pytest.param(frame(1, 1, b"\0\x3c\0\x32\0\0"), id="a return without a text"),
    ],
)  # fmt: skip
async def test_a_malformed_stream_is_reported_once_and_read_no_further(stream: bytes) -> None:
    good, event = delivery(1, 1)
    for prefix, expected in ((b"", []), (good, [event])):
        for size in (1, len(prefix + stream)):
            desk = Bench(1)
            whole = prefix + stream
            desk.feed(whole[start : start + size] for start in range(0, len(whole), size))
            assert [type(error) for error in desk.errors] == [Malformed]
            assert desk.sinks[1].events == expected
            assert desk.sinks[1].feeds >= len(expected)
            desk.feed([good, b"x" * 100_000])
            assert len(desk.errors) == 1
            assert desk.sinks[1].events == expected
            assert len(desk.passed()) < 200
            assert not desk.reader._held
            assert not desk.reader._contents


async def test_a_server_of_another_version_is_left_to_aiormq() -> None:
    for size in (1, 2, 8):
        greeting = b"AMQP\x00\x01\x00\x00"
        desk = Bench()
        desk.feed(greeting[start : start + size] for start in range(0, 8, size))
        desk.reader.feed_eof()
        assert desk.passed() == greeting
        assert not desk.errors


@given(st.data())
def test_noise_in_a_stream_never_raises_nor_fills_the_memory(data: st.DataObject) -> None:
    stream = bytearray(sample()[0])
    for _ in range(data.draw(st.integers(1, 4))):
        stream[data.draw(st.integers(0, len(stream) - 1))] = data.draw(st.integers(0, 255))
    desk = bench(1)
    size = data.draw(st.sampled_from([1, 50, len(stream)]))
    desk.feed(bytes(stream[start : start + size]) for start in range(0, len(stream), size))
    assert sum(map(len, desk.reader._held)) <= desk.reader.frame_max
    assert len(desk.errors) <= 1
