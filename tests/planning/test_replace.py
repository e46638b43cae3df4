"""A queue is replaced while messages come and workers run: none is lost, whenever whoever does it is killed."""

import asyncio
import contextlib
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from brokerkit import App, Exchange, Queue, Settings, Topology, planning
from brokerkit.message import Message, Outgoing
from brokerkit.operations.files import to_toml
from brokerkit.planning import Options
from brokerkit.transport import Published
from brokerkit.transports.rabbitmq import standins
from brokerkit.transports.rabbitmq.asking import Asking
from brokerkit.transports.rabbitmq.plan import QueuePlan
from brokerkit.transports.rabbitmq.planning.swapping import UnderWay
from tests.planning.brokers import Place, rabbitmqs

ROOT = Path(__file__).parent.parent.parent
FULL = os.environ.get("BROKERKIT_TEST_FULL") == "1"
BACKLOG = 100_000 if FULL else 2_000
SIDE_BY_SIDE = Options(replace="side-by-side")


async def job(number: str) -> None:
    raise NotImplementedError  # the worker has it


class Shop:
    """An app whose queue is to be replaced, its worker process, and what it was sent."""

    def __init__(self, place: Place, url: str, log: Path) -> None:
        self.name = place.prefix.rstrip(".")
        self.orders = Exchange(f"{self.name}.orders", "topic")
        bindings = [self.orders.bind("order.#")]
        self.classic = Queue(f"{self.name}.work", bindings, type="classic", dead_letter=False)
        self.quorum = msgspec.structs.replace(self.classic, type="quorum")
        self.log = log
        self.environment = {**os.environ, "PLAN_URL": url, "PLAN_NAME": self.name, "PLAN_LOG": str(log)}
        # It neither declares the queue nor looks whether it is as this program thinks.
        self.sender = App(url, name=self.name, store=None, settings=Settings(mode="trust"))
        self.job = self.sender.task(queue=Queue(self.classic.name), name="job", reply=False)(job)
        self.sent: list[str] = []
        self._numbers = iter(range(10**9))

    def topology(self, queue: Queue) -> Topology:
        return Topology(self.name, [self.orders], [queue])

    @contextlib.contextmanager
    def worker(self) -> Iterator[subprocess.Popen[str]]:
        worker = subprocess.Popen(
            [sys.executable, "-m", "tests.planning.worker"],
            cwd=ROOT, env=self.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            assert worker.stdout is not None
            assert worker.stdin is not None
            assert worker.stdout.readline().strip() == "ready"
            yield worker
            worker.stdin.close()
            assert worker.wait(timeout=30) == 0
        finally:
            worker.kill()
            worker.wait()
            for pipe in (worker.stdin, worker.stdout):
                if pipe is not None and not pipe.closed:
                    pipe.close()

    async def send(self, count: int) -> None:
        """Send straight to the queue, and publish by the exchange; what was confirmed is noted."""
        numbers = [str(next(self._numbers)) for _ in range(count)]
        half = len(numbers) // 2
        calls = [self.job.send(each) for each in numbers[:half]]
        await asyncio.gather(*calls)
        events = [
            self.sender.publish(each, exchange=self.orders.name, routing_key="order.new") for each in numbers[half:]
        ]
        await asyncio.gather(*events)
        self.sent += numbers

    async def traffic(self) -> None:
        while True:
            await self.send(10)
            await asyncio.sleep(0.03)

    def done(self) -> Counter[str]:
        return Counter(self.log.read_text().split()) if self.log.exists() else Counter()

    async def all_done(self, within: float) -> None:
        ends = time.monotonic() + within
        while set(self.sent) - self.done().keys():
            assert time.monotonic() < ends, f"{len(set(self.sent) - self.done().keys())} of {len(self.sent)} are lost"
            await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def running(task: Any) -> AsyncIterator[None]:
    """Run something beside; whatever it raised is raised at the end."""
    running = asyncio.ensure_future(task)
    try:
        yield
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running


@pytest.fixture
def shop(place: Place, tmp_path: Path) -> Shop:
    return Shop(place, place.url, tmp_path / "log")


async def sweep(place: Place, app: str) -> None:
    async with place.transport() as transport:
        nothing = await planning.plan(transport, Topology(app), Options(prune=True))
        await planning.apply(transport, nothing, wait=60, allow_loss=10**6)


@pytest.mark.parametrize("place", rabbitmqs(), indirect=True)
async def test_a_classic_queue_becomes_a_quorum_queue_under_traffic_and_nothing_is_lost(
    place: Place, shop: Shop
) -> None:
    async with place.transport() as transport:
        classic = await planning.plan(transport, shop.topology(shop.classic))
        await planning.apply(transport, classic, wait=60)
        async with shop.sender:
            for _ in range(0, BACKLOG, 2000):
                await shop.send(2000)
            with shop.worker():
                async with running(shop.traffic()):
                    refused = await planning.plan(transport, shop.topology(shop.quorum))
                    assert [change.kind for change in refused.blocked] == ["queue"]
                    wanted = await planning.plan(transport, shop.topology(shop.quorum), SIDE_BY_SIDE)
                    applied = await planning.apply(transport, wanted, wait=60)
                    assert not applied.left.changes
                    await asyncio.sleep(0.2)
                await shop.all_done(30 + BACKLOG / 500)
    again = {number: count for number, count in shop.done().items() if count > 1}
    # What is published between the binding of one queue and the unbinding of the other goes to both.
    assert len(again) <= len(shop.sent) / 20
    await sweep(place, shop.name)


@pytest.mark.parametrize("place", rabbitmqs()[:1], indirect=True)
async def test_a_sender_that_has_lost_its_connection_still_learns_where_to_send(place: Place, shop: Shop) -> None:
    queue = shop.classic.name
    async with place.transport() as sender, place.transport() as other:
        await planning.apply(other, await planning.plan(other, shop.topology(shop.classic)), wait=60)
        now = time.time()
        letter = Outgoing(Message(id="m-1", name="x", body=b"{}", created=now), "", queue)
        assert await sender.publish([letter], deadline=10) == [Published.CONFIRMED]
        await sender.disconnect()
        places = standins.of(queue)
        under_way = UnderWay(other._broker)
        async with Asking(other._broker.channel) as asking:
            for name in (places.standin, places.out):
                await asking.declare(QueuePlan(name, {"x-queue-type": "classic"}))
            await under_way.begin()
            try:
                async with asyncio.timeout(20):
                    while (await asking.count(places.standin) or (0, 0))[0] == 0:
                        assert await sender.publish([letter], deadline=10) == [Published.CONFIRMED]
                        await asyncio.sleep(0.1)
            finally:
                await under_way.end()
                for name in (places.standin, places.out):
                    await asking.delete_queue(name)
    await sweep(place, shop.name)


@pytest.mark.parametrize("place", rabbitmqs()[:1], indirect=True)
async def test_what_is_returned_because_its_queue_is_being_replaced_goes_to_its_stand_in(
    place: Place, shop: Shop
) -> None:
    queue = shop.classic.name
    async with place.transport() as sender, place.transport() as other:
        await planning.apply(other, await planning.plan(other, shop.topology(shop.classic)), wait=60)
        letter = Outgoing(Message(id="m-1", name="x", body=b"{}", created=time.time()), "", queue)
        assert await sender.publish([letter], deadline=10) == [Published.CONFIRMED]  # it knows where the queue is
        places = standins.of(queue)
        under_way = UnderWay(other._broker)
        async with Asking(other._broker.channel) as asking:
            for name in (places.standin, places.out):
                await asking.declare(QueuePlan(name, {"x-queue-type": "classic"}))
            await under_way.begin()
            await asking.delete_queue(queue)  # long before it has looked again
            try:
                nowhere = Outgoing(letter.message, "", "nowhere")
                answers = await sender.publish([letter, nowhere, letter], deadline=10)
                assert answers == [Published.CONFIRMED, Published.UNROUTABLE, Published.CONFIRMED]
                assert (await asking.count(places.standin) or (0, 0))[0] == 2
            finally:
                await under_way.end()
                for name in (places.standin, places.out):
                    await asking.delete_queue(name)
    await sweep(place, shop.name)


class Killed(BaseException):
    """As a kill: nothing is cleaned up by whoever is hit."""


@pytest.mark.parametrize("place", rabbitmqs()[:1], indirect=True)
async def test_whoever_replaces_a_queue_may_end_after_every_step_and_nothing_is_lost(place: Place, shop: Shop) -> None:
    async with place.transport() as transport:
        await planning.apply(transport, await planning.plan(transport, shop.topology(shop.classic)), wait=60)
    async with shop.sender:
        await shop.send(200)
        with shop.worker():
            async with running(shop.traffic()):
                steps = await ended_after_every_step(place, shop.topology(shop.quorum))
            await shop.all_done(40)
    assert steps >= 9
    await sweep(place, shop.name)


@pytest.mark.skipif(not FULL, reason="takes minutes: BROKERKIT_TEST_FULL=1")
@pytest.mark.timeout(300)
@pytest.mark.parametrize("place", rabbitmqs(), indirect=True)
async def test_the_command_is_killed_at_any_time_and_nothing_is_lost(place: Place, shop: Shop, tmp_path: Path) -> None:
    """For real: SIGKILL of its process, whatever it is doing, but for the moment in which it deletes a queue."""
    file = tmp_path / "shop.toml"
    file.write_text(to_toml(shop.topology(shop.quorum)))
    command = [sys.executable, "-m", "brokerkit", "topology", "apply", str(file), "--url", place.url, "--wait", "60"]
    async with place.transport() as transport:
        await planning.apply(transport, await planning.plan(transport, shop.topology(shop.classic)), wait=60)
    async with shop.sender:
        await shop.send(200)
        with shop.worker():
            async with running(shop.traffic()):
                for seconds in (1.0, 2.0, 3.0, 5.5, 4.5, 6.0, 7.0, 5.0):
                    killed = await asyncio.create_subprocess_exec(*command, "--replace", "side-by-side", cwd=ROOT)
                    await asyncio.sleep(seconds)
                    with contextlib.suppress(ProcessLookupError):
                        killed.kill()
                    await killed.wait()
                done = await asyncio.create_subprocess_exec(*command, "--replace", "side-by-side", cwd=ROOT)
                assert await done.wait() == 0
            await shop.all_done(60)
    await sweep(place, shop.name)


async def ended_after_every_step(place: Place, topology: Topology) -> int:
    """Apply again and again, each time ending after a step that had not been the last one yet, until all is done;
    returns how many steps there were."""
    ended: set[str] = set()
    for _ in range(200):
        transport = place.transport()
        async with transport:
            seen: Counter[str] = Counter()

            def done(what: str, seen: Counter[str] = seen) -> None:
                seen[what] += 1
                step = f"{what} ({seen[what]})"
                if step not in ended:
                    ended.add(step)
                    raise Killed(step)

            try:
                wanted = await planning.plan(transport, topology, SIDE_BY_SIDE)
                applied = await planning.apply(transport, wanted, done=done, wait=60)
            except Killed:
                await transport.abandon()
                continue
            assert not applied.left.changes
            return len(ended)
    raise AssertionError("it does not come to an end")
