"""What is the memory broker's own: its timer, its index, its bookkeeping, its handing over."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from brokerkit.abilities import NOTHING_REMOVED, Committed, Removed, Unit
from brokerkit.delivery import Delivery, GroupSource, Lane, QueueSource
from brokerkit.errors import ConnectionLost, TopologyConflict, TopologyError
from brokerkit.message import Message, Outgoing
from brokerkit.outcome import ACK, DeadLetter, Reason
from brokerkit.testing import VirtualClock
from brokerkit.topology import DeadLetter as DeadLetterQueue
from brokerkit.topology import Exchange, Group, Log, Queue, Topology
from brokerkit.transport import Published
from brokerkit.transports.memory import MemoryBroker, MemoryTransport
from brokerkit.transports.memory.compile import compile_topology

EVERY = {Lane("q", 0): 100}


def outgoing(message_id: str, key: str = "q", exchange: str = "", due: float | None = None) -> Outgoing:
    return Outgoing(Message(id=message_id, name="n", body=b"", due=due), exchange, key)


def found(deliveries: list[Delivery]) -> list[str]:
    return [delivery.message.id for delivery in deliveries]


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
async def transport(clock: VirtualClock) -> AsyncIterator[MemoryTransport]:
    async with MemoryTransport(MemoryBroker(clock)) as opened:
        await opened.apply(Topology("app", queues=[Queue("q")]))
        yield opened


async def publish(transport: MemoryTransport, *messages: Outgoing) -> list[Published]:
    return list(await transport.publish(messages, deadline=1.0))


def is_removed(answer: Removed) -> bool:
    return answer.message is not None and not answer.held


async def test_all_delays_share_one_timer(clock: VirtualClock, transport: MemoryTransport) -> None:
    await publish(transport, *(outgoing(str(n), due=clock.now() + 1000 - n) for n in range(100)))
    assert clock.pending == 1
    await clock.advance(2000)
    assert (await transport.stats("q")).ready == 100
    assert clock.pending == 0


async def test_cancelled_delays_do_not_pile_up(clock: VirtualClock, transport: MemoryTransport) -> None:
    for number in range(1000):
        await publish(transport, outgoing(str(number), due=clock.now() + 3600))
        assert is_removed(await transport.cancel(str(number)))
    assert len(transport.broker._alarms._heap) < 200


async def test_cancelled_messages_do_not_pile_up(transport: MemoryTransport) -> None:
    for number in range(1000):
        await publish(transport, outgoing(str(number)))
        assert is_removed(await transport.cancel(str(number)))
    assert len(transport.broker.queues["q"]._fresh[0]) < 200


async def test_a_cancel_takes_every_copy_or_none(transport: MemoryTransport) -> None:
    news = Exchange("news", type="fanout")
    queues = [Queue(name, bindings=[news.bind()]) for name in ("q1", "q2")]
    await transport.apply(Topology("fan", exchanges=[news], queues=queues))
    await publish(transport, outgoing("a", "", "news"), outgoing("b", "", "news"))
    assert is_removed(await transport.cancel("a"))
    async with transport.consume([QueueSource("q1")]) as subscription:
        assert found(await subscription.receive({Lane("q1", 0): 10})) == ["b"]
        assert (await transport.cancel("b")).held
        assert (await transport.stats("q2")).ready == 1


async def test_the_same_id_published_twice_is_two_messages(transport: MemoryTransport) -> None:
    await publish(transport, outgoing("twin"), outgoing("twin"))
    async with transport.consume([QueueSource("q")]) as subscription:
        [first, second] = await subscription.receive(EVERY)
        await subscription.settle([(first, ACK)])
        assert (await transport.cancel("twin")).held
        await subscription.settle([(second, ACK)])
        assert await transport.cancel("twin") == NOTHING_REMOVED
    await publish(transport, outgoing("twin"))
    assert is_removed(await transport.cancel("twin"))


async def test_a_cancelled_receive_passes_its_wake_on(transport: MemoryTransport) -> None:
    source = [QueueSource("q")]
    async with transport.consume(source) as leaving, transport.consume(source) as staying:
        async with asyncio.TaskGroup() as group:
            given_up = group.create_task(leaving.receive(EVERY))
            await asyncio.sleep(0)
            waiting = group.create_task(staying.receive(EVERY))
            await asyncio.sleep(0)
            await publish(transport, outgoing("a"))
            given_up.cancel()
        assert found(waiting.result()) == ["a"]


async def test_a_paused_active_consumer_hands_over_when_it_holds_nothing(transport: MemoryTransport) -> None:
    await transport.apply(Topology("app", queues=[Queue("ordered", single_active=True)]))
    every = {Lane("ordered", 0): 1}
    source = [QueueSource("ordered")]
    await publish(transport, outgoing("a", "ordered"), outgoing("b", "ordered"))
    async with transport.consume(source) as first, transport.consume(source) as second:
        [held] = await first.receive(every)
        await first.pause()
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(second.receive(every))
            await asyncio.sleep(0.01)
            assert not waiting.done()
            await first.settle([(held, ACK)])
            assert found(await waiting) == ["b"]


async def test_retention_needs_no_publish(clock: VirtualClock, transport: MemoryTransport) -> None:
    news = Exchange("news", type="fanout")
    log = Log("log", bindings=[news.bind()], retention=10.0)
    await transport.apply(Topology("log", exchanges=[news], logs=[log], groups=[Group(log, "g")]))
    await publish(transport, outgoing("a", "", "news"))
    await clock.advance(11)
    stats = await transport.stats("log@g")
    assert (stats.ready, stats.lost) == (0, 1)


async def test_a_log_without_history_and_limits_keeps_nothing_that_was_read(transport: MemoryTransport) -> None:
    news = Exchange("news", type="fanout")
    plain = Log("plain", bindings=[news.bind()])
    limited = Log("limited", bindings=[news.bind()], max_length=1000, retention=3600.0)
    groups = [Group(plain, "g"), Group(limited, "g")]
    await transport.apply(Topology("log", exchanges=[news], logs=[plain, limited], groups=groups))
    async with transport.consume([GroupSource("plain", "g"), GroupSource("limited", "g")]) as subscription:
        for number in range(100):
            await publish(transport, outgoing(str(number), "", "news"))
            got = await subscription.receive({Lane("plain@g", 0): 5, Lane("limited@g", 0): 5})
            await subscription.settle([(delivery, ACK) for delivery in got])
    sizes = [len(log._items) for log in transport.broker.logs.values()]
    assert max(sizes) <= 1


async def test_a_chain_in_a_full_queue_goes_on_by_an_atomic_commit(transport: MemoryTransport) -> None:
    await transport.apply(Topology("app", queues=[Queue("small", max_length=1)]))
    await publish(transport, outgoing("a", "small"))
    async with transport.consume([QueueSource("small")]) as subscription:
        [delivery] = await subscription.receive({Lane("small", 0): 1})
        too_many = Unit(delivery, ACK, None, (outgoing("b", "small"), outgoing("c", "small")))
        assert await transport.commit([too_many]) == [Committed.FULL]
        assert await transport.commit([Unit(delivery, ACK, None, (outgoing("b", "small"),))]) == [Committed.DONE]
        assert found(await subscription.receive({Lane("small", 0): 1})) == ["b"]


async def test_an_abandoned_transport_refuses_everything(transport: MemoryTransport) -> None:
    async with transport.consume([QueueSource("q")]) as subscription:
        transport.abandon()
        with pytest.raises(ConnectionLost):
            await subscription.receive(EVERY)
        with pytest.raises(ConnectionLost):
            await publish(transport, outgoing("a"))


async def test_closing_ends_every_wait(clock: VirtualClock) -> None:
    transport = MemoryTransport(MemoryBroker(clock))
    async with asyncio.TaskGroup() as group, transport, transport.replies() as inbox, transport.signals() as signals:
        replies, heard = group.create_task(inbox.receive()), group.create_task(signals.receive())
        await asyncio.sleep(0)
        await transport.__aexit__(None, None, None)
        assert (await replies, await heard) == ([], [])


def test_delays_go_on_when_a_transport_is_opened_on_the_next_event_loop() -> None:
    broker = MemoryBroker()

    async def send() -> None:
        async with MemoryTransport(broker) as transport:
            await transport.apply(Topology("app", queues=[Queue("q")]))
            await publish(transport, outgoing("a", due=broker.clock.now() + 0.02))

    async def receive() -> list[str]:
        async with MemoryTransport(broker) as transport, transport.consume([QueueSource("q")]) as subscription:
            return found(await subscription.receive(EVERY))

    asyncio.run(send())
    assert asyncio.run(receive()) == ["a"]


async def test_a_dead_letter_queue_cannot_be_declared_differently_later(transport: MemoryTransport) -> None:
    with pytest.raises(TopologyConflict, match="lanes"):
        await transport.apply(Topology("other", queues=[Queue("q.dead", priorities=3)]))
    await transport.apply(Topology("other", queues=[Queue("q.dead")]))


async def test_a_group_of_an_undeclared_log_is_refused(transport: MemoryTransport) -> None:
    with pytest.raises(TopologyError, match="nowhere"):
        await transport.apply(Topology("other", groups=[Group("nowhere", "g")]))


async def test_a_dead_letter_in_hand_stays_until_it_is_released(
    clock: VirtualClock, transport: MemoryTransport
) -> None:
    grave = DeadLetterQueue("grave", ttl=10.0)
    await transport.apply(Topology("app", queues=[Queue("mortal", dead_letter=grave)]))
    await publish(transport, outgoing("a", "mortal"))
    async with transport.consume([QueueSource("mortal")]) as subscription:
        [delivery] = await subscription.receive({Lane("mortal", 0): 1})
        await subscription.settle([(delivery, DeadLetter(Reason.FAILED))])
    async with transport.consume([QueueSource("grave")]) as subscription:
        await subscription.receive({Lane("grave", 0): 1})
        await clock.advance(11)
        assert (await transport.stats("mortal")).dead == 1
    await clock.advance(61)
    assert (await transport.stats("mortal")).dead == 0


def test_the_ttl_of_an_implied_dead_letter_queue_is_no_message_ttl() -> None:
    plan = compile_topology(Topology("app", queues=[Queue("q", dead_letter=DeadLetterQueue(ttl=5.0))]))
    assert {queue.name: (queue.message_ttl, queue.dead_ttl) for queue in plan.queues} == {
        "q": (None, 5.0),
        "q.dead": (None, None),
    }
