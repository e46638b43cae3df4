"""Confirmed publishing: every message gets the answer that is true, by its deadline, whatever happens on the way."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest

from brokerkit.errors import BrokerBlocked, ConnectFailed, ConnectionLost
from brokerkit.message import Message
from brokerkit.transport import Published
from brokerkit.transports.rabbitmq.outlet import Outlet, Prepared
from brokerkit.transports.rabbitmq.publishing import Publisher
from tests.brokers import broker_url
from tests.proxy import Proxy, proxy_to
from tests.rabbitmq.links import connected, contents, count, linked, prepared, queue, unique, until
from tests.rabbitmq.node import Node

CONFIRMED, UNROUTABLE, FULL = Published.CONFIRMED, Published.UNROUTABLE, Published.FULL
REFUSED, UNKNOWN = Published.REFUSED, Published.UNKNOWN


LIMIT = "application:set_env(rabbit, max_message_size, {0}), persistent_term:put(max_message_size, {0})"


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


@pytest.mark.parametrize("kind", ["classic", "quorum"])
async def test_each_message_is_in_its_queue_once_and_in_order(either: str, kind: str) -> None:
    async with queue(either, kind=kind) as name, connected(either) as connection:
        answers = await Publisher(connection).publish([prepared(name, n) for n in range(3000)], deadline=30)
        assert answers == [CONFIRMED] * 3000
        found = await contents(either, name)
    assert [message["bk-id"] for message in found] == [f"m-{n}" for n in range(3000)]
    assert len({message["message_id"] for message in found}) == 3000


async def test_nothing_to_publish_is_answered_at_once(url: str) -> None:
    async with connected(url) as connection:
        assert await Publisher(connection).publish([], deadline=0) == []


async def test_unroutable_messages_are_told_apart_from_those_beside_them(either: str) -> None:
    async with queue(either) as name, connected(either) as connection:
        none = unique("none")
        answers = await Publisher(connection).publish(
            [prepared(none if n % 3 else name, n) for n in range(900)], deadline=30
        )
        assert answers == [UNROUTABLE if n % 3 else CONFIRMED for n in range(900)]
        assert await count(either, name) == 300


async def test_two_messages_of_one_id_in_flight_get_an_answer_each(either: str) -> None:
    """Returns find their publish by a number of its own, not by the id of the message."""
    async with queue(either) as name, connected(either) as connection:
        message = Message(id="twin", name="task", body=b"")
        items = [Prepared("", unique("none"), message), Prepared("", name, message)] * 50
        assert await Publisher(connection).publish(items, deadline=30) == [UNROUTABLE, CONFIRMED] * 50


async def test_a_full_queue_answers_full_where_there_is_a_limit_and_refused_elsewhere(either: str) -> None:
    limit: dict[str, Any] = {"x-max-length": 3, "x-overflow": "reject-publish"}
    async with queue(either, **limit) as name, connected(either) as connection:
        publisher = Publisher(connection)
        first = await publisher.publish([prepared(name, n, nack=FULL) for n in range(20)], deadline=30)
        assert Counter(first) == {CONFIRMED: 3, FULL: 17}
        assert await publisher.publish([prepared(name)], deadline=30) == [REFUSED]
        assert await count(either, name) == 3


async def test_a_missing_exchange_is_unroutable_and_does_not_harm_the_others(either: str) -> None:
    async with queue(either) as name, connected(either) as connection:
        publisher, none = Publisher(connection), unique("none")
        mixed = [prepared(name, n, exchange=none if n in {50, 51, 700} else "") for n in range(1000)]
        async with asyncio.TaskGroup() as group:
            one = group.create_task(publisher.publish(mixed, deadline=30))
            two = group.create_task(publisher.publish([prepared(name, n) for n in range(1000)], deadline=30))
        assert one.result() == [UNROUTABLE if n in {50, 51, 700} else CONFIRMED for n in range(1000)]
        assert two.result() == [CONFIRMED] * 1000
        ids = {message["bk-id"] for message in await contents(either, name)}
        assert ids >= {f"m-{n}" for n in range(1000)}


async def test_an_exchange_that_may_not_be_written_to_refuses(node: Node) -> None:
    async with queue(node.url) as name:
        user = unique("user")
        url = node.add_user(user, "secret")
        node.allow(user, write=name)
        async with linked(node.url) as link, connected(url) as connection:
            exchange = unique("exchange")
            await (await link.channel()).rpc.exchange_declare(exchange)
            answers = await Publisher(connection).publish([prepared(name, exchange=exchange)] * 3, deadline=30)
            assert answers == [REFUSED] * 3


async def test_a_message_the_broker_finds_too_large_is_found_out_and_refused_alone(node: Node) -> None:
    """The broker closes the channel without saying which message it was."""
    await asyncio.to_thread(node.evaluate, LIMIT.format(100_000))
    try:
        async with queue(node.url) as name, connected(node.url) as connection:
            items = [prepared(name, n, body=b"x" * (100_001 if n == 7 else 10)) for n in range(20)]
            answers = await Publisher(connection).publish(items, deadline=30)
            assert answers == [REFUSED if n == 7 else CONFIRMED for n in range(20)]
            assert {m["bk-id"] for m in await contents(node.url, name)} == {f"m-{n}" for n in range(20) if n != 7}
    finally:
        await asyncio.to_thread(node.evaluate, LIMIT.format(134_217_728))


async def test_what_amqp_cannot_carry_is_refused_before_it_leaves(url: str, caplog: pytest.LogCaptureFixture) -> None:
    async with queue(url) as name, connected(url) as connection:
        endless = Message(id="endless", name="task", body=b"", headers={"h": "x" * 200_000})
        items = [prepared(name), prepared("k" * 256), Prepared("", name, endless), prepared(name)]
        assert await Publisher(connection).publish(items, deadline=30) == [CONFIRMED, REFUSED, REFUSED, CONFIRMED]
    assert any("endless" in record.getMessage() for record in caplog.records)


async def test_large_messages_pass_beside_small_ones(url: str) -> None:
    async with queue(url) as name, connected(url) as connection:
        items = [prepared(name, n, body=b"x" * (700_000 if n % 2 else 1)) for n in range(40)]
        assert await Publisher(connection).publish(items, deadline=50) == [CONFIRMED] * 40
        assert await count(url, name) == 40


# Deadlines


async def test_swallowed_confirmations_leave_the_fate_unknown_at_the_deadline(url: str, proxy: Proxy) -> None:
    async with queue(url) as name, connected(proxy.url(url)) as connection:
        publisher = Publisher(connection)
        assert await publisher.publish([prepared(name)], deadline=20) == [CONFIRMED]
        proxy.swallowing = True
        async with asyncio.timeout(10):
            answers = await publisher.publish([prepared(name, n) for n in range(700)], deadline=0.5)
        assert answers == [UNKNOWN] * 700
        assert await count(url, name) == 513, "a window of 512 had left, and arrived"


@pytest.mark.parametrize("size", [256, 1_000_000])
async def test_a_deadline_is_kept_when_the_socket_takes_no_more(url: str, proxy: Proxy, size: int) -> None:
    async with queue(url) as name, connected(proxy.url(url)) as connection:
        publisher = Publisher(connection)
        assert await publisher.publish([prepared(name)], deadline=20) == [CONFIRMED]
        proxy.stall()
        body = b"x" * size
        async with asyncio.timeout(10):
            answers = await publisher.publish([prepared(name, n, body=body) for n in range(60)], deadline=0.5)
        assert answers == [UNKNOWN] * 60
        async with asyncio.timeout(10), asyncio.TaskGroup() as group:
            for _ in range(5):
                group.create_task(publisher.publish([prepared(name)], deadline=0.5))
        proxy.heal()
        assert await publisher.publish([prepared(name)], deadline=30) == [CONFIRMED]


async def test_messages_given_up_make_room_in_the_window(url: str, proxy: Proxy) -> None:
    """A queue that never confirms (a quorum without its majority) must not stop publishing to the others."""
    async with queue(url) as name, connected(proxy.url(url)) as connection:
        publisher = Publisher(connection)
        assert await publisher.publish([prepared(name)], deadline=20) == [CONFIRMED]
        proxy.swallowing = True
        for _ in range(3):
            await publisher.publish([prepared(name, n) for n in range(512)], deadline=0.3)
        outlet = publisher._outlet
        assert outlet is not None
        assert (outlet.flying, outlet.forgotten) == (0, 1536)


async def test_a_channel_with_too_many_messages_given_up_is_replaced(
    url: str, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("brokerkit.transports.rabbitmq.publishing._FORGOTTEN", 1)
    async with queue(url) as name, connected(proxy.url(url)) as connection:
        publisher = Publisher(connection)
        assert await publisher.publish([prepared(name)], deadline=20) == [CONFIRMED]
        first = publisher._outlet
        proxy.stall(up=False, down=True)
        for _ in range(2):
            await publisher.publish([prepared(name, n) for n in range(512)], deadline=0.3)
        async with asyncio.TaskGroup() as group:
            publishing = group.create_task(publisher.publish([prepared(name)], deadline=30))
            await asyncio.sleep(0.05)
            proxy.heal()
        assert publishing.result() == [CONFIRMED]
        assert publisher._outlet is not first


async def test_without_a_link_the_error_says_why(url: str, proxy: Proxy) -> None:
    async with connected(proxy.url(url)) as connection:
        proxy.refusing = True
        proxy.cut()
        await until(lambda: connection.current is None)
        with pytest.raises((ConnectionLost, ConnectFailed)):
            await Publisher(connection).publish([prepared("anywhere")], deadline=0.2)


async def test_a_closed_connection_publishes_nothing(url: str) -> None:
    async with connected(url) as connection:
        publisher = Publisher(connection)
    with pytest.raises(ConnectionLost, match="was closed"):
        await publisher.publish([prepared("anywhere")], deadline=20)


async def test_a_cancelled_call_leaves_the_others_and_the_window_alone(url: str, proxy: Proxy) -> None:
    async with queue(url) as name, connected(proxy.url(url)) as connection:
        publisher = Publisher(connection)
        assert await publisher.publish([prepared(name)], deadline=20) == [CONFIRMED]
        proxy.stall(up=False, down=True)
        async with asyncio.TaskGroup() as group:
            gone = group.create_task(publisher.publish([prepared(name, n) for n in range(2000)], deadline=30))
            stays = group.create_task(publisher.publish([prepared(name, n) for n in range(700)], deadline=30))
            await asyncio.sleep(0.1)
            gone.cancel()
            await asyncio.sleep(0.1)
            proxy.heal()
        assert stays.result() == [CONFIRMED] * 700
        outlet = publisher._outlet
        assert outlet is not None
        await until(lambda: (outlet.flying, outlet.forgotten) == (0, 0))


# Lost connections


async def test_what_is_unanswered_at_a_cut_is_published_again_under_the_same_id(url: str, proxy: Proxy) -> None:
    async with queue(url) as name, connected(proxy.url(url)) as connection:
        publisher = Publisher(connection)
        assert await publisher.publish([prepared(name, 0)], deadline=20) == [CONFIRMED]
        proxy.swallowing = True
        async with asyncio.TaskGroup() as group:
            publishing = group.create_task(publisher.publish([prepared(name, n) for n in range(1, 2000)], deadline=30))
            await asyncio.sleep(0.2)
            proxy.heal()
            proxy.cut()
        assert publishing.result() == [CONFIRMED] * 1999
        found = await contents(url, name)
    times = Counter(message["bk-id"] for message in found)
    assert set(times) == {f"m-{n}" for n in range(2000)}
    assert set(times.values()) == {1, 2}, "what had arrived unconfirmed is there twice, under the same id"
    assert len({message["message_id"] for message in found}) == len(found), "each attempt has a number of its own"


@pytest.mark.parametrize("after", [1, 7, 1000, 20_000, 150_000])
async def test_a_cut_within_the_stream_loses_nothing(url: str, proxy: Proxy, after: int) -> None:
    async with queue(url) as name, connected(proxy.url(url)) as connection:
        publisher = Publisher(connection)
        assert await publisher.publish([prepared(name, 0)], deadline=20) == [CONFIRMED]
        proxy.cut_after(after, up=True)
        answers = await publisher.publish([prepared(name, n) for n in range(1, 1000)], deadline=30)
        assert answers == [CONFIRMED] * 999
        assert {m["bk-id"] for m in await contents(url, name)} == {f"m-{n}" for n in range(1000)}
        assert proxy.connections == 2


async def test_a_refusal_of_what_may_have_arrived_before_is_no_answer(url: str, proxy: Proxy) -> None:
    async with connected(proxy.url(url)) as connection:
        publisher = Publisher(connection)
        async with queue(url) as name:
            assert await publisher.publish([prepared(name)], deadline=20) == [CONFIRMED]
            proxy.swallowing = True
            async with asyncio.TaskGroup() as group:
                publishing = group.create_task(publisher.publish([prepared(name)], deadline=30))
                await asyncio.sleep(0.2)
                async with linked(url) as link:
                    assert await count(url, name) == 2, "it has arrived"
                    await (await link.channel()).rpc.queue_delete(name)
                proxy.heal()
                proxy.cut()
            assert publishing.result() == [UNKNOWN]


async def test_the_brokers_end_and_return_is_outlived(node: Node) -> None:
    async with queue(node.url, kind="quorum") as name, connected(node.url) as connection:
        publisher = Publisher(connection)
        async with asyncio.TaskGroup() as group:
            publishing = group.create_task(publisher.publish([prepared(name, n) for n in range(3_000)], deadline=50))
            await asyncio.sleep(0.05)
            await asyncio.to_thread(node.stop_app)
            await asyncio.to_thread(node.start_app)
        assert publishing.result() == [CONFIRMED] * 3_000
        assert {m["bk-id"] for m in await contents(node.url, name)} == {f"m-{n}" for n in range(3_000)}


# A blocked broker


async def test_a_blocked_broker_takes_nothing_and_what_waits_leaves_when_it_is_unblocked(node: Node) -> None:
    async with queue(node.url) as name, connected(node.url) as connection:
        publisher = Publisher(connection)
        await asyncio.to_thread(node.set_alarm, True)
        first = await publisher.publish([prepared(name, 0)], deadline=1)
        await until(lambda: publisher.blocked)
        with pytest.raises(BrokerBlocked, match="takes no messages for now"):
            await publisher.publish([prepared(name, 1)], deadline=0.3)
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(publisher.publish([prepared(name, 2)], deadline=30))
            await asyncio.sleep(0.1)
            assert not waiting.done()
            await asyncio.to_thread(node.set_alarm, False)
        assert waiting.result() == [CONFIRMED]
        assert not publisher.blocked
        ids = [message["bk-id"] for message in await contents(node.url, name)]
    assert first in ([CONFIRMED], [UNKNOWN]), "it left before the broker said that it was blocked"
    assert ids == ["m-0", "m-2"], "what was given up before it left never comes"


# The window


async def test_the_window_is_kept_whoever_publishes(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    send = Outlet.send

    def watched(self: Outlet, batch: object, most: int) -> None:
        send(self, batch, most)  # type: ignore[arg-type]
        seen.append(self.flying)

    monkeypatch.setattr(Outlet, "send", watched)
    async with queue(url) as name, connected(url) as connection:
        publisher = Publisher(connection, 256)
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(publisher.publish([prepared(name, n) for n in range(500)], deadline=30))
                for _ in range(8)
            ]
        assert [task.result() for task in tasks] == [[CONFIRMED] * 500] * 8
    assert max(seen) == 256


async def test_a_small_call_does_not_wait_for_the_whole_of_a_large_one(url: str) -> None:
    async with queue(url) as name, connected(url) as connection:
        publisher = Publisher(connection)
        async with asyncio.TaskGroup() as group:
            large = group.create_task(publisher.publish([prepared(name, n) for n in range(20_000)], deadline=50))
            await asyncio.sleep(0.01)
            assert await publisher.publish([prepared(name)], deadline=50) == [CONFIRMED]
            assert not large.done()
