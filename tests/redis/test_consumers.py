"""Consumers of the dead go when nothing is held in their name any more, and all that was held comes again; a group
begins with what was there before it."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from contextlib import AsyncExitStack
from typing import NamedTuple

import pytest

from brokerkit.outcome import ACK
from brokerkit.testing.conformance.bench import Bench, bench, ids_of
from tests.conformance.redis_harness import RedisHarness
from tests.redis.server import Server

PARK = "~"
"""Holds what waits to be delivered again."""
MANY = 2_500
"""More than one step gives back."""
MEMBERS, SHARED = 8, 10_000

pytestmark = [pytest.mark.broker, pytest.mark.slow]


class Look(NamedTuple):
    """What the server says of one stream, at one moment.

    Args:
        held: Entries that are delivered and not acknowledged.
        by: How many of them each consumer holds.
    """

    held: int
    by: dict[str, int]


def stream_of(b: Bench) -> str:
    assert isinstance(b.harness, RedisHarness)
    return f"{b.harness.prefix}:{{{b.queue.name}}}:{b.queue.name}:0"


def look(server: Server, b: Bench) -> Look:
    stream = stream_of(b)
    with server.client() as client, client.pipeline() as both:
        both.xpending(stream, "bk")
        both.xinfo_consumers(stream, "bk")
        pending, consumers = both.execute()
    return Look(pending["pending"], {each["name"].decode(): each["pending"] for each in consumers})


async def test_a_dead_consumer_goes_when_all_that_it_held_has_been_given_back(server: Server) -> None:
    harness = RedisHarness(server.url)
    async with bench(harness) as b:
        sent = await b.send_some(MANY)
        async with harness.connect() as doomed, b.reader(transport=doomed) as reader:
            await reader.get(MANY)
            (dead,) = look(server, b).by
            await harness.crash(doomed)
        async with b.reader() as reader, asyncio.timeout(20):
            seen = [look(server, b)]
            while dead in seen[-1].by:
                await asyncio.sleep(0.002)
                seen.append(look(server, b))
            assert {each.held for each in seen} == {MANY}, "entries were dropped with their consumer"
            again = await reader.drain(MANY)
        assert sorted(each.message.id for each in again) == sorted(ids_of(sent))
        assert {each.deliveries for each in again} == {2}
        assert look(server, b) == Look(0, {PARK: 0})


async def test_eight_members_share_what_a_dead_one_held_and_none_of_it_twice(server: Server) -> None:
    harness = RedisHarness(server.url)
    async with bench(harness) as b:
        await b.send_some(SHARED)
        async with harness.connect() as doomed, b.reader(transport=doomed) as reader:
            await reader.get(SHARED)
            await harness.crash(doomed)
        got = Counter[str]()
        async with asyncio.timeout(40), asyncio.TaskGroup() as group:
            for _ in range(MEMBERS):
                group.create_task(_member(harness, b, got))
        assert len(got) == SHARED
        assert set(got.values()) == {1}
        assert look(server, b) == Look(0, {PARK: 0})


async def _member(harness: RedisHarness, b: Bench, got: Counter[str]) -> None:
    async with harness.connect() as transport, b.reader(transport=transport) as reader:
        while got.total() < SHARED:
            try:
                async with asyncio.timeout(0.5):
                    found = await reader.subscription.receive(reader.limit(100))
            except TimeoutError:
                continue
            got.update(each.message.id for each in found)
            await reader.settle(ACK, *found)


async def test_what_is_handed_to_one_who_has_gone_is_delivered_to_another_as_if_never_handed(server: Server) -> None:
    harness = RedisHarness(server.url)
    async with bench(harness) as b, AsyncExitStack() as stack:
        for _ in range(5):
            doomed = await stack.enter_async_context(harness.connect())
            reader = await stack.enter_async_context(b.reader(transport=doomed))
            await reader.nothing("nothing is sent yet")
            await harness.crash(doomed)
        waiting = stream_of(b).removesuffix("0") + "waiting"
        assert server.ask("ZCARD", waiting) == 5
        (sent,) = await b.send_some(1)
        assert server.ask("ZCARD", waiting) == 0
        async with b.reader() as reader:
            delivery = await reader.one()
            assert (delivery.message.id, delivery.deliveries) == (sent.id, 1)
            await reader.settle(ACK, delivery)


async def test_what_somebody_else_deletes_is_said_to_be_lost_and_takes_nothing_with_it(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    harness = RedisHarness(server.url)
    async with bench(harness) as b:
        sent = await b.send_some(MANY)
        async with harness.connect() as doomed, b.reader(transport=doomed) as reader:
            held = await reader.get(MANY)
            server.ask("XDEL", stream_of(b), *(delivery.token.entry for delivery in held[::50]))
            await harness.crash(doomed)
        async with b.reader() as reader:
            again = await reader.drain(MANY - MANY // 50)
            await reader.nothing("the others were deleted")
    left = set(ids_of(sent)) - {delivery.message.id for delivery in held[::50]}
    assert {each.message.id for each in again} == left
    counts = [int(number) for number in re.findall(r"(\d+) messages that dead processes held are lost", caplog.text)]
    assert sum(counts) == MANY // 50


async def test_what_was_held_under_a_lease_that_the_server_forgot_comes_again(server: Server) -> None:
    harness = RedisHarness(server.url)
    async with bench(harness) as b, b.reader() as reader:
        sent = await b.send_some(10)
        held = await reader.get(10)
        server.ask("DEL", stream_of(b).removesuffix("0") + "leases")
        again = await reader.drain(10)
        assert all(delivery.lost for delivery in held)
        assert sorted(each.message.id for each in again) == sorted(ids_of(sent))
        assert {each.deliveries for each in again} == {2}


async def test_what_others_added_before_there_was_a_group_is_delivered(server: Server) -> None:
    harness = RedisHarness(server.url)
    for number in range(100):
        server.ask("XADD", f"{harness.prefix}:{{queue-1}}:queue-1:0", "*", "m", f"{number}")
    async with bench(harness) as b, b.reader() as reader:
        assert b.queue.name == "queue-1"
        assert len(await reader.drain(100)) == 100
