"""A server that was away for longer than every lease: who lives keeps what it holds, and who died does not."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from brokerkit.outcome import ACK
from brokerkit.testing.conformance.bench import bench, ids_of
from tests.conformance.redis_harness import LEASE, RedisHarness
from tests.redis.servers import Serve

MEMBERS = 6

pytestmark = [pytest.mark.broker, pytest.mark.slow]


async def test_members_that_had_no_server_are_not_taken_for_dead(serve: Serve) -> None:
    server = serve(appendonly="yes", appendfsync="always")
    harness = RedisHarness(server.url)
    async with bench(harness) as b, AsyncExitStack() as stack:
        await b.send_some(10 * MEMBERS + 10)
        transports = [await stack.enter_async_context(harness.connect()) for _ in range(MEMBERS)]
        readers = [await stack.enter_async_context(b.reader(transport=each)) for each in transports]
        held = [await reader.get(10) for reader in readers]
        async with harness.connect() as doomed, b.reader(transport=doomed) as reader:
            dead = await reader.get(10)
            server.kill()
            await harness.crash(doomed)
        await asyncio.sleep(1.5 * LEASE)
        server.start()
        again = await readers[0].get(10)
        assert {each.message.id for each in again} == set(ids_of([each.message for each in dead]))
        assert [each for part in held for each in part if each.lost] == []
        await readers[0].settle(ACK, *again)
        for reader, part in zip(readers, held, strict=True):
            await reader.settle(ACK, *part)
        await readers[0].nothing("all has been acknowledged")
