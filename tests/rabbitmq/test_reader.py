"""The reader, fed with frames that pamqp wrote, in one piece and in every other way they may arrive."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence

import pamqp.frame
import pytest
from aiormq.connection import FrameReceiver
from hypothesis import given
from hypothesis import strategies as st
from pamqp import commands

from brokerkit.transports.rabbitmq.content import MAX_BODY
from tests.rabbitmq.streams import HEARTBEAT, Bench, Event, bench, content, delivery, method, returned, sample, split

# However it is cut


async def test_everything_of_a_channel_is_taken_and_the_rest_is_passed_on() -> None:
    stream, events, rest = sample()
    desk = Bench(1)
    desk.feed([stream])
    assert desk.sinks[1].events == events
    assert desk.passed() == rest
    assert not desk.errors


async def test_frames_may_be_split_at_every_byte() -> None:
    stream, events, rest = sample()
    for cut in range(1, len(stream)):
        desk = Bench(1)
        desk.feed([stream[:cut], stream[cut:]])
        assert desk.sinks[1].events == events, cut
        assert desk.passed() == rest, cut


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 9, 64])
async def test_a_stream_may_come_in_small_pieces(size: int) -> None:
    stream, events, rest = sample()
    desk = Bench(1)
    desk.feed(stream[start : start + size] for start in range(0, len(stream), size))
    assert desk.sinks[1].events == events
    assert desk.passed() == rest


async def test_nothing_is_taken_without_a_sink() -> None:
    stream, _, _ = sample()
    desk = Bench()
    desk.feed([stream])
    assert desk.passed() == stream


@pytest.mark.parametrize("size", [0, 1, 4088, 4089, 8176, 8177, 1_000_000])
async def test_bodies_of_any_size_arrive(size: int) -> None:
    data, event = delivery(1, 1, bytes(range(256)) * (size // 256) + b"x" * (size % 256))
    following, next_event = delivery(1, 2, b"next")
    for step in (len(data), 65536, 1448):
        desk = Bench(1)
        desk.feed(data[start : start + step] for start in range(0, len(data), step))
        desk.feed([following])
        assert desk.sinks[1].events == [event, next_event]


async def test_messages_of_several_channels_may_be_interleaved_frame_by_frame() -> None:
    messages = {channel: delivery(channel, channel, bytes([channel]) * 100, frame_max=40) for channel in (1, 2, 3)}
    streams = [split(data) for data, _ in messages.values()]
    desk = Bench(1, 2)
    mixed = [*itertools.chain.from_iterable(zip(*streams, strict=True)), HEARTBEAT]
    desk.feed([b"".join(mixed)])
    assert [desk.sinks[channel].events for channel in (1, 2)] == [[messages[1][1]], [messages[2][1]]]
    assert desk.passed() == messages[3][0] + HEARTBEAT


async def test_a_body_goes_to_its_own_channel_whatever_stands_beside_it() -> None:
    (first, event), (second, other) = delivery(1, 1, b"first"), delivery(2, 1, b"other")
    streams = split(first), split(second)
    desk = Bench(1, 2)
    desk.feed([b"".join([*streams[1][:2], *streams[0][:2], streams[1][2], streams[0][2]])])
    assert (desk.sinks[1].events, desk.sinks[2].events) == ([event], [other])


events_of = st.one_of(
    st.builds(
        lambda channel, tag, body, redelivered, exchange, key, frame_max: (
            channel,
            *delivery(channel, tag, body, redelivered=redelivered, exchange=exchange, key=key, frame_max=frame_max),
        ),
        st.integers(1, 4), st.integers(1, 2**63 - 1), st.binary(max_size=80), st.booleans(),
        st.text("abc.-_:", max_size=10), st.text(max_size=10), st.integers(16, 100),
    ),
    st.builds(
        lambda channel, code, text, body: (channel, *returned(channel, code, text, body, 32)),
        st.integers(1, 4), st.integers(0, 65535), st.text(max_size=20), st.binary(max_size=80),
    ),
    st.builds(
        lambda channel, tag, multiple: (
            channel, method(commands.Basic.Ack(tag, multiple), channel), ("confirmed", tag, multiple, True)
        ),
        st.integers(1, 4), st.integers(0, 2**63 - 1), st.booleans(),
    ),
    st.sampled_from(
        [
            (0, HEARTBEAT, None),
            (1, method(commands.Queue.BindOk(), 1), None),
            (2, method(commands.Basic.QosOk(), 2), None),
            (0, method(commands.Connection.Blocked("low on memory"), 0), None),
            (2, method(commands.Basic.GetOk(1, True, "", "q", 3), 2) + content(2, b"got" * 20, 32), None),
        ]
    ),
)  # fmt: skip
"""A channel, bytes, and what its sink is to be told: None where the bytes are to be passed on."""


@given(st.lists(events_of, max_size=12), st.data())
def test_any_stream_cut_anywhere_is_told_as_pamqp_wrote_it(
    items: Sequence[tuple[int, bytes, Event | None]], data: st.DataObject
) -> None:
    """Channels 1 and 2 have sinks, 3 and 4 have none."""
    stream = b"".join(part for _, part, _ in items)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(stream)), max_size=8)))
    desk = bench(1, 2)
    desk.feed(stream[start:end] for start, end in itertools.pairwise([0, *cuts, len(stream)]))
    for channel, sink in desk.sinks.items():
        assert sink.events == [event for number, _, event in items if number == channel and event is not None]
    assert desk.passed() == b"".join(part for number, part, event in items if event is None or number > 2)
    assert not desk.errors


# Heartbeats and wake-ups


async def test_a_sink_is_woken_once_for_each_read() -> None:
    parts = [delivery(1, tag)[0] + delivery(2, tag)[0] for tag in range(1, 11)]
    desk = Bench(1, 2)
    desk.feed([b"".join(parts[:5]), b"".join(parts[5:]), HEARTBEAT, delivery(3, 1)[0]])
    assert [sink.feeds for sink in desk.sinks.values()] == [2, 2]
    assert [len(sink.events) for sink in desk.sinks.values()] == [10, 10]


async def test_a_sink_is_not_woken_for_part_of_a_frame() -> None:
    data, event = delivery(1, 1)
    desk = Bench(1)
    desk.feed([data[:10]])
    assert desk.sinks[1].feeds == 0
    desk.feed([data[10:]])
    assert (desk.sinks[1].feeds, desk.sinks[1].events) == (1, [event])


async def test_aiormq_gets_a_heartbeat_a_second_while_all_is_taken() -> None:
    data, _ = delivery(1, 1)
    desk = Bench(1)
    for _ in range(100):
        desk.feed([data])
        desk.time += 0.1
    assert desk.passed() == HEARTBEAT * 9
    assert len(desk.sinks[1].events) == 100


async def test_the_brokers_own_heartbeats_pass_under_load() -> None:
    data, _ = delivery(1, 1)
    desk = Bench(1)
    for number in range(100):
        desk.feed([data + HEARTBEAT if number % 10 == 0 else data])
        desk.time += 0.05
    assert desk.passed() == HEARTBEAT * 10
    assert len(desk.sinks[1].events) == 100


async def test_pieces_of_a_large_frame_are_signs_of_life() -> None:
    data, event = delivery(1, 1, b"x" * 4000)
    desk = Bench(1)
    for start in range(0, len(data), 100):
        desk.feed([data[start : start + 100]])
        assert desk.reader.last_heard == desk.time
        desk.time += 1
    assert HEARTBEAT in desk.passed()
    assert desk.sinks[1].events == [event]


async def test_no_heartbeat_is_made_up_while_the_connection_is_being_opened() -> None:
    start = method(commands.Connection.Start(server_properties={"a": "b"}, mechanisms="PLAIN", locales="en"), 0)
    desk = Bench()
    for number in range(len(start)):
        desk.feed([start[number : number + 1]])
        desk.time += 5
    assert desk.passed() == start


# The connection's own methods


async def test_control_methods_are_shown_and_passed_on() -> None:
    frames = [
        (0, commands.Connection.Blocked("low on memory")),
        (0, commands.Connection.Unblocked()),
        (1, commands.Channel.Close(406, "PRECONDITION_FAILED", 0, 0)),
        (2, commands.Channel.CloseOk()),
        (0, commands.Connection.Close(320, "CONNECTION_FORCED", 0, 0)),
    ]
    stream = b"".join(method(frame, channel) for channel, frame in frames)
    desk = Bench(1)
    desk.feed([stream])
    assert desk.controls == [(channel, method(frame, channel)[7:-1]) for channel, frame in frames]
    assert desk.passed() == stream
    assert desk.sinks[1].events == []


async def test_the_largest_frame_is_what_the_broker_says() -> None:
    desk = Bench()
    desk.feed([method(commands.Connection.Tune(2047, 4096, 60), 0)])
    assert desk.reader.frame_max == 4096
    desk.feed([method(commands.Connection.Tune(2047, 0, 60), 0)])
    assert desk.reader.frame_max == MAX_BODY


async def test_a_message_ends_with_its_channel() -> None:
    data, _ = delivery(1, 1, b"x" * 100, frame_max=40)
    close = method(commands.Channel.Close(406, "timeout", 0, 0), 1)
    following, event = delivery(1, 1, b"reopened")
    desk = Bench(1)
    desk.feed([split(data)[0] + split(data)[1] + close, following])
    assert desk.sinks[1].events == [event]
    assert desk.passed() == close
    assert desk.controls == [(1, close[7:-1])]


async def test_a_message_whose_channel_has_lost_its_sink_is_dropped_whole() -> None:
    data, _ = delivery(1, 1, b"x" * 100, frame_max=40)
    frames = split(data)
    desk = Bench(1)
    desk.feed(frames[:2])
    del desk.reader.sinks[1]
    desk.feed([*frames[2:], HEARTBEAT])
    assert desk.sinks[1].events == []
    assert desk.passed() == HEARTBEAT
    assert not desk.errors


async def test_a_sink_may_let_go_of_its_channel_when_it_is_told() -> None:
    desk = Bench(1)
    desk.sinks[1].cancelled = lambda consumer_tag: desk.reader.sinks.clear()  # type: ignore[method-assign]
    following, _ = delivery(1, 2)
    desk.feed([delivery(1, 1)[0] + method(commands.Basic.Cancel("ctag", True), 1) + following])
    assert [event[1] for event in desk.sinks[1].events] == [1]
    assert desk.passed() == following


async def test_aiormq_learns_of_the_end() -> None:
    data, _ = delivery(1, 1)
    desk = Bench(1)
    desk.feed([data, data[:20]])
    desk.reader.feed_eof()
    with pytest.raises(asyncio.IncompleteReadError):
        await desk.reader.readexactly(21)
    assert desk.reader.at_eof()


# In the hands of aiormq


async def test_aiormq_reads_what_is_left_frame_by_frame() -> None:
    stream, _, rest = sample()
    desk = Bench(1)
    receiver = FrameReceiver(desk.reader)
    found: list[bytes] = []

    async def receive() -> None:
        async for _, channel, received in receiver:
            assert received is not None
            found.append(pamqp.frame.marshal(received, channel))

    async with asyncio.TaskGroup() as group:
        task = group.create_task(receive())
        for start in range(0, len(stream), 50):
            desk.feed([stream[start : start + 50]])
            await asyncio.sleep(0)
        while len(found) < len(split(rest)):
            await asyncio.sleep(0)
        task.cancel()
    assert b"".join(found) == rest
