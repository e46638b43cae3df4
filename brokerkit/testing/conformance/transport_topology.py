"""Applying topologies, and counting what is in them."""

from __future__ import annotations

from brokerkit.delivery import QueueSource
from brokerkit.errors import TopologyConflict, TopologyError
from brokerkit.outcome import ACK, DeadLetter, Reason
from brokerkit.testing.conformance.bench import bench, ids
from brokerkit.testing.conformance.harness import Harness, Scenario, needs
from brokerkit.topology import Exchange, Queue, Topology
from brokerkit.transport import Published, Transport


async def applying_twice_changes_nothing(harness: Harness) -> None:
    async with bench(harness, priorities=3, max_length=100) as b:
        [sent] = await b.send_some(1)
        topology = Topology(harness.name("app"), queues=[b.queue])
        for _ in range(2):
            await b.transport.apply(topology)
        async with harness.connect() as other:
            await other.apply(topology)
        async with b.reader() as reader:
            assert ids(await reader.drain(1)) == [sent.id], "what was in the queue is still there"


async def a_publisher_routes_to_what_other_apps_have_declared(harness: Harness) -> None:
    orders = Exchange(harness.name("orders"), type="topic")
    mine, theirs = (Queue(harness.name("queue"), bindings=[orders.bind("order.#")]) for _ in range(2))
    async with bench(harness) as b, harness.connect() as other:
        await b.transport.apply(Topology(harness.name("shop"), exchanges=[orders], queues=[mine]))
        await other.apply(Topology(harness.name("stock"), exchanges=[orders], queues=[theirs]))
        sent = b.message(exchange=orders.name, routing_key="order.placed")
        assert await b.publish_one(sent, orders.name, "order.placed") is Published.CONFIRMED, "two queues are bound"
        for queue in (mine, theirs):
            async with b.reader(QueueSource(queue.name), transport=other) as reader:
                assert ids(await reader.drain(1)) == [sent.id], f"{queue.name} did not get it"


async def what_an_earlier_apply_declared_stays(harness: Harness) -> None:
    async with bench(harness) as b:
        app = harness.name("app")
        jobs = Exchange(harness.name("jobs"))
        first, second = (Queue(harness.name("queue"), bindings=[jobs.bind(key)]) for key in ("first", "second"))
        await b.transport.apply(Topology(app, exchanges=[jobs], queues=[first]))
        await b.transport.apply(Topology(app, exchanges=[jobs], queues=[second]))
        for queue, key in ((first, "first"), (second, "second")):
            for exchange, routing_key in ((jobs.name, key), ("", queue.name)):
                answer = await b.publish_one(b.message(), exchange, routing_key)
                assert answer is Published.CONFIRMED, f"{queue.name} was declared and bound, but it answered {answer}"


async def a_conflict_is_refused_and_changes_nothing(harness: Harness) -> None:
    async with bench(harness, priorities=3) as b, harness.connect() as other:
        [sent] = await b.send_some(1)
        changed, fresh = Queue(b.queue.name, priorities=2), Queue(harness.name("queue"))
        for transport in (other, b.transport):
            await _conflicts(transport, Topology(harness.name("app"), queues=[fresh, changed]))
        answer = await b.publish_one(b.message(), "", fresh.name)
        assert answer is Published.UNROUTABLE, f"a refused topology declares nothing, but it answered {answer}"
        async with b.reader() as reader:
            assert ids(await reader.drain(1)) == [sent.id], "the queue is as it was"


async def _conflicts(transport: Transport, topology: Topology) -> None:
    try:
        await transport.apply(topology)
    except TopologyConflict as conflict:
        if "priorities" not in conflict.attribute:
            raise AssertionError(f"the priorities differ, but it says {conflict}") from None
    else:
        raise AssertionError("the same queue with other attributes was accepted")


async def an_unknown_queue_has_no_stats_and_one_of_a_like_name_is_named(harness: Harness) -> None:
    async with bench(harness) as b:
        assert "apply its topology" in await _refused(b.transport, "nowhere")
        assert repr(b.queue.name) in await _refused(b.transport, b.queue.name + "s")


async def _refused(transport: Transport, wrong: str) -> str:
    try:
        await transport.stats(wrong)
    except TopologyError as error:
        return str(error)
    raise AssertionError("the stats of an unknown queue raise TopologyError")


async def stats_count_what_is_there(harness: Harness) -> None:
    async with bench(harness, priorities=2) as b, b.reader() as reader:
        await b.send(*(b.message(priority=priority) for priority in (0, 0, 0, 9, 9)))
        low, _ = reader.lanes
        held = await reader.subscription.receive({low: 1})
        assert len(held) == 1, f"one was asked for, {len(held)} came"
        stats = await b.transport.stats(b.queue.name)
        assert stats.queue == b.queue.name, f"stats of {stats.queue}"
        assert stats.ready in {4, None}, f"four wait, not {stats.ready}"
        assert stats.in_flight in {1, None}, f"one is held, not {stats.in_flight}"
        assert stats.consumers in {1, None}, f"one process consumes, not {stats.consumers}"
        assert stats.dead in {0, None}, f"none are dead, not {stats.dead}"
        assert len(stats.lanes) in {0, 2}, f"two lanes, not {len(stats.lanes)}"
        for lane, wanted in zip(stats.lanes, (2, 2), strict=False):
            assert lane.ready in {wanted, None}, f"two wait in each lane: {stats.lanes}"
        await reader.settle(ACK, *held)
        await reader.drain(4)
        empty = await b.transport.stats(b.queue.name)
        assert empty.ready in {0, None}, f"all were acknowledged, but {empty.ready} wait"
        assert empty.in_flight in {0, None}, f"all were acknowledged, but {empty.in_flight} are held"


@needs("delayed")
async def stats_count_what_is_delayed_and_dead(harness: Harness) -> None:
    async with bench(harness) as b, b.reader() as reader:
        await b.send_some(2, due=b.now + 50 * harness.step)
        await b.send_some(1)
        await reader.settle(DeadLetter(Reason.FAILED), await reader.one())
        stats = await b.transport.stats(b.queue.name)
        assert stats.delayed in {2, None}, f"two are delayed, not {stats.delayed}"
        assert stats.dead in {1, None}, f"one is dead, not {stats.dead}"
        assert stats.ready in {0, None}, f"none are ready, not {stats.ready}"


SCENARIOS: tuple[Scenario, ...] = (
    applying_twice_changes_nothing,
    a_publisher_routes_to_what_other_apps_have_declared,
    what_an_earlier_apply_declared_stays,
    a_conflict_is_refused_and_changes_nothing,
    an_unknown_queue_has_no_stats_and_one_of_a_like_name_is_named,
    stats_count_what_is_there,
    stats_count_what_is_delayed_and_dead,
)
