"""Large batches that fail in part: each message, delivery and record has its own answer."""

from __future__ import annotations

import pytest

from brokerkit.delivery import Lane, QueueSource
from brokerkit.outcome import ACK, RELEASE, DeadLetter, Reason
from brokerkit.records import TaskRecord, TaskStatus
from brokerkit.store import Put
from brokerkit.stores.redis import RedisStore
from brokerkit.topology import Queue as Declared
from brokerkit.topology import Topology
from brokerkit.transport import Published, Settled
from brokerkit.transports.redis import RedisTransport
from tests.redis.between import outgoing
from tests.redis.server import Server

pytestmark = pytest.mark.broker


def record(number: int, status: TaskStatus = TaskStatus.SUCCESS) -> TaskRecord:
    return TaskRecord(id=f"t{number}", name="job", queue="work", status=status, created=1.0)


async def test_each_message_of_a_large_batch_has_its_own_answer(server: Server) -> None:
    queues = [Declared("work"), Declared("small", max_length=10), Declared("broken")]
    async with RedisTransport(server.url) as transport:
        await transport.apply(Topology("app", queues=queues))
        server.ask("SET", "bk:{broken}:broken:0", "something else")
        names = ("work", "small", "broken", "nowhere")
        batch = [outgoing(number, names[number % 4]) for number in range(1400)]
        answers = await transport.publish(batch, deadline=20)
        by_queue = {name: answers[at::4] for at, name in enumerate(names)}
        assert set(by_queue["work"]) == {Published.CONFIRMED}
        assert by_queue["small"] == [Published.CONFIRMED] * 10 + [Published.FULL] * 340
        assert set(by_queue["broken"]) == {Published.REFUSED}
        assert set(by_queue["nowhere"]) == {Published.UNROUTABLE}
        assert server.ask("XLEN", "bk:{work}:work:0") == 350


async def test_each_delivery_of_a_large_batch_has_its_own_answer(server: Server) -> None:
    async with RedisTransport(server.url) as transport:
        await transport.apply(Topology("app", queues=[Declared("work"), Declared("next")]))
        await transport.publish([outgoing(number) for number in range(900)], deadline=20)
        async with transport.consume([QueueSource("work")]) as subscription:
            lane = Lane("work", 0)
            deliveries = await subscription.receive({lane: 900})
            while len(deliveries) < 900:
                deliveries += await subscription.receive({lane: 900 - len(deliveries)})
            server.ask("SET", "bk:{work}:work.dead:0", "something else")
            outcomes = [ACK if number % 3 else DeadLetter(Reason.GAVE_UP, "no") for number in range(900)]
            answers = await subscription.settle(list(zip(deliveries, outcomes, strict=True)))
            assert answers == [Settled.DONE if number % 3 else Settled.FAILED for number in range(900)]
            assert server.ask("XLEN", "bk:{work}:work:0") == 300
            server.ask("DEL", "bk:{work}:work.dead:0")
            again = await subscription.settle(list(zip(deliveries, outcomes, strict=True)))
            assert again == [Settled.LOST if number % 3 else Settled.DONE for number in range(900)]
        assert server.ask("XLEN", "bk:{work}:work:0") == 0
        assert server.ask("XLEN", "bk:{work}:work.dead:0") == 300


async def test_each_record_of_a_large_batch_has_its_own_answer(server: Server) -> None:
    async with RedisStore(server.url) as store:
        for number in range(0, 700, 70):
            server.ask("LPUSH", f"bk:record:t{number}", "something else")
        answers = await store.put([record(number) for number in range(700)])
        assert answers == [Put.STORED if number % 70 else Put.ERROR for number in range(700)]


async def test_thousands_of_messages_are_given_back_in_one_go(server: Server) -> None:
    total, lane = 8000, Lane("work", 0)
    async with RedisTransport(server.url) as transport:
        await transport.apply(Topology("app", queues=[Declared("work")]))
        await transport.publish([outgoing(number) for number in range(total)], deadline=30)
        for way in ("released", "left", "paused"):
            async with transport.consume([QueueSource("work")]) as subscription:
                deliveries = await subscription.receive({lane: total})
                while len(deliveries) < total:
                    deliveries += await subscription.receive({lane: total - len(deliveries)})
                assert {each.deliveries for each in deliveries} == {1}
                assert [each.message.id for each in deliveries] == [f"m{number}" for number in range(total)]
                if way == "released":
                    answers = await subscription.settle([(each, RELEASE) for each in deliveries])
                    assert set(answers) == {Settled.DONE}
                elif way == "paused":
                    await subscription.pause()
            stats = await transport.stats("work")
            assert (stats.ready, stats.in_flight) == (total, 0)
