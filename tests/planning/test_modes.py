"""Whose an object is: own declares it, verify compares it with what others have declared, trust does not even look."""

import asyncio
import base64
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit
from urllib.request import Request, urlopen
from uuid import uuid4

import msgspec
import pytest

from brokerkit import App, Binding, Exchange, Group, Log, Queue, Settings, Topology, TopologyError, planning
from brokerkit.operations.files import load, to_toml
from brokerkit.planning import Options
from brokerkit.topology import Mode, RabbitMQOptions, owned, verified
from tests.brokers import broker_url
from tests.planning.brokers import Place, places, prefixed

EVERYWHERE = pytest.mark.parametrize("place", places(), indirect=True)

ORDERS = Exchange("orders", "topic")
WORK = Queue("work", [Binding("orders", "order.#")], dead_letter=False, max_length=50)
OWNERS = Topology("owner", [ORDERS], [WORK])


def of_mode(topology: Topology, mode: Mode) -> Topology:
    return msgspec.structs.replace(topology, name=topology.name.replace("owner", "guest"), mode=mode)


@pytest.fixture
async def owners(place: Place) -> AsyncIterator[tuple[Any, Topology]]:
    """A transport, and what the owner has declared."""
    topology = place.named(OWNERS)
    async with place.transport() as transport:
        await transport.apply(topology)
        yield transport, topology
        if place.url.startswith("amqp"):
            await planning.apply(transport, await planning.plan(transport, topology), wait=60)
            nothing = await planning.plan(transport, Topology(topology.name), Options(prune=True))
            await planning.apply(transport, nothing, wait=60)


@EVERYWHERE
async def test_what_is_as_described_is_verified_and_nothing_is_declared(owners: Any, place: Place) -> None:
    transport, topology = owners
    for mode in ("verify", "trust"):
        guest = of_mode(topology, mode)
        async with place.transport() as other:
            await other.apply(guest)
            assert not (await planning.plan(other, guest)).changes
    # Nobody but the owner has it: what he no longer declares may go.
    if not place.url.startswith("amqp"):
        await planning.apply(transport, await planning.plan(transport, Topology(topology.name), Options(prune=True)))
        with pytest.raises(TopologyError):
            await transport.stats(topology.queues[0].name)
        await transport.apply(topology)


@EVERYWHERE
async def test_verify_says_all_that_is_not_as_described(owners: Any, place: Place) -> None:
    transport, topology = owners
    work = msgspec.structs.replace(topology.queues[0], max_length=60, single_active=True)
    missing = Queue(f"{place.prefix}missing", dead_letter=False)
    guest = of_mode(msgspec.structs.replace(topology, queues=(work, missing)), "verify")
    for check in (transport.apply, lambda wanted: planning.plan(transport, wanted)):
        with pytest.raises(TopologyError) as caught:
            await check(guest)
        said = "\n".join(caught.value.problems)
        assert len(caught.value.problems) == 3
        for words in ("missing", "length", "single", "have its owner declare it", "make the two agree"):
            assert words in said


@EVERYWHERE
async def test_an_app_may_own_a_queue_on_an_exchange_that_it_only_verifies(owners: Any, place: Place) -> None:
    transport, topology = owners
    orders = msgspec.structs.replace(topology.exchanges[0], mode="verify")
    mine = Queue(f"{place.prefix}mine", [Binding(orders.name, "order.new")], dead_letter=False, mode="own")
    guest = Topology(f"{place.prefix}guest", [orders], [mine], mode="trust")
    applied = await planning.apply(transport, await planning.plan(transport, guest), wait=60)
    touched = {(change.kind, mine.name in change.name) for change in applied.plan.changes}
    assert touched - {("policy", True)} == {("queue", True), ("binding", True)}
    nothing = Topology(guest.name)
    gone = await planning.apply(transport, await planning.plan(transport, nothing, Options(prune=True)), wait=60)
    assert [change.name for change in gone.plan.changes if change.kind == "queue"] == [mine.name]


@pytest.mark.parametrize("place", places()[:3], indirect=True)
async def test_a_group_needs_the_log_that_it_trusts(place: Place) -> None:
    log = Log("history", mode="trust")
    async with place.transport() as transport:
        with pytest.raises(TopologyError, match=r"groups.history@g.log: log 'history' is not on the broker"):
            await transport.apply(Topology("guest", logs=[log], groups=[Group(log, "g")]))


def test_a_descriptor_says_its_mode_else_the_topology_does_else_the_settings(tmp_path: Path) -> None:
    file = tmp_path / "shop.toml"
    file.write_text(to_toml(Topology("shop", [ORDERS], [msgspec.structs.replace(WORK, mode="own")], mode="verify")))
    assert load(file).mode == "verify"
    app = App("memory://", topology=file, settings=Settings(mode="trust"))
    app.declare(Queue("other"))
    found = app.topology()
    assert [each.name for each in owned(found).queues] == ["work"]
    assert [each.name for each in verified(found).exchanges] == ["orders"]
    assert [each.name for each in verified(found).queues] == []
    with pytest.raises(ValueError, match="choose own, verify, trust"):
        Settings(mode="mine")  # type: ignore[arg-type]


def test_what_is_verified_brings_its_dead_letters() -> None:
    queue = Queue("work", mode="verify")
    assert [each.name for each in verified(Topology("shop", queues=[queue])).queues] == ["work", "work.dead"]
    assert owned(Topology("shop", queues=[queue])) == Topology("shop")


def ask(method: str, path: str, body: object = None) -> None:
    parts = urlsplit(os.environ["BROKERKIT_TEST_RABBITMQ_MANAGEMENT"])
    place = parts._replace(netloc=parts.netloc.rpartition("@")[2])
    request = Request(urlunsplit(place) + "/api" + path, json.dumps(body).encode(), method=method)
    request.add_header("Content-Type", "application/json")
    login = f"{parts.username}:{parts.password}".encode()
    request.add_header("Authorization", "Basic " + base64.b64encode(login).decode())
    urlopen(request, timeout=10).close()


@pytest.fixture
def lowly() -> Any:
    """A user who may not configure anything, and what his URL begins with."""
    if "BROKERKIT_TEST_RABBITMQ_MANAGEMENT" not in os.environ:
        pytest.skip("no management API: set BROKERKIT_TEST_RABBITMQ_MANAGEMENT")
    name = f"lowly-{uuid4().hex[:8]}"
    ask("PUT", f"/users/{name}", {"password": "secret", "tags": ""})
    ask("PUT", f"/permissions/{quote('/', safe='')}/{name}", {"configure": "^$", "write": ".*", "read": ".*"})
    yield f"{name}:secret"
    ask("DELETE", f"/users/{name}")


@pytest.mark.parametrize("place", places()[4:], indirect=True)
async def test_trust_works_for_a_user_who_may_not_configure_anything(owners: Any, place: Place, lowly: str) -> None:
    _, topology = owners
    url = broker_url("rabbitmq-newer").replace("guest:guest", lowly)
    app = App(url, name=f"{place.prefix}guest", store=None, settings=Settings(mode="trust"))
    options = RabbitMQOptions(arguments={"x-no-such-thing": 1})  # nobody compares it
    done: asyncio.Queue[int] = asyncio.Queue()

    @app.task(queue=Queue(topology.queues[0].name, dead_letter=False, rabbitmq=options), reply=False)
    async def job(number: int) -> None:
        done.put_nowait(number)

    async with app, app.worker():
        for number in range(3):
            await job.send(number)
        async with asyncio.timeout(20):
            assert sorted([await done.get() for _ in range(3)]) == [0, 1, 2]


async def test_trust_needs_nothing_of_redis_and_sqlite_before_it_is_there(sqlite_url: str) -> None:
    owner, guest = App(sqlite_url, name="owner"), App(sqlite_url, name="guest", settings=Settings(mode="trust"))
    done: list[int] = []

    @guest.task(queue=Queue("work"))
    async def job(number: int) -> int:
        done.append(number)
        return number

    owner.declare(Queue("work"))
    async with guest:
        with pytest.raises(Exception, match="work"):
            await job.send(1)
        async with owner:
            pass
        async with guest.worker():
            assert await (await job.send(2)).result(timeout=20) == 2
    assert done == [2]


def test_names_are_prefixed_for_these_tests() -> None:
    assert prefixed(OWNERS, "x.").queues[0].bindings[0].exchange == "x.orders"
