"""What may change later becomes a policy of its queue, where the management API is there to set it."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import time
import uuid
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote, urlsplit
from urllib.request import Request, urlopen

import aiormq
import pytest

from brokerkit.errors import ConfigurationError, ConnectFailed, TopologyConflict, TopologyError
from brokerkit.ids import new_id
from brokerkit.message import Message, Outgoing
from brokerkit.topology import DeadLetter, Queue, Topology
from brokerkit.transport import Published
from brokerkit.transports.rabbitmq.compile import compile_topology
from brokerkit.transports.rabbitmq.management import Management
from brokerkit.transports.rabbitmq.policies import Policy, check_unrivalled, with_policies
from brokerkit.transports.rabbitmq.transport import RabbitmqTransport
from tests.brokers import broker_url


def test_only_what_can_never_change_stays_an_argument() -> None:
    queue = Queue("orders", max_length=10, message_ttl=30, single_active=True, dead_letter=DeadLetter("graves"))
    plan, policies = with_policies(compile_topology(Topology("app", queues=[queue]), (3, 10)))
    arguments = {each.name: dict(each.arguments) for each in plan.queues}
    assert arguments["orders"] == {"x-queue-type": "quorum", "x-single-active-consumer": True}
    assert {policy.queue: dict(policy.definition) for policy in policies}["orders"] == {
        "max-length": 9,
        "message-ttl": 90_000,
        "overflow": "reject-publish",
        "dead-letter-exchange": "",
        "dead-letter-routing-key": "graves",
        "dead-letter-strategy": "at-least-once",
    }


def test_what_somebody_else_declares_gets_no_policy() -> None:
    queue = Queue("orders", max_length=10, dead_letter=False, mode="verify")
    before = compile_topology(Topology("app", queues=[queue]), (3, 10))
    after, policies = with_policies(before)
    assert after == before
    assert not policies


def test_a_policys_pattern_takes_its_queue_and_no_other() -> None:
    body = Policy("a.b+c", {"max-length": 1}).body()
    assert body["pattern"] == r"^a\.b\+c$"
    assert Policy("a.b+c", {}).name == "bk.a.b+c"


def test_a_policy_that_would_win_is_named() -> None:
    ours = [Policy("orders", {"max-length": 1})]
    rival = {"name": "all", "pattern": "^ord", "apply-to": "queues", "priority": 100}
    with pytest.raises(TopologyConflict, match="policy all for queue orders"):
        check_unrivalled(ours, [rival])
    check_unrivalled(ours, [rival | {"priority": 0}, rival | {"apply-to": "exchanges"}, rival | {"pattern": "^x"}])
    check_unrivalled(ours, [rival | {"name": "bk.orders"}])


@pytest.mark.parametrize("url", ["amqp://h/", "http://", "nonsense"])
def test_a_url_that_is_none_is_refused_without_being_shown(url: str) -> None:
    with pytest.raises(ConfigurationError, match="management= takes"):
        Management(url, "/")


async def test_nobody_there_is_one_clear_error() -> None:
    with pytest.raises(ConnectFailed, match=r"127.0.0.1:1 does not answer") as caught:
        await Management("http://guest:secret@127.0.0.1:1", "/").put([Policy("q", {})])
    assert "secret" not in str(caught.value)


async def test_a_limit_is_changed_in_place_where_policies_are_used() -> None:
    """As an argument of the queue, another ``max_length`` would be a conflict."""
    url, api = broker_url("rabbitmq-newer"), os.environ.get("BROKERKIT_TEST_RABBITMQ_MANAGEMENT", "")
    if not api:
        pytest.skip("no management API: set BROKERKIT_TEST_RABBITMQ_MANAGEMENT")
    name = f"policies-{uuid.uuid4().hex[:8]}"
    async with RabbitmqTransport(f"{url}?management={quote(api, safe='')}") as transport:
        try:
            for limit in (2, 5):
                await transport.apply(Topology(name, queues=[Queue(name, max_length=limit)]))
                await effective(api, name, "max-length", limit - 1)
                answers = [await published(transport, name) for _ in range(10)]
                assert answers[0] is Published.CONFIRMED, "there is room, the second time because there is more"
                assert answers[-1] is Published.FULL
        finally:
            await removed(url, api, name)


async def test_somebody_elses_stronger_policy_is_a_conflict_and_nothing_is_declared() -> None:
    url, api = broker_url("rabbitmq-newer"), os.environ.get("BROKERKIT_TEST_RABBITMQ_MANAGEMENT", "")
    if not api:
        pytest.skip("no management API: set BROKERKIT_TEST_RABBITMQ_MANAGEMENT")
    name = f"policies-{uuid.uuid4().hex[:8]}"
    rival = {"pattern": f"^{name}", "apply-to": "queues", "priority": 900, "definition": {"max-length": 1}}
    await asked(api, "PUT", f"policies/%2F/{name}-rival", rival)
    try:
        async with RabbitmqTransport(f"{url}?management={quote(api, safe='')}") as transport:
            with pytest.raises(TopologyConflict, match=f"{name}-rival"):
                await transport.apply(Topology(name, queues=[Queue(name, max_length=5)]))
            with pytest.raises(TopologyError):
                await transport.stats(name)
    finally:
        await asked(api, "DELETE", f"policies/%2F/{name}-rival")


async def published(transport: RabbitmqTransport, queue: str) -> Published:
    message = Message(id=new_id(time.time()), name="n", body=b"")
    return (await transport.publish([Outgoing(message, "", queue)], deadline=5))[0]


async def effective(api: str, queue: str, key: str, value: int) -> None:
    """Wait until the queue obeys; the broker applies a policy a moment after it has confirmed it."""
    async with asyncio.timeout(20):
        while True:
            seen = await asked(api, "GET", f"queues/%2F/{queue}")
            if (seen.get("effective_policy_definition") or {}).get(key) == value:
                return
            await asyncio.sleep(0.1)


async def asked(api: str, method: str, path: str, body: object = None) -> dict[str, Any]:
    def ask() -> bytes:
        parts = urlsplit(api)
        login = base64.b64encode(f"{parts.username}:{parts.password}".encode()).decode()
        headers = {"Authorization": f"Basic {login}", "Content-Type": "application/json"}
        place = f"{parts.scheme}://{parts.hostname}:{parts.port}/api/{path}"
        data = json.dumps(body).encode() if body is not None else None
        with urlopen(Request(place, data, headers, method=method), timeout=10) as answer:
            found: bytes = answer.read()
            return found

    text = await asyncio.to_thread(ask)
    return json.loads(text) if text else {}


async def removed(url: str, api: str, queue: str) -> None:
    async with aiormq.Connection(url) as connection:
        channel = await connection.channel()
        for name in (queue, f"{queue}.dead", f"bk.d.to.{queue}"):
            await channel.queue_delete(name)
    for name in (queue, f"bk.d.to.{queue}"):
        with contextlib.suppress(HTTPError):
            await asked(api, "DELETE", f"policies/%2F/bk.{name}")
