"""Somebody deletes a queue, removes a binding, or has declared something else under our name."""

from __future__ import annotations

import asyncio

import pytest

from brokerkit import App, Exchange, Log, Queue, Unroutable
from brokerkit.delivery import GroupSource
from brokerkit.errors import TopologyConflict
from tests.rabbitmq.faults import ON_OUR_NODE, PATIENCE, Probes, plain_channel, until, vhost_of
from tests.rabbitmq.node import Node

pytestmark = ON_OUR_NODE


@pytest.mark.parametrize("queue", [Queue("probes"), Queue("probes", priorities=2), Queue("probes", type="classic")])
async def test_a_queue_that_is_deleted_under_its_consumer_is_declared_and_consumed_again(
    node: Node, url: str, queue: Queue
) -> None:
    probes = Probes(url, queue)
    gate = probes.gate(1)
    async with probes.app, probes.app.worker(concurrency=4), plain_channel(url) as channel:
        await probes.send(1)
        await probes.until_begun(1)
        await channel.queue_delete("probes")
        gate.set()  # what it held is gone with its queue
        async with asyncio.timeout(PATIENCE):
            while not await _taken(probes, 2):
                await asyncio.sleep(0.05)
        await probes.until_ended(1, 2)
        await until(lambda: node.queues(vhost_of(url))["probes"].consumers == 1)
    assert probes.cancelled == []


async def _taken(probes: Probes, number: int) -> bool:
    try:
        await probes.send(number)
    except Unroutable:
        return False
    return True


async def test_the_queue_of_a_group_that_is_deleted_is_bound_again(url: str) -> None:
    app = App(url, name="history", store=None)
    exchange = Exchange("orders", type="topic")
    history = Log("history", bindings=[exchange.bind("order.#")])
    seen: list[int] = []

    @app.subscribe(history, group="books")
    async def write_down(number: int) -> None:
        seen.append(number)

    async with app, app.worker(), plain_channel(url) as channel:
        await app.publish(1, exchange=exchange, routing_key="order.placed")
        await until(lambda: seen == [1])
        await channel.queue_delete(GroupSource("history", "books").key)
        async with asyncio.timeout(PATIENCE):  # until it is bound again nobody wants what is published
            while 2 not in seen:
                await app.publish(2, exchange=exchange, routing_key="order.placed")
                await asyncio.sleep(0.05)


async def test_a_binding_that_is_removed_makes_publishes_unroutable_also_after_a_disconnect(
    node: Node, url: str
) -> None:
    orders = Exchange("orders", type="topic")
    owner = App(url, name="owner", store=None)
    owner.declare(orders, Queue("packing", bindings=[orders.bind("order.*")]))
    async with owner:
        pass
    async with App(url, name="shop", store=None) as shop, plain_channel(url) as channel:
        await shop.publish(1, exchange=orders, routing_key="order.placed")
        await channel.queue_unbind("packing", "orders", "order.*")
        with pytest.raises(Unroutable):
            await shop.publish(2, exchange=orders, routing_key="order.placed")
        await node.cut_all()
        with pytest.raises(Unroutable):
            await shop.publish(3, exchange=orders, routing_key="order.placed")
    async with owner, App(url, name="shop", store=None) as shop:
        await shop.publish(4, exchange=orders, routing_key="order.placed")
        assert (await asyncio.to_thread(node.queues, vhost_of(url)))["packing"].messages == 2


async def test_a_queue_of_another_kind_is_one_error_and_no_loop(node: Node, url: str) -> None:
    async with plain_channel(url) as channel:
        await channel.queue_declare("probes", durable=True)  # classic
    probes = Probes(url)
    with pytest.raises(TopologyConflict, match="probes") as caught:
        await probes.app.__aenter__()
    assert (caught.value.wanted, caught.value.found) == ("quorum", "classic")
    complaints = node.log().count("inequivalent arg")
    assert complaints > 0
    await asyncio.sleep(1)
    assert node.connections() == 0
    assert node.log().count("inequivalent arg") == complaints
    assert set(node.queues(vhost_of(url))) == {"probes"}, "something was declared before everything had been checked"
