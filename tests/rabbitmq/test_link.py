"""One connection: its channels, its end, and what its users are told."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator

import aiormq
import pytest
from pamqp import commands

from brokerkit.errors import ConnectionLost, TransportError
from brokerkit.transports.rabbitmq.channel import ChannelLost, LinkChannel
from brokerkit.transports.rabbitmq.errors import closed_by, while_running
from brokerkit.transports.rabbitmq.frames import HEARTBEAT, publish_frames
from brokerkit.transports.rabbitmq.link import Link
from brokerkit.transports.rabbitmq.url import parse
from tests.brokers import broker_url
from tests.proxy import Proxy, proxy_to
from tests.rabbitmq.links import count, linked, queue, unique, until
from tests.rabbitmq.node import Node


@pytest.fixture(params=["rabbitmq", "rabbitmq-newer"])
def either(request: pytest.FixtureRequest) -> str:
    """The URL of each edition."""
    return broker_url(request.param)


@pytest.fixture
def url() -> str:
    return broker_url("rabbitmq")


@pytest.fixture
async def proxy(url: str) -> AsyncIterator[Proxy]:
    async with proxy_to(url) as proxy:
        yield proxy


class Heard:
    """A sink that keeps what it gets."""

    def __init__(self) -> None:
        self.deliveries: list[tuple[int, bytes]] = []
        self.confirms: list[tuple[int, bool, bool]] = []
        self.returns: list[str] = []
        self.cancels: list[str] = []

    def delivered(
        self, tag: int, redelivered: bool, exchange: bytes, routing_key: bytes, header: bytes, body: bytes
    ) -> None:
        self.deliveries.append((tag, body))

    def confirmed(self, tag: int, multiple: bool, ok: bool) -> None:
        self.confirms.append((tag, multiple, ok))

    def returned(self, reply_code: int, reply_text: str, header: bytes, body: bytes) -> None:
        self.returns.append(reply_text)

    def cancelled(self, consumer_tag: str) -> None:
        self.cancels.append(consumer_tag)

    def fed(self) -> None: ...


HEADER = b"\x00\x3c\x00\x00" + (3).to_bytes(8, "big") + b"\x00\x00"
"""The content header of a message of three bytes without properties."""


async def test_a_link_knows_its_broker_and_closes_leaving_nothing(either: str) -> None:
    async with linked(either) as link:
        assert link.version >= (3, 10)
        assert link.server_properties["product"] == "RabbitMQ"
        assert link.frame_max >= 4096
        assert link.reason is None
    assert link.lost.is_set()
    await link.close()


async def test_messages_are_published_confirmed_and_delivered_on_channels_with_sinks(either: str) -> None:
    async with queue(either) as name, linked(either) as link:
        sender, taker = Heard(), Heard()
        out = await link.channel(sender, confirms=True)
        inn = await link.channel(taker)
        await inn.consume(name, "me", no_ack=True)
        assert out.write(publish_frames(out.number, b"", name.encode(), HEADER, b"abc", link.frame_max))
        await link.drain()
        await until(lambda: bool(sender.confirms and taker.deliveries))
        assert sender.confirms == [(1, False, True)]
        assert taker.deliveries == [(1, b"abc")]


async def test_a_deleted_queue_is_told_to_its_consumer(either: str) -> None:
    async with queue(either) as name, linked(either) as link:
        taker = Heard()
        await (await link.channel(taker)).consume(name, "me")
        other = await link.channel()
        await other.rpc.queue_delete(name)
        await until(lambda: taker.cancels == ["me"])
        await other.rpc.queue_declare(name, durable=True, arguments={"x-queue-type": "classic"})


async def test_a_cut_ends_the_link_its_channels_and_questions_under_way(url: str, proxy: Proxy) -> None:
    async with linked(proxy.url(url)) as link:
        channel = await link.channel(Heard())
        told: list[object] = []
        channel.on_closed(told.append)
        link.on_lost.append(told.append)
        proxy.stall(up=False, down=True)
        async with asyncio.TaskGroup() as group:
            asking = group.create_task(raised_by(channel.rpc.queue_declare(unique("none"), passive=True)))
            await asyncio.sleep(0.05)
            proxy.cut()
        assert isinstance(while_running(asking.result()), ConnectionLost)
        assert told == [link.reason, link]
        assert isinstance(link.reason, ConnectionLost)
        assert channel.closed
        assert not channel.write(b"lost")
        link.write(b"lost")
        with pytest.raises(ConnectionLost):
            await link.drain()
        with pytest.raises(ConnectionLost):
            await link.channel()
        late: list[object] = []
        channel.on_closed(late.append)
        assert late == [link.reason], "who asks late is told at once"


async def raised_by(call: object) -> BaseException:
    """The error of an awaitable. A CancelledError that nobody asked for would end the test."""
    try:
        await call  # type: ignore[misc]
    except Exception as error:
        return error
    raise AssertionError("it did not fail")


async def test_closing_ends_questions_under_way_without_cancelling_who_asks(url: str, proxy: Proxy) -> None:
    async with linked(proxy.url(url)) as link:
        channels = [await link.channel() for _ in range(5)]
        proxy.stall(up=False, down=True)
        async with asyncio.TaskGroup() as group:
            asking = [
                group.create_task(raised_by(channel.rpc.queue_declare(unique("none"), passive=True)))
                for channel in channels
            ]
            await asyncio.sleep(0.05)
            await link.close(0.2)
        assert [type(while_running(task.result())) for task in asking] == [ConnectionLost] * 5


async def test_a_cancellation_that_comes_with_the_answer_is_not_forgotten(url: str) -> None:
    """``asyncio.wait_for`` in aiormq forgets it up to Python 3.11, and the task would go on for ever."""
    async with linked(url) as link:
        channel = await link.channel()
        for steps in range(40):  # a different moment each time; some of them between the answer and its receiver
            asked = asyncio.Event()

            async def ask(asked: asyncio.Event = asked, channel: LinkChannel = channel) -> None:
                asked.set()
                await channel.rpc.basic_qos(prefetch_count=1)
                await asyncio.sleep(60)

            async with asyncio.timeout(20), asyncio.TaskGroup() as group:
                task = group.create_task(ask())
                await asked.wait()
                await asyncio.sleep(steps * 0.00005)
                task.cancel()
            assert task.cancelled()
            if channel.closed:  # cancelled before the answer
                channel = await link.channel()


@pytest.mark.parametrize("lost", [False, True])
async def test_a_cancellation_of_closing_is_not_forgotten(url: str, proxy: Proxy, lost: bool) -> None:
    for steps in range(20):
        async with linked(proxy.url(url)) as link:
            channel = await link.channel()
            if lost:
                proxy.cut()
                await link.lost.wait()

            async def close(link: Link = link, channel: LinkChannel = channel) -> None:
                await channel.close()
                await link.close()
                await asyncio.sleep(60)

            async with asyncio.timeout(20), asyncio.TaskGroup() as group:
                task = group.create_task(close())
                await asyncio.sleep(steps * 0.0001)
                task.cancel()
            assert task.cancelled()


@pytest.mark.parametrize("stalled", ["up", "down", "both"])
async def test_closing_a_stalled_link_ends_in_time_and_leaves_nothing(url: str, proxy: Proxy, stalled: str) -> None:
    async with linked(proxy.url(url)) as link:
        channel = await link.channel(Heard())
        proxy.stall(up=stalled != "down", down=stalled != "up")
        link.write(bytes((HEARTBEAT, 0, 0, 0, 0, 0, 0, 0xCE)) * 1_000_000)
        async with asyncio.timeout(10):
            await channel.close(0.2)
            await link.close(0.5)


async def test_the_broker_closing_the_connection_is_told_in_its_own_words(node: Node) -> None:
    async with linked(node.url) as link:
        await node.cut_all()
        await link.lost.wait()
        assert link.closed is not None
        assert link.closed.code == 320
        assert "CONNECTION_FORCED - closed by a test" in str(link.reason)


async def test_a_half_open_connection_is_given_up_after_two_silent_heartbeats(url: str, proxy: Proxy) -> None:
    async with linked(proxy.url(url), options="?heartbeat=1") as link:
        proxy.half_open_now()
        await asyncio.wait_for(link.lost.wait(), 15)
        assert "nothing was heard" in str(link.reason)


async def test_an_idle_connection_is_kept_by_its_heartbeats(url: str, proxy: Proxy) -> None:
    async with linked(proxy.url(url), options="?heartbeat=1") as link:
        await link.channel(Heard())
        await asyncio.sleep(5)  # aiormq gives up after 6 s without a frame, the broker after 3
        assert link.reason is None


async def test_a_connection_that_only_receives_messages_is_not_taken_for_dead_by_aiormq(url: str) -> None:
    async with queue(url) as name, linked(url, options="?heartbeat=1") as link:
        heard = Heard()
        channel = await link.channel(heard, confirms=True)
        end = asyncio.get_running_loop().time() + 8  # aiormq gives up after 6
        while asyncio.get_running_loop().time() < end:
            channel.write(publish_frames(channel.number, b"", name.encode(), HEADER, b"abc", link.frame_max))
            await asyncio.sleep(0.02)
        assert link.reason is None
        assert len(heard.confirms) > 100


async def test_silence_is_believed_at_the_second_look_for_our_own_loop_may_have_stood_still() -> None:
    server = parse("amqp://localhost/")
    for alive in (True, False):
        link = Link(server, server.hosts[0], generation=1, deadline=0, tls=None)
        link._reader.last_heard -= 100
        link._look_after(1)
        assert not link.lost.is_set()
        if alive:  # what had come meanwhile is read by the loop's next round
            link._reader.last_heard = asyncio.get_running_loop().time()
        await asyncio.sleep(0.5)
        assert link.lost.is_set() is not alive
        link.lose("the test is over")


# Channels


async def test_a_channel_that_the_broker_closes_leaves_the_others_and_says_why(either: str) -> None:
    async with linked(either) as link:
        mine, other = await link.channel(Heard()), await link.channel(Heard())
        told: list[Exception | None] = []
        mine.on_closed(told.append)
        missing = unique("none")
        error = await raised_by(mine.rpc.queue_declare(missing, passive=True))
        closed = closed_by(error)
        assert closed is not None
        assert (closed.code, f"no queue '{missing}'" in closed.text) == (404, True)
        assert isinstance(mine.error, ChannelLost)
        assert mine.error.closed == closed
        assert told == [mine.error]
        assert not mine.write(b"never sent")
        await other.rpc.queue_declare("", exclusive=True)
        assert link.reason is None


async def test_frames_written_while_the_broker_closes_a_channel_do_not_end_the_connection(either: str) -> None:
    """A frame on a number that is closed at both ends ends the connection with 504; aiormq tells of the end only
    after it has answered it."""
    async with linked(either) as link:
        for _ in range(20):
            channel = await link.channel(Heard(), confirms=True)
            frames = publish_frames(channel.number, unique("none").encode(), b"", HEADER, b"abc", link.frame_max)
            async with asyncio.timeout(10):
                while channel.write(frames):
                    await asyncio.sleep(0)
        again = await link.channel()
        await again.rpc.queue_declare("", exclusive=True)
        assert link.reason is None


async def test_the_numbers_of_channels_are_used_again(url: str) -> None:
    """aiormq counts up from the largest: with one channel always open, the broker's 2047 would run out."""
    async with linked(url) as link:
        old = await link.channel()
        for _ in range(30):
            new = await link.channel()
            assert new.number <= 3
            await old.close()
            old = new


async def test_a_number_is_not_used_again_before_the_broker_has_closed_it(url: str, proxy: Proxy) -> None:
    async with linked(proxy.url(url)) as link:
        channel = await link.channel(Heard())
        proxy.stall(up=False, down=True)
        async with asyncio.TaskGroup() as group:
            closing = group.create_task(channel.close())
            opening = group.create_task(link.channel())
            await asyncio.sleep(0.05)
            proxy.heal()
        assert closing.done()
        assert opening.result().number != channel.number


async def test_a_question_without_an_answer_ends_its_channel_not_the_link(url: str, proxy: Proxy) -> None:
    async with linked(proxy.url(url)) as link:
        channel = await link.channel(Heard(), confirms=True)
        proxy.stall(up=False, down=True)
        with pytest.raises(TimeoutError):
            await channel.rpc.queue_declare("", exclusive=True, timeout=0.2)
        await until(lambda: channel.closed)
        assert isinstance(channel.error, TransportError)
        assert not channel.write(publish_frames(channel.number, b"", b"x", HEADER, b"abc", link.frame_max))
        proxy.heal()
        again = await link.channel()
        await again.rpc.queue_declare("", exclusive=True)
        assert link.reason is None


async def test_what_arrives_for_a_channel_that_we_close_reaches_nobody(url: str, proxy: Proxy) -> None:
    async with queue(url) as name, linked(proxy.url(url)) as link:
        taker, sender = Heard(), Heard()
        inn, out = await link.channel(taker), await link.channel(sender, confirms=True)
        await inn.consume(name, "me")
        proxy.stall(up=False, down=True)
        out.write(publish_frames(out.number, b"", name.encode(), HEADER, b"abc", link.frame_max) * 10)
        while proxy.held == 0 or await count(url, name):  # until the broker has delivered all ten
            await asyncio.sleep(0.02)
        async with asyncio.TaskGroup() as group:
            group.create_task(inn.close())
            await asyncio.sleep(0.1)
            proxy.heal()
        await until(lambda: bool(sender.confirms))
        assert taker.deliveries == []
        await (await link.channel()).rpc.queue_declare("", exclusive=True)


async def test_a_large_message_goes_out_in_frames_and_comes_back_whole(url: str) -> None:
    body = bytes(range(256)) * 4096
    header = b"\x00\x3c\x00\x00" + len(body).to_bytes(8, "big") + b"\x00\x00"
    async with queue(url) as name, linked(url) as link:
        taker = Heard()
        channel = await link.channel(taker, confirms=True)
        channel.write(publish_frames(channel.number, b"", name.encode(), header, body, link.frame_max))
        await channel.consume(name, "me", no_ack=True)
        await until(lambda: bool(taker.deliveries))
        assert taker.deliveries[0][1] == body


# Logs


async def test_what_aiormq_says_of_our_connections_is_not_heard_twice(
    node: Node, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with linked(node.url) as link:
        channel = await link.channel()
        await raised_by(channel.rpc.queue_declare(unique("none"), passive=True))
        await node.cut_all()
        await link.lost.wait()
    assert [record.getMessage() for record in caplog.records if record.name.startswith("aiormq")] == []


async def test_what_aiormq_says_of_a_programs_own_connections_is_heard_as_before(
    node: Node, caplog: pytest.LogCaptureFixture
) -> None:
    async with linked(node.url) as link:
        theirs = await aiormq.connect(node.url)
        closing = theirs.closing
        await node.cut_all()
        await link.lost.wait()
        with pytest.raises(aiormq.exceptions.AMQPError):
            await closing
        await until(lambda: "close_writer_task" not in str(asyncio.all_tasks()))
    assert any("Unexpected connection close" in record.getMessage() for record in caplog.records)
    assert any(record.levelno == logging.ERROR and record.name == "aiormq.connection" for record in caplog.records)


async def test_what_aiormq_says_of_our_connections_can_be_had_at_debug(
    node: Node, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with linked(node.url) as link:
        await node.cut_all()
        await link.lost.wait()
    found = [record for record in caplog.records if "Unexpected connection close" in record.getMessage()]
    assert [record.levelname for record in found] == ["DEBUG"]


def test_the_reply_codes_of_channels_are_known() -> None:
    raised = aiormq.exceptions.ChannelPreconditionFailed("PRECONDITION_FAILED - inequivalent arg")
    assert str(closed_by(raised)) == "PRECONDITION_FAILED - inequivalent arg (406)"
    assert str(closed_by(aiormq.exceptions.ChannelClosed(541, "INTERNAL_ERROR"))) == "INTERNAL_ERROR (541)"
    assert closed_by(aiormq.exceptions.ChannelClosed(None, None)) is None
    assert closed_by(ValueError()) is None
    assert commands.Basic.Publish.index == 0x003C0028
