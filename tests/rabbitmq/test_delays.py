"""Delays on real brokers: never early, in any target, and nobody's delay stops another's."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from uuid import uuid4

import aiormq
import pytest

from brokerkit.topology import Exchange, Queue, Retry, Topology
from brokerkit.transports.rabbitmq import ladder
from brokerkit.transports.rabbitmq.compile import compile_topology
from brokerkit.transports.rabbitmq.ladder import Parked, Target
from brokerkit.transports.rabbitmq.plan import Plan
from tests.brokers import broker_url
from tests.rabbitmq.faults import ON_OUR_NODE
from tests.rabbitmq.node import Node
from tests.rabbitmq.plain import EDITIONS, Plain, eventually, plain, publish

pytestmark = pytest.mark.broker


@pytest.fixture(params=EDITIONS)
async def broker(request: pytest.FixtureRequest) -> AsyncIterator[Plain]:
    async with plain(broker_url(request.param)) as opened:
        await opened.declare(ladder.declarations(6, opened.version))
        yield opened


@pytest.fixture
def name() -> str:
    return f"delays-{uuid4().hex[:12]}"


class Sender:
    """Publishes delayed messages whose bodies tell when they are due."""

    def __init__(self, broker: Plain, channel: aiormq.abc.AbstractChannel) -> None:
        self.broker, self.channel = broker, channel

    @classmethod
    async def open(cls, broker: Plain) -> Sender:
        return cls(broker, await broker.connection.channel())

    async def send(self, parked: Parked, target: Target, key: str = "", due: float = 0.0) -> None:
        await self.broker.declare(Plan(bindings=(target.binding,)))
        body = str(due or time.time() + parked.milliseconds / 1000).encode()
        await publish(self.channel, parked.exchange, key, body, {**target.headers, **parked.headers})


@pytest.mark.slow
async def test_any_delay_reaches_exchanges_by_their_own_keys_and_queues_never_early(broker: Plain, name: str) -> None:
    direct, topic = Exchange(f"{name}-direct"), Exchange(f"{name}-topic", "topic")
    queue = Queue(name, [direct.bind("paid"), topic.bind("order.*.placed")], dead_letter=False)
    await broker.declare(compile_topology(Topology("app", [direct, topic], [queue]), broker.version))
    sender = await Sender.open(broker)
    ways = [
        (ladder.to_exchange(direct.name), "paid"),
        (ladder.to_exchange(topic.name), "order.eu.placed"),
        (ladder.to_queue(name), "whatever"),
    ]
    delays = (0.1, 0.3, 0.5, 0.7, 1.2, 3.2, 6.3)
    for seconds in delays:
        for target, key in ways:
            await sender.send(ladder.rungs(seconds), target, key, due=time.time() + seconds)
    arrived = await broker.take(name, len(delays) * len(ways))
    assert [at - float(body) for at, body in arrived if at < float(body)] == []
    assert await broker.drained(name) == []


async def test_a_short_delay_does_not_wait_behind_a_long_one(broker: Plain, name: str) -> None:
    await broker.declare(compile_topology(Topology("app", [], [Queue(name, dead_letter=False)]), broker.version))
    sender = await Sender.open(broker)
    for seconds in (3.1, 1.6, 0.1, 0.8, 0.4):
        await sender.send(ladder.rungs(seconds), ladder.to_queue(name), due=seconds)
    assert [float(body) for _, body in await broker.take(name, 5)] == [0.1, 0.4, 0.8, 1.6, 3.1]


async def test_a_target_unbound_meanwhile_parks_in_lost_and_stops_nobody(broker: Plain, name: str) -> None:
    orders, plain_queue = Exchange(f"{name}-x"), Queue(f"{name}-other", dead_letter=False)
    topology = Topology("app", [orders], [Queue(name, [orders.bind("k")], dead_letter=False), plain_queue])
    await broker.declare(compile_topology(topology, broker.version))
    sender = await Sender.open(broker)
    lost = f"lost {name}".encode()
    gone = ladder.to_queue(f"{name}-gone")
    for _ in range(40):  # more than the broker's dead-lettering keeps in flight
        parked = ladder.rungs(0.4)
        await publish(sender.channel, parked.exchange, "k", lost, {**parked.headers, "bk-to-x": orders.name})
        await publish(sender.channel, parked.exchange, "k", lost, {**parked.headers, **gone.headers})
    await broker.declare(Plan(bindings=(ladder.to_exchange(orders.name).binding,)))
    await sender.channel.queue_unbind(name, orders.name, "k")
    await sender.send(ladder.rungs(0.7), ladder.to_queue(plain_queue.name))
    assert len(await broker.take(plain_queue.name, 1)) == 1
    assert await parked_in_lost(broker, lost, 80) == 80


async def parked_in_lost(broker: Plain, body: bytes, wanted: int) -> int:
    """How many messages of this body come to ``bk.d.lost``; those of others are put back."""
    channel = await broker.connection.channel()
    count = 0

    async def look() -> bool:
        nonlocal count
        foreign = []
        while (message := await channel.basic_get(ladder.LOST)).delivery.name == "Basic.GetOk":
            assert message.delivery_tag is not None
            if message.body == body:
                count += 1
                await channel.basic_ack(message.delivery_tag)
            else:
                foreign.append(message.delivery_tag)
        for tag in foreign:
            await channel.basic_nack(tag, requeue=True)
        return count >= wanted

    await eventually(look)
    await channel.close()
    return count


async def test_an_immediate_publish_that_matches_nothing_is_still_returned(broker: Plain, name: str) -> None:
    first, second = Exchange(f"{name}-a", "topic"), Exchange(f"{name}-b")
    third = Exchange(f"{name}-c", "headers", alternate=first, bindings=[second.bind("on")])
    await broker.declare(compile_topology(Topology("app", [first, second, third]), broker.version))
    channel = await broker.connection.channel()
    for exchange, key in ((first.name, "k"), (second.name, "k"), (second.name, "on"), (third.name, "k")):
        with pytest.raises(aiormq.exceptions.PublishError):
            await publish(channel, exchange, key, b"x", {"bk-p": 5, "bk-id": "1"})


async def test_what_came_over_the_ladder_is_parked_by_the_alternate_of_its_exchange(broker: Plain, name: str) -> None:
    orders = Exchange(f"{name}-x", "topic")
    await broker.declare(compile_topology(Topology("app", [orders]), broker.version))
    body = f"alternate {name}".encode()
    await publish(await broker.connection.channel(), orders.name, "k", body, {"bk-d0": 0})
    assert await parked_in_lost(broker, body, 1) == 1


async def test_a_slot_delays_exactly_and_keeps_the_order(broker: Plain, name: str) -> None:
    retry = Retry.fixed(3, delay=0.25)
    plan = compile_topology(Topology("app", [], [Queue(name, retry=retry, dead_letter=False)]), broker.version)
    await broker.declare(plan)
    (ms,) = plan.sources[name].slots
    await broker.declare(ladder.slot_declarations(ms, broker.version))
    sender = await Sender.open(broker)
    sent = []
    for _ in range(20):
        due = time.time() + 0.25
        sent.append(str(due).encode())
        await sender.send(ladder.slot(ms), ladder.to_queue(name), due=due)
    arrived = await broker.take(name, 20)
    assert [body for _, body in arrived] == sent
    assert [at - float(body) for at, body in arrived if at < float(body)] == []


async def test_delayed_messages_for_a_full_queue_hold_up_nobody_else(broker: Plain, name: str) -> None:
    full, free = Queue(f"{name}-full", max_length=1, dead_letter=False), Queue(f"{name}-free", dead_letter=False)
    plan = compile_topology(Topology("app", [], [full, free]), broker.version)
    await broker.declare(plan)
    sender = await Sender.open(broker)
    (waiting,) = plan.sources[full.name].delayed
    for _ in range(50):
        await sender.send(ladder.rungs(0.1), ladder.to_queue(waiting))
    await sender.send(ladder.rungs(0.5), ladder.to_queue(free.name))
    assert len(await broker.take(free.name, 1)) == 1
    assert await broker.drained(full.name)  # and those that had room are there


async def test_a_retry_of_a_published_message_goes_to_its_queue_alone(broker: Plain, name: str) -> None:
    """Its envelope still names the exchange it was published to, which may be a target, too."""
    orders = Exchange(f"{name}-x", "fanout")
    queues = [Queue(f"{name}-{one}", [orders.bind()], dead_letter=False) for one in "ab"]
    await broker.declare(compile_topology(Topology("app", [orders], queues), broker.version))
    target = ladder.to_queue(queues[0].name)
    await broker.declare(Plan(bindings=(ladder.to_exchange(orders.name).binding, target.binding)))
    parked = ladder.rungs(0.1)
    headers = {**parked.headers, **target.headers, "bk-x": orders.name, "bk-rk": "k"}
    await publish(await broker.connection.channel(), parked.exchange, "k", b"again", headers)
    assert [body for _, body in await broker.take(queues[0].name, 1)] == [b"again"]
    assert [await broker.drained(queue.name) for queue in queues] == [[], []]


class TestOnANodeThatIsKilled:
    pytestmark = ON_OUR_NODE

    @pytest.mark.slow
    async def test_delayed_messages_survive_the_end_of_the_broker_and_come_when_they_are_due(
        self, node: Node, url: str
    ) -> None:
        async with plain(url) as broker:
            await broker.declare(
                compile_topology(Topology("app", [], [Queue("q", retry=Retry.fixed(1, 0.4))]), (3, 10))
            )
            await broker.declare(ladder.declarations(6, (3, 10)), ladder.slot_declarations(400, (3, 10)))
            sender = await Sender.open(broker)
            # RabbitMQ 3.10 writes the directory of its quorum queues late: what is in one that was declared less than
            # about a second before the node is killed is lost, confirmed or not.
            await asyncio.sleep(4)
            due = time.time() + 6.3
            for _ in range(20):
                await sender.send(ladder.rungs(6.3), ladder.to_queue("q"), due=due)
                await sender.send(ladder.slot(400), ladder.to_queue("q"), due=time.time() + 0.4)
            broker.keep()
        await node.killed_and_started()
        async with plain(url) as broker:
            arrived = await broker.take("q", 40)
            assert [at - float(body) for at, body in arrived if at < float(body)] == []
            assert await broker.drained("q") == []
