"""Replies to callers, signals to workers, and workers' heartbeats."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import msgspec

from brokerkit.abilities import Presence, Presences, Signal, Signals
from brokerkit.testing.conformance.bench import bench
from brokerkit.testing.conformance.harness import Harness, Scenario, needs
from brokerkit.transport import INBOX_PREFIX, Published

T = TypeVar("T")


async def soon(harness: Harness, receive: Callable[[], Awaitable[list[T]]], count: int = 1) -> list[T]:
    """So many items within the harness's patience."""
    found: list[T] = []
    try:
        async with asyncio.timeout(harness.patience):
            while len(found) < count:
                found += await receive()
    except TimeoutError:
        raise AssertionError(f"{count} expected, {found} came") from None
    return found


async def a_reply_reaches_the_inbox_it_is_addressed_to(harness: Harness) -> None:
    async with (
        bench(harness) as b,
        harness.connect() as worker,
        b.transport.replies() as mine,
        worker.replies() as other,
    ):
        assert mine.address.startswith(INBOX_PREFIX), f"an inbox's address is {mine.address}"
        assert mine.address != other.address, "every inbox has an address of its own"
        b.transport, caller = worker, b.transport
        replies = [b.message(correlation_id=str(number)) for number in range(3)]
        for reply in replies:
            answer = await b.publish_one(reply, "", mine.address)
            assert answer is Published.CONFIRMED, f"the caller waits, but replying answered {answer}"
        b.transport = caller
        got = await soon(harness, mine.receive, 3)
        assert [reply.id for reply in got] == [reply.id for reply in replies], "replies come in order"
        assert got[1].correlation_id == "1", "a reply is a whole message"


async def a_waiting_inbox_is_woken(harness: Harness) -> None:
    async with bench(harness) as b, b.transport.replies() as inbox, asyncio.TaskGroup() as group:
        waiting = group.create_task(inbox.receive())
        await harness.advance(harness.quiet)
        reply = b.message()
        await b.publish_one(reply, "", inbox.address)
        async with asyncio.timeout(harness.patience):
            assert [each.id for each in await waiting] == [reply.id], "the reply did not arrive"


async def a_reply_to_a_caller_who_has_gone_is_unroutable(harness: Harness) -> None:
    async with bench(harness) as b:
        async with b.transport.replies() as inbox:
            address = inbox.address
        answer = await b.publish_one(b.message(), "", address)
        assert answer is Published.UNROUTABLE, f"the inbox is closed, but replying answered {answer}"


@needs("signals")
async def a_signal_reaches_everyone_who_listens(harness: Harness) -> None:
    async with harness.connect() as one, harness.connect() as two:
        assert isinstance(one, Signals), "signals are declared"
        assert isinstance(two, Signals), "signals are declared"
        early = Signal("cancel", harness.name("too-early"), 1)
        await one.signal(early)
        async with one.signals() as first, two.signals() as second:
            sent = [Signal("cancel", harness.name("task"), run) for run in (1, 2)]
            for signal in sent:
                await one.signal(signal)
            for stream in (first, second):
                got: list[Signal] = []
                while len(got) < 2:  # others may signal on a broker that is shared
                    got += [each for each in await soon(harness, stream.receive) if each in {early, *sent}]
                assert got == sent, f"a listener got {got}"
        await two.signal(sent[0])


def presence(harness: Harness, **fields: object) -> Presence:
    """A worker's first heartbeat."""
    now = harness.clock.now()
    first = Presence(
        worker=harness.name("worker"),
        app="shop",
        sources=("payments", "history@fraud"),
        concurrency=8,
        running=0,
        started=now,
        seen=now,
        state="running",
        done=0,
    )
    return msgspec.structs.replace(first, **fields)


async def workers_seen(presences: Presences, *workers: str) -> dict[str, Presence]:
    """Of these workers, those that are present."""
    return {each.worker: each for each in await presences.present() if each.worker in workers}


@needs("presences")
async def a_heartbeat_is_seen_until_it_runs_out(harness: Harness) -> None:
    async with harness.connect() as one, harness.connect() as two:
        assert isinstance(one, Presences), "presences are declared"
        assert isinstance(two, Presences), "presences are declared"
        short, long = presence(harness), presence(harness)
        await one.announce(short, ttl=harness.step)
        await one.announce(long, ttl=10 * harness.step)
        seen = await workers_seen(two, short.worker, long.worker)
        assert seen == {short.worker: short, long.worker: long}, f"another process sees {seen}"
        await harness.advance(2 * harness.step)
        seen = await workers_seen(two, short.worker, long.worker)
        assert seen == {long.worker: long}, f"one has run out, but there are {seen}"


@needs("presences")
async def a_new_heartbeat_replaces_the_old_one(harness: Harness) -> None:
    async with harness.connect() as transport:
        assert isinstance(transport, Presences), "presences are declared"
        first = presence(harness)
        second = msgspec.structs.replace(first, running=3, done=17, state="draining")
        for each in (first, second):
            await transport.announce(each, ttl=10 * harness.step)
        seen = await workers_seen(transport, first.worker)
        assert seen == {first.worker: second}, f"the newer one counts, but there are {seen}"
        await transport.announce(second, ttl=0)
        assert not await workers_seen(transport, first.worker), "a ttl of 0 removes it"


SCENARIOS: tuple[Scenario, ...] = (
    a_reply_reaches_the_inbox_it_is_addressed_to,
    a_waiting_inbox_is_woken,
    a_reply_to_a_caller_who_has_gone_is_unroutable,
    a_signal_reaches_everyone_who_listens,
    a_heartbeat_is_seen_until_it_runs_out,
    a_new_heartbeat_replaces_the_old_one,
)
