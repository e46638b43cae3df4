"""What the broker's user may not do is found out without doing harm."""

from __future__ import annotations

import pytest

from brokerkit.checkup import Verdict
from brokerkit.topology import Exchange, Queue, Topology
from brokerkit.transports.rabbitmq.transport import RabbitmqTransport
from tests.brokers import broker_url
from tests.rabbitmq.links import unique
from tests.rabbitmq.node import Node

pytestmark = pytest.mark.broker


async def test_a_user_who_may_not_declare_is_told_what_to_be_granted(node: Node) -> None:
    user = unique("reader")
    url = node.add_user(user, "pw")
    node.allow(user, configure="^$", write="^$")
    async with RabbitmqTransport(url) as transport:
        checks = await transport.checkup(Topology("t"))
    (found,) = [check for check in checks if check.topic == "permissions"]
    assert found.verdict is Verdict.WARNING
    assert "may not configure bk.doctor." in found.text
    assert "topology export --delays" in found.fix


async def test_a_topology_that_the_broker_would_refuse_is_a_problem() -> None:
    pattern = Exchange("e", "topic").bind("#.a.#.b.#")
    wrong = Topology("t", [Exchange("e", "topic")], [Queue("q", [pattern], message_ttl=1e9)])
    async with RabbitmqTransport(broker_url("rabbitmq")) as transport:
        checks = await transport.checkup(wrong)
    (found,) = [check for check in checks if check.topic == "topology"]
    assert found.verdict is Verdict.PROBLEM
    assert "queues.q.message_ttl: RabbitMQ takes at most ten years" in found.text


async def test_a_queue_of_somebody_else_that_is_not_there_is_a_problem() -> None:
    theirs = Topology("t", queues=[Queue("nobody-declared-this", mode="verify", dead_letter=False)])
    async with RabbitmqTransport(broker_url("rabbitmq")) as transport:
        checks = await transport.checkup(theirs)
    assert [check.text for check in checks if check.verdict is Verdict.PROBLEM] == [
        "nobody-declared-this is not there, and mode='verify'"
    ]
