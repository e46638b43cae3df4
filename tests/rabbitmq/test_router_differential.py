"""The Router against the broker itself: the same topology, the same messages, the same queues."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from typing import Any, get_args
from uuid import uuid4

import msgspec
import pytest
from aiormq.abc import AbstractChannel, DeliveredMessage
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pamqp.commands import Basic

from brokerkit.errors import TopologyError
from brokerkit.operations.explain import Question, explain
from brokerkit.topology import Exchange, HeaderMatch, HeaderValue, Queue, Router, Topology
from brokerkit.transports.rabbitmq.compile import compile_topology
from brokerkit.transports.rabbitmq.plan import OWN_PREFIX, BindingPlan, ExchangePlan, Plan
from brokerkit.transports.rabbitmq.versions import Version
from tests.brokers import broker_url
from tests.rabbitmq.plain import EDITIONS, Plain, plain
from tests.topology.strategies import EXCHANGES, headers, keys, topologies

pytestmark = pytest.mark.broker

TOPOLOGIES = {"rabbitmq": 500, "rabbitmq-newer": 200}
"""How many for each edition: newer ones take longer over each exchange."""
AT_ONCE = 25
"""Topologies on one channel at a time."""


class Sent(msgspec.Struct, frozen=True):
    """A message to publish: where, and with what."""

    exchange: str
    key: str
    headers: dict[str, object]


class Case(msgspec.Struct, frozen=True):
    """A topology and messages for it."""

    topology: Topology
    messages: tuple[Sent, ...]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Any topology, without what RabbitMQ refuses and what has nothing to do with routing; up to 3 lanes a queue."""
    drawn = draw(topologies())
    queues = [
        msgspec.structs.replace(queue, dead_letter=False, max_length=None, priorities=max(1, queue.priorities - 7))
        for queue in drawn.queues
    ]
    logs = [msgspec.structs.replace(log, history=False, retention=None) for log in drawn.logs]
    topology = msgspec.structs.replace(drawn, queues=tuple(queues), logs=tuple(logs))
    targets = st.one_of(
        st.builds(Sent, st.sampled_from(EXCHANGES), keys, headers),
        st.builds(Sent, st.just(""), st.sampled_from([*(queue.name for queue in queues), "nowhere"]), headers),
    )
    return Case(topology, tuple(draw(st.lists(targets, min_size=4, max_size=4))))


def random_cases(count: int, *, derandomize: bool = False) -> list[Case]:
    """Other ones with each run, unless asked otherwise; a failure shows the topology itself."""
    found: list[Case] = []

    @settings(
        max_examples=count,
        phases=[Phase.generate],
        database=None,
        derandomize=derandomize,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(cases())
    def collect(case: Case) -> None:
        found.append(case)

    collect()
    return found


@pytest.mark.slow
@pytest.mark.timeout(150)
@pytest.mark.parametrize(("edition", "count"), TOPOLOGIES.items())
async def test_random_topologies_route_as_the_router_says(edition: str, count: int) -> None:
    differences: list[str] = []
    async with plain(broker_url(edition)) as broker:
        arrivals = Arrivals(broker)
        cases = accepted_cases(count, broker.version)
        for start in range(0, count, AT_ONCE):
            differences += await compare(broker, cases[start : start + AT_ONCE], arrivals)
    assert not differences, f"{len(differences)} differences:\n" + "\n".join(differences)


@pytest.mark.parametrize("edition", EDITIONS)
async def test_header_values_of_all_kinds_compare_as_the_router_says(edition: str) -> None:
    values: list[HeaderValue] = [None, True, False, 0, 1, 1.0, -2.0, 1.5, 2**40, float(2**40), "", "1", "True", "a"]
    source = Exchange("x", "headers")
    single = [source.bind(headers={"k": value}) for value in values]
    double = [
        source.bind(headers={"k": value, "l": other}, match=match)
        for value in (1, 1.5, True)
        for other in (2.0, 0, "a")
        for match in get_args(HeaderMatch)
    ]
    bindings = [*single, *double]
    queues = [Queue(f"q-{number}", [binding], dead_letter=False) for number, binding in enumerate(bindings)]
    sent = [{"k": value, "l": other} for value in values for other in (2, 0.0, "a")] + [
        {"k": value} for value in values
    ]
    case = Case(Topology("all", [source], queues), tuple(Sent("x", "", dict(given)) for given in sent))
    async with plain(broker_url(edition)) as broker:
        assert await compare(broker, [case], Arrivals(broker)) == []


def accepted(case: Case, version: Version) -> bool:
    """Whether the broker takes it; newer ones refuse patterns of many wildcards, and nothing else that is drawn."""
    try:
        compile_topology(case.topology, version)
    except TopologyError as error:
        if any("'#'" not in problem for problem in error.problems):
            raise
        return False
    return True


def accepted_cases(count: int, version: Version) -> list[Case]:
    """Random ones that the broker takes."""
    found: list[Case] = []
    while len(found) < count:
        found += [case for case in random_cases(max(50, count - len(found))) if accepted(case, version)]
    return found[:count]


async def compare(broker: Plain, batch: list[Case], arrivals: Arrivals) -> list[str]:
    """Publish the messages of a batch and return one text for each that reaches other queues than it should."""
    installed = [Installed(case, compile_topology(case.topology, broker.version), arrivals) for case in batch]
    try:
        channel = await broker.connection.channel(publisher_confirms=False)
        for each in installed:
            await each.declare(channel)
        for each in installed:
            await each.publish(channel)
        await arrivals.complete(channel)
        await channel.close()
        return [text for each in installed for text in each.differences()]
    finally:
        channel = await broker.connection.channel(publisher_confirms=False)  # the broker may have closed the other
        for each in installed:
            await each.delete(channel)
        await channel.close()


class Arrivals:
    """The queues of all topologies of a connection, and what each has delivered.

    Topologies share them, which saves most of the time: their exchanges have names of their own, and so have messages.
    """

    def __init__(self, broker: Plain) -> None:
        self.copies: Counter[tuple[str, bytes]] = Counter()
        self._broker = broker
        self._prefix = f"differential-{uuid4().hex[:12]}."
        self._channel: AbstractChannel | None = None
        self._ends: dict[str, asyncio.Queue[None]] = {}

    def named(self, queue: str) -> str:
        return self._prefix + queue

    async def listen(self, queue: str) -> None:
        if queue in self._ends:
            return
        if self._channel is None:
            self._channel = await self._broker.connection.channel(publisher_confirms=False)
        end = self._ends[queue] = asyncio.Queue()

        async def took(message: DeliveredMessage) -> None:
            if message.body == b"end":
                end.put_nowait(None)
            else:
                self.copies[queue, bytes(message.body)] += 1

        await self._channel.queue_declare(self.named(queue), exclusive=True)
        await self._channel.basic_consume(self.named(queue), took, no_ack=True)

    async def complete(self, channel: AbstractChannel) -> None:
        """Wait until each queue has delivered all: what was published last comes last."""
        for queue in self._ends:
            await channel.basic_publish(b"end", routing_key=self.named(queue))
        async with asyncio.timeout(30):
            for end in self._ends.values():
                await end.get()


class Installed:
    """A case on the broker, its exchanges under names of their own."""

    def __init__(self, case: Case, plan: Plan, arrivals: Arrivals) -> None:
        self.case, self.plan = case, plan
        self._arrivals = arrivals
        self._id = f"differential-{uuid4().hex[:12]}"
        # The queues behind each name that the router knows.
        self._behind = {queue.name: plan.sources[queue.name].lanes for queue in case.topology.queues}
        self._behind |= {group.log: (group.key,) for group in case.topology.groups}

    async def declare(self, channel: AbstractChannel) -> None:
        """Exchanges are transient and queues exclusive, which makes no difference to routing and is quicker."""
        for exchange in self._exchanges():
            given: dict[str, Any] = {name: self._named(str(value)) for name, value in exchange.arguments.items()}
            await channel.exchange_declare(
                self._named(exchange.name), exchange_type=exchange.type, arguments=given, nowait=True
            )
        for queue in self.plan.queues:
            if not queue.name.startswith(OWN_PREFIX):
                await self._arrivals.listen(queue.name)
        for binding in self.plan.bindings:
            if not binding.source.startswith(OWN_PREFIX):
                await self._bind(channel, binding)

    async def _bind(self, channel: AbstractChannel, binding: BindingPlan) -> None:
        source, compared = self._named(binding.source), dict[str, Any](binding.arguments)
        if binding.to_queue:
            queue = self._arrivals.named(binding.destination)
            await channel.queue_bind(queue, source, binding.key, arguments=compared, nowait=True)
        else:
            exchange = self._named(binding.destination)
            await channel.exchange_bind(exchange, source, binding.key, arguments=compared, nowait=True)

    async def publish(self, channel: AbstractChannel) -> None:
        for number, sent in enumerate(self.case.messages):
            await channel.basic_publish(
                self._body(number),
                exchange=self._named(sent.exchange) if sent.exchange else "",
                routing_key=sent.key if sent.exchange else self._arrivals.named(sent.key),
                properties=Basic.Properties(headers=dict(sent.headers)),  # type: ignore[arg-type]
            )

    def differences(self) -> Iterator[str]:
        router = Router(self.case.topology)
        for number, sent in enumerate(self.case.messages):
            said = set(router.route(sent.exchange, sent.key, sent.headers))
            question = Question(exchange=sent.exchange, key=sent.key, headers=sent.headers)
            assert {*explain(self.case.topology, question).reached} == said
            copies = {
                name: sum(self._arrivals.copies[queue, self._body(number)] for queue in queues)
                for name, queues in self._behind.items()
            }
            if copies != {name: int(name in said) for name in self._behind}:
                yield f"{sent} in {self.case.topology}: the router says {sorted(said)}, the broker {copies}"

    async def delete(self, channel: AbstractChannel) -> None:
        for exchange in self._exchanges():
            await channel.exchange_delete(self._named(exchange.name), nowait=True)
        await channel.basic_qos(prefetch_count=1)  # answered after all of those are done

    def _exchanges(self) -> list[ExchangePlan]:
        return [exchange for exchange in self.plan.exchanges if not exchange.name.startswith(OWN_PREFIX)]

    def _body(self, number: int) -> bytes:
        return f"{self._id} {number}".encode()

    def _named(self, exchange: str) -> str:
        return exchange if exchange.startswith(OWN_PREFIX) else f"{self._id}.{exchange}"


def test_the_cases_cover_what_there_is_to_route() -> None:
    found = random_cases(300, derandomize=True)
    routes = [
        Router(case.topology).route(sent.exchange, sent.key, sent.headers) for case in found for sent in case.messages
    ]
    reached = Counter(len(route) for route in routes)
    assert all(reached[count] > 5 for count in (0, 1, 2, 3)), reached
    assert any("log" in route for route in routes)
    assert any(queue.lanes > 1 for case in found for queue in case.topology.queues)
