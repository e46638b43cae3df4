"""Connections that end between a call and its answer: what was carried out is not carried out again."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from brokerkit.delivery import Delivery, Lane, QueueSource
from brokerkit.outcome import ACK
from brokerkit.transport import Published, Settled
from brokerkit.transports.redis import RedisTransport
from tests.chaos.sizes import sized
from tests.proxy import Proxy
from tests.redis.between import main_pipe, outgoing, pipe_of, transport_to
from tests.redis.server import Server, until
from tests.redis.servers import Serve

pytestmark = pytest.mark.broker

STREAM = "bk:{work}:work:0"
LANE = Lane("work", 0)


async def published(transport: RedisTransport, numbers: Sequence[int], deadline: float = 10.0) -> Sequence[Published]:
    return await transport.publish([outgoing(number) for number in numbers], deadline=deadline)


def length(server: Server) -> int:
    return int(server.ask("XLEN", STREAM))


async def length_is(server: Server, wanted: int) -> None:
    async with asyncio.timeout(10):
        while length(server) != wanted:
            await asyncio.sleep(0.01)


# -- calls ----------------------------------------------------------------------------------------------------------


async def test_a_publish_whose_answer_got_lost_is_there_once(server: Server, proxy: Proxy) -> None:
    rounds = sized(6, 30)
    async with transport_to(proxy.url(server.url)) as transport:
        await published(transport, [0])  # the server knows the script
        for start in range(1, 20 * rounds, 20):
            main_pipe(transport, proxy).deaf = True
            sending = [asyncio.create_task(published(transport, [number])) for number in range(start, start + 20)]
            await length_is(server, start + 20)  # they were carried out, and nobody was told
            proxy.cut()
            assert await asyncio.gather(*sending) == [[Published.CONFIRMED]] * 20
        assert length(server) == 1 + 20 * rounds


async def test_a_call_that_arrives_after_its_repetition_is_refused(server: Server, proxy: Proxy) -> None:
    async with transport_to(proxy.url(server.url)) as transport:
        for pipe in proxy.pipes:
            pipe.late = asyncio.Event()
        sending = asyncio.create_task(published(transport, [1]))
        while not proxy.held:
            await asyncio.sleep(0.005)
        left = proxy.leave_behind()
        assert await sending == [Published.CONFIRMED]  # by a new connection
        rest = range(2, 20)  # which say that the first is over; its answer is forgotten by and by
        assert [await published(transport, [number]) for number in rest] == [[Published.CONFIRMED]] * len(rest)
        for pipe in left:
            assert pipe.late is not None
            pipe.late.set()
        refused = server.info("errorstats")
        async with asyncio.timeout(10):
            while "errorstat_BKLATE" not in refused:
                await asyncio.sleep(0.02)
                refused = server.info("errorstats")
        assert length(server) == 1 + len(rest)


async def test_a_publish_that_was_given_up_does_not_arrive_behind_others(server: Server, proxy: Proxy) -> None:
    async with transport_to(proxy.url(server.url)) as transport:
        for pipe in proxy.pipes:
            pipe.late = asyncio.Event()
        assert await published(transport, [1], deadline=0.3) == [Published.UNKNOWN]
        left = proxy.leave_behind()
        assert await published(transport, [2]) == [Published.CONFIRMED]
        for pipe in left:
            assert pipe.late is not None
            pipe.late.set()
        async with asyncio.timeout(10):
            while "errorstat_BKLATE" not in server.info("errorstats"):
                await asyncio.sleep(0.02)
        assert length(server) == 1


async def test_the_answers_of_calls_that_are_over_are_forgotten(server: Server) -> None:
    async with transport_to(server.url) as transport:
        for number in range(50):
            await published(transport, [number])
        await asyncio.gather(*(published(transport, [number]) for number in range(50, 100)))
        await published(transport, [100])
        (key,) = transport._broker.calls.keys
        assert server.ask("HLEN", key) <= 3  # the last one, and up to where all are over
        assert 0 < server.ask("PTTL", key) <= 600_000


async def test_a_publish_is_confirmed_once_its_replica_has_it_also_when_its_answer_got_lost(
    server: Server, serve: Serve, proxy: Proxy
) -> None:
    replica = serve()
    replica.ask("REPLICAOF", "127.0.0.1", server.port)
    until(lambda: replica.info("replication")["master_link_status"] == "up")
    async with transport_to(proxy.url(server.url), durability="replicas:1") as transport:
        assert await published(transport, [1]) == [Published.CONFIRMED]
        replica.freeze()
        publishing = pipe_of(transport._broker._waiting, proxy)
        publishing.deaf = True
        sending = asyncio.create_task(published(transport, [2]))
        await length_is(server, 2)
        publishing.cut()
        await asyncio.sleep(0.5)
        assert not sending.done()
        replica.thaw()
        assert await sending == [Published.CONFIRMED]
        assert length(server) == length(replica) == 2


# -- deliveries -----------------------------------------------------------------------------------------------------


async def received(subscription: object, most: int = 10) -> list[Delivery]:
    async with asyncio.timeout(15):
        return await subscription.receive({LANE: most})  # type: ignore[attr-defined, no-any-return]


async def until_waiting(server: Server) -> None:
    async with asyncio.timeout(10):
        while not server.ask("ZCARD", "bk:{work}:work:waiting"):
            await asyncio.sleep(0.01)


async def test_what_was_fetched_by_a_connection_that_died_comes_back(server: Server, proxy: Proxy) -> None:
    async with (
        transport_to(server.url) as other,
        transport_to(proxy.url(server.url)) as transport,
        transport.consume([QueueSource("work")]) as subscription,
    ):
        await published(other, [-1])
        assert await subscription.settle([(each, ACK) for each in await received(subscription)]) == [Settled.DONE]
        for number in range(5):
            receiving = asyncio.create_task(received(subscription))
            await until_waiting(server)
            main_pipe(transport, proxy).deaf = True
            await published(other, [2 * number, 2 * number + 1])
            async with asyncio.timeout(10):
                while server.held(STREAM) < 2:
                    await asyncio.sleep(0.01)
            proxy.cut()
            deliveries = await receiving
            while len(deliveries) < 2:
                deliveries += await received(subscription)
            assert sorted(each.message.id for each in deliveries) == sorted(f"m{2 * number + more}" for more in (0, 1))
            settled = await subscription.settle([(each, ACK) for each in deliveries])
            assert settled == [Settled.DONE, Settled.DONE]


async def test_what_was_handed_to_a_connection_that_died_comes_back(server: Server, proxy: Proxy) -> None:
    async with (
        transport_to(server.url) as other,
        transport_to(proxy.url(server.url)) as transport,
        transport.consume([QueueSource("work")]) as subscription,
    ):
        ear = pipe_of(transport._broker.hearing.servers, proxy)
        ear.deaf = True
        receiving = asyncio.create_task(received(subscription))
        await until_waiting(server)
        await published(other, [1])
        assert server.held(STREAM) == 1, "it was handed over"
        await asyncio.sleep(0.1)
        assert not receiving.done()
        ear.cut()
        (delivery,) = await receiving
        assert (delivery.message.id, delivery.deliveries) == ("m1", 1)
        assert await subscription.settle([(delivery, ACK)]) == [Settled.DONE]
        assert length(server) == 0


async def test_what_was_handed_to_a_consumer_that_was_given_up_is_not_taken(server: Server, proxy: Proxy) -> None:
    async with (
        transport_to(server.url) as other,
        transport_to(proxy.url(server.url)) as transport,
        transport.consume([QueueSource("work")]) as subscription,
    ):
        receiving = asyncio.create_task(received(subscription))
        await until_waiting(server)
        ear = pipe_of(transport._broker.hearing.servers, proxy)
        ear.slow = asyncio.Event()
        await published(other, [1])
        assert server.held(STREAM) == 1, "it was handed over"
        await transport.disconnect()
        ear.slow.set()
        (delivery,) = await receiving
        assert delivery.message.id == "m1"
        assert not delivery.lost
        assert await subscription.settle([(delivery, ACK)]) == [Settled.DONE]
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1.5):
                await subscription.receive({LANE: 10})
        assert length(server) == 0
