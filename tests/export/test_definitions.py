"""RabbitMQ's definitions: exactly what the transport declares, as a broker proves that imports them first."""

from __future__ import annotations

import os
import uuid
from typing import Any
from urllib.parse import quote, urlsplit

import pytest

from brokerkit.errors import ConfigurationError, MissingCapability
from brokerkit.operations.export import as_definitions
from brokerkit.topology import DeadLetter, Exchange, Group, Log, Queue, Retry, Topology
from brokerkit.transports.rabbitmq.compile import compile_topology
from brokerkit.transports.rabbitmq.transport import RabbitmqTransport
from tests.brokers import broker_url
from tests.rabbitmq.test_policies import asked

SECTIONS = ("queues", "exchanges", "bindings", "policies")
RETRY = Retry.fixed(3, 2.0)
ORDERS = Exchange("orders", "topic", alternate="unrouted")
AUDIT = Exchange("audit", "headers", bindings=[ORDERS.bind("order.#")])
TOPOLOGY = Topology(
    "shop",
    [ORDERS, AUDIT, Exchange("unrouted", "fanout")],
    [
        Queue(
            "work",
            [ORDERS.bind("order.*.new")],
            priorities=3,
            max_length=100,
            message_ttl=60,
            retry=RETRY,
        ),
        Queue("vip", [AUDIT.bind(headers={"vip": True, "tier": 3, "score": 0.5})], single_active=True),
        Queue("old", type="classic", dead_letter=DeadLetter("parking")),
        Queue("parking", [Exchange("unrouted", "fanout").bind()], dead_letter=False),
        Queue("theirs", [ORDERS.bind("x")], mode="verify", dead_letter=False),
    ],
    [Log("history", [ORDERS.bind("#")], retention=3600, max_bytes=10**6)],
    [Group("history", "fraud")],
)


def names(found: dict[str, Any], section: str) -> set[str]:
    return {each["name"] for each in found[section]}


def test_the_definitions_are_the_plan_of_the_transport_without_what_others_own() -> None:
    found, plan = as_definitions(TOPOLOGY, "rabbitmq:4.3"), compile_topology(TOPOLOGY, (4, 3))
    assert names(found, "queues") == {"bk.swaps", *(queue.name for queue in plan.queues)} - {"theirs"}
    assert names(found, "exchanges") == {exchange.name for exchange in plan.exchanges}
    assert len(found["bindings"]) == len([binding for binding in plan.bindings if binding.mode == "own"])
    assert {(each["durable"], each["auto_delete"]) for each in found["queues"]} == {(True, False)}
    assert found["policies"] == []
    assert "vhosts" not in found


def test_an_import_of_the_whole_broker_names_the_virtual_host_everywhere() -> None:
    found = as_definitions(TOPOLOGY, "rabbitmq:3.13", vhost="shop", policies=True)
    assert found["vhosts"] == [{"name": "shop"}]
    assert all(
        each["vhost"] == "shop"
        for section in ("queues", "exchanges", "bindings", "policies")
        for each in found[section]
    )
    assert {policy["name"] for policy in found["policies"]} >= {"bk.work", "bk.old"}
    (work,) = [queue for queue in found["queues"] if queue["name"] == "work"]
    assert work["arguments"] == {"x-queue-type": "quorum"}


def test_delays_bring_the_ladder_the_slots_and_the_ways_back() -> None:
    plain, found = as_definitions(TOPOLOGY, "rabbitmq:4.3"), as_definitions(TOPOLOGY, "rabbitmq:4.3", delays=True)
    more = names(found, "queues") - names(plain, "queues")
    assert more == {*(f"bk.d.{level}" for level in range(26)), "bk.slot.2000"}
    back = {each["destination"] for each in found["bindings"] if each["source"] == "bk.d.out"}
    assert {"orders", "audit", "bk.d.to.work", "bk.d.to.work.lane.2", "vip", "history@fraud"} <= back


def test_what_no_rabbitmq_can_do_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="only RabbitMQ has definitions"):
        as_definitions(TOPOLOGY, "redis:7")
    with pytest.raises(MissingCapability, match="history: on RabbitMQ"):
        as_definitions(Topology("t", logs=[Log("l", history=True)]), "rabbitmq:4.3")
    present = Queue("q", [AUDIT.bind(headers={"vip": None})])
    with pytest.raises(MissingCapability, match="asks whether 'vip' is there, which definitions cannot say"):
        as_definitions(Topology("t", [ORDERS, AUDIT, Exchange("unrouted")], [present]), "rabbitmq:4.3")


@pytest.mark.broker
@pytest.mark.parametrize("policies", [False, True])
async def test_a_broker_that_imported_them_has_nothing_left_to_declare(policies: bool) -> None:
    url, api = broker_url("rabbitmq-newer"), os.environ.get("BROKERKIT_TEST_RABBITMQ_MANAGEMENT", "")
    if not api:
        pytest.skip("no management API: set BROKERKIT_TEST_RABBITMQ_MANAGEMENT")
    vhost = f"definitions-{uuid.uuid4().hex[:8]}"
    version = (await asked(api, "GET", "overview"))["rabbitmq_version"]
    found = as_definitions(TOPOLOGY, f"rabbitmq {version}", policies=policies, delays=True)
    await asked(api, "PUT", f"vhosts/{vhost}", {})
    try:
        await asked(api, "PUT", f"permissions/{vhost}/guest", {"configure": ".*", "write": ".*", "read": ".*"})
        await asked(api, "PUT", f"queues/{vhost}/theirs", {"durable": True, "arguments": {"x-queue-type": "quorum"}})
        await asked(api, "POST", f"definitions/{vhost}", found)
        before = await objects(api, vhost)
        place = urlsplit(url)._replace(path=f"/{vhost}").geturl()
        query = f"?management={quote(api, safe='')}" if policies else ""
        async with RabbitmqTransport(place + query) as transport:
            await transport.apply(TOPOLOGY)
        after = await objects(api, vhost)
        # A fraction is another one to this broker than the same number imported from JSON, so the header binding is
        # there twice; a message arrives once all the same.
        assert {each for each in after - before if "0.5" not in each} == set()
        assert before <= after
    finally:
        await asked(api, "DELETE", f"vhosts/{vhost}")


async def objects(api: str, vhost: str) -> set[str]:
    """Everything in a virtual host, as texts."""
    exported = await asked(api, "GET", f"definitions/{vhost}")
    return {f"{section} {sorted(each.items())}" for section in SECTIONS for each in exported[section]}
