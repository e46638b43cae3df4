"""Declaring on real brokers: all is compared before anything is changed, and what differs is named."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import aiormq
import msgspec
import pytest

from brokerkit.errors import ConfigurationError, TopologyConflict, TopologyError
from brokerkit.topology import DeadLetter, Exchange, Group, Log, Mode, Queue, RabbitMQOptions, Topology
from brokerkit.transports.rabbitmq import ladder
from brokerkit.transports.rabbitmq.compile import compile_topology
from brokerkit.transports.rabbitmq.conflicts import Inequivalent, parse_inequivalent
from brokerkit.transports.rabbitmq.declaring import Applied, apply, heal
from brokerkit.transports.rabbitmq.plan import BindingPlan, ExchangePlan, Named, Plan, QueuePlan
from tests.brokers import broker_url
from tests.rabbitmq.faults import ON_OUR_NODE
from tests.rabbitmq.node import Node
from tests.rabbitmq.plain import EDITIONS, Plain, plain, publish

pytestmark = pytest.mark.broker


@pytest.fixture(params=EDITIONS)
async def broker(request: pytest.FixtureRequest) -> AsyncIterator[Plain]:
    async with plain(broker_url(request.param)) as opened:
        yield opened


@pytest.fixture
def name() -> str:
    return f"declaring-{uuid4().hex[:12]}"


def queue_plan(broker: Plain, queue: Queue) -> Plan:
    return compile_topology(Topology("app", queues=[queue]), broker.version)


async def test_everything_a_topology_can_declare_is_declared_and_declaring_it_again_changes_nothing(
    broker: Plain, name: str
) -> None:
    orders = Exchange(f"{name}-x", "topic")
    tagged = Exchange(f"{name}-h", "headers", alternate=orders, bindings=[orders.bind("#")])
    log = Log(f"{name}-log", [orders.bind("a.#")], 60, 10_000, 10)
    topology = Topology(
        "app",
        [orders, tagged],
        [
            Queue(f"{name}-q", [orders.bind("a.*"), tagged.bind(headers={"k": 1, "l": None, "m": 1.5}, match="any")]),
            Queue(f"{name}-lanes", [orders.bind("b")], priorities=3, message_ttl=5, single_active=True),
            Queue(f"{name}-classic", type="classic", max_length=5, dead_letter=DeadLetter(ttl=5, max_length=3)),
            Queue(f"{name}-alone", dead_letter=False, rabbitmq=RabbitMQOptions(arguments={"x-max-length-bytes": 9999})),
        ],
        [log, Log(f"{name}-unread", [orders.bind("a.#")])],
        [Group(log, "readers")],
    )
    plan = compile_topology(topology, broker.version)
    await broker.declare(plan)
    for kind, entity in plan.objects(shared=True):
        assert await broker.exists(kind, entity), (kind, entity)
    await broker.declare(plan, applied=Applied())


async def test_what_is_known_to_be_there_is_not_asked_for_again(broker: Plain, name: str) -> None:
    plan = queue_plan(broker, Queue(name))
    await broker.declare(plan)
    opened = broker.opened
    await broker.declare(plan)
    assert broker.opened == opened


@pytest.mark.parametrize(
    ("there", "wanted", "attribute", "values"),
    [
        (Queue("q", type="classic"), Queue("q"), "x-queue-type", ("quorum", "classic")),
        (Queue("q"), Queue("q", type="classic"), "x-queue-type", ("classic", "quorum")),
        (Queue("q"), Queue("q", max_length=5), "x-max-length", (4, None)),
        (Queue("q", max_length=4), Queue("q", max_length=5), "x-max-length", (4, 3)),
        (Queue("q", message_ttl=5), Queue("q"), "x-message-ttl", (None, 65_000)),
        (Queue("q", single_active=True), Queue("q"), "x-single-active-consumer", (None, True)),
        (
            Queue("q", dead_letter=DeadLetter("graves")),
            Queue("q"),
            "x-dead-letter-routing-key",
            ("q.dead", "graves"),
        ),
    ],
)
async def test_a_queue_that_differs_is_a_conflict_that_names_the_argument_and_both_values(
    broker: Plain, name: str, there: Queue, wanted: Queue, attribute: str, values: tuple[object, object]
) -> None:
    there, wanted = (renamed(queue, name) for queue in (there, wanted))
    await broker.declare(queue_plan(broker, there))
    with pytest.raises(TopologyConflict) as caught:
        await broker.declare(queue_plan(broker, wanted), applied=Applied())
    conflict = caught.value
    own = tuple({"q.dead": f"{name}.dead", "graves": f"{name}-graves"}.get(str(value), value) for value in values)
    assert (conflict.entity, conflict.attribute) == (f"queue {name}", attribute)
    assert (conflict.wanted, conflict.found) == own
    assert attribute in str(conflict)


def renamed(queue: Queue, name: str) -> Queue:
    setting = queue.dead_letter
    if isinstance(setting, DeadLetter) and setting.name:
        setting = msgspec.structs.replace(setting, name=f"{name}-{setting.name}")
    return msgspec.structs.replace(queue, name=name, dead_letter=setting)


@pytest.mark.parametrize(
    ("there", "wanted", "attribute", "found"),
    [
        (ExchangePlan("x", "topic"), Exchange("x"), "type", "topic"),
        (ExchangePlan("x", "direct", durable=False), Exchange("x"), "durable", False),
        (ExchangePlan("x", "direct", arguments={"alternate-exchange": "o"}), Exchange("x"), "alternate-exchange", "o"),
        (ExchangePlan("x", "direct"), Exchange("x", alternate="amq.fanout"), "alternate-exchange", None),
    ],
)
async def test_an_exchange_that_differs_is_a_conflict(
    broker: Plain, name: str, there: ExchangePlan, wanted: Exchange, attribute: str, found: object
) -> None:
    await broker.declare(Plan((msgspec.structs.replace(there, name=name),)))
    plan = compile_topology(Topology("app", [msgspec.structs.replace(wanted, name=name)]), broker.version)
    with pytest.raises(TopologyConflict) as caught:
        await broker.declare(plan, applied=Applied())
    assert (caught.value.entity, caught.value.attribute) == (f"exchange {name}", attribute)
    assert caught.value.found == found


async def test_nothing_is_created_when_something_conflicts(broker: Plain, name: str) -> None:
    await broker.declare(Plan(queues=(QueuePlan(f"{name}-z", {"x-queue-type": "classic"}),)))
    orders = Exchange(f"{name}-x")
    wanted = compile_topology(
        Topology("app", [orders], [Queue(f"{name}-a", [orders.bind("k")]), Queue(f"{name}-z")]), broker.version
    )
    applied = Applied()
    with pytest.raises(TopologyConflict):
        await broker.declare(wanted, applied=applied)
    left = [item for item in wanted.objects() if item.name != f"{name}-z"]
    assert [item for item in left if await broker.exists(*item)] == []
    assert applied.lacking(wanted).queues == wanted.queues


async def test_an_exclusive_queue_of_somebody_else_is_a_conflict(broker: Plain, name: str) -> None:
    channel = await broker.connection.channel()
    await channel.queue_declare(name, exclusive=True)
    async with plain(str(broker.connection.url)) as other:
        with pytest.raises(TopologyConflict) as caught:
            await apply(other.open_channel, queue_plan(other, Queue(name, dead_letter=False)), Applied())
    assert (caught.value.attribute, caught.value.wanted, caught.value.found) == ("exclusive", False, True)


@pytest.mark.parametrize("mode", ["verify", "trust"])
async def test_a_queue_that_is_not_ours_is_neither_created_nor_bound(broker: Plain, name: str, mode: Mode) -> None:
    # Dead letters and a limit of deliveries are what brokerkit would add by itself: others need not have them.
    await broker.declare(Plan(queues=(QueuePlan(name, {"x-queue-type": "classic", "x-max-length": 7}),)))
    orders = Exchange(f"{name}-x")
    options = RabbitMQOptions(arguments={"x-max-length": 7})
    queue = Queue(name, [orders.bind("k")], mode=mode, type="classic")
    plan = compile_topology(Topology("app", [orders], [queue]), broker.version)
    described = [
        msgspec.structs.replace(each, arguments={**each.arguments, **options.arguments}) if each.name == name else each
        for each in plan.queues
        if each.name == name
    ]
    await broker.declare(msgspec.structs.replace(plan, queues=tuple(described)), applied=Applied())
    channel = await broker.connection.channel()
    with pytest.raises(aiormq.exceptions.PublishError):
        await publish(channel, orders.name, "k", b"nobody")


async def test_verify_names_all_that_is_not_as_described_and_trust_does_not_look(broker: Plain, name: str) -> None:
    await broker.declare(Plan(queues=(QueuePlan(name, {"x-queue-type": "classic", "x-max-length": 7}),)))
    queue = Queue(name, mode="verify", dead_letter=False, message_ttl=60)
    by_policy = ", or, where a policy sets it, name the management API in the URL: ?management="
    with pytest.raises(TopologyError) as caught:
        await apply(broker.open_channel, queue_plan(broker, queue), Applied())
    assert sorted(caught.value.problems) == [
        f"queue {name}: x-max-length is 7 on the broker, and None here; make the two agree",
        f"queue {name}: x-message-ttl is None on the broker, and 120000 here; make the two agree{by_policy}",
        f"queue {name}: x-queue-type is 'classic' on the broker, and 'quorum' here; make the two agree",
    ]
    await apply(broker.open_channel, queue_plan(broker, msgspec.structs.replace(queue, mode="trust")), Applied())


async def test_verify_reports_all_that_is_missing_and_creates_none_of_it(broker: Plain, name: str) -> None:
    plan = queue_plan(broker, Queue(name, priorities=2, mode="verify"))
    with pytest.raises(TopologyError) as caught:
        await broker.declare(plan)
    assert {problem.split("'")[1] for problem in caught.value.problems} == {item.name for item in plan.objects()}
    assert "mode='own'" in caught.value.problems[0]
    assert [item for item in plan.objects() if await broker.exists(*item)] == []


async def test_trust_does_not_look(broker: Plain, name: str) -> None:
    plan = queue_plan(broker, Queue(name, priorities=2, mode="trust"))
    await broker.declare(plan)
    assert not await broker.exists("queue", name)


async def test_an_exchange_made_without_our_alternate_is_taken_but_takes_no_delayed_messages(
    broker: Plain, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    await broker.declare(Plan((ExchangePlan(name, "direct"),)))
    applied = Applied()
    with caplog.at_level(logging.WARNING, "brokerkit"):
        await broker.declare(compile_topology(Topology("app", [Exchange(name)]), broker.version), applied=applied)
    assert applied.without_alternate == {name}
    assert name in caplog.text


async def test_the_queue_type_is_named_before_what_follows_from_it(broker: Plain, name: str) -> None:
    await broker.declare(queue_plan(broker, Queue(name, type="classic", single_active=True)))
    with pytest.raises(TopologyConflict) as caught:
        await broker.declare(queue_plan(broker, Queue(name)), applied=Applied())
    assert caught.value.attribute == "x-queue-type"
    assert any("x-single-active-consumer=True, where None is wanted" in note for note in caught.value.__notes__)


async def test_a_tolerated_difference_does_not_hide_another(broker: Plain, name: str) -> None:
    await broker.declare(Plan((ExchangePlan(name, "topic"),), (QueuePlan(name, {"x-queue-type": "quorum"}),)))
    wanted = Plan((ExchangePlan(name, "direct", arguments={"alternate-exchange": ladder.ALTERNATE}),))
    with pytest.raises(TopologyConflict, match="type"):
        await broker.declare(wanted, applied=Applied())
    limited = QueuePlan(name, {"x-queue-type": "quorum", "x-delivery-limit": -1, "x-max-length": 3}, backstop=True)
    with pytest.raises(TopologyConflict, match="x-max-length"):
        await broker.declare(Plan(queues=(limited,)), applied=Applied())


@pytest.mark.parametrize(
    ("there", "wanted", "fits"),
    [(None, -1, True), (None, 1000, True), (2000, 1000, True), (1000, -1, False), (3, 1000, False), (-1, 1000, True)],
)
async def test_a_delivery_limit_of_ours_gives_way_to_none_and_to_a_higher_one(
    broker: Plain, name: str, there: int | None, wanted: int, fits: bool
) -> None:
    made = {"x-queue-type": "quorum"} | ({} if there is None else {"x-delivery-limit": there})
    await broker.declare(Plan(queues=(QueuePlan(name, made),)))
    plan = Plan(queues=(QueuePlan(name, {"x-queue-type": "quorum", "x-delivery-limit": wanted}, backstop=True),))
    if fits:
        await broker.declare(plan, applied=Applied())
    else:
        with pytest.raises(TopologyConflict, match="x-delivery-limit"):
            await broker.declare(plan, applied=Applied())


async def test_a_delivery_limit_of_the_users_does_not_give_way(broker: Plain, name: str) -> None:
    await broker.declare(Plan(queues=(QueuePlan(name, {"x-queue-type": "quorum"}),)))
    queue = Queue(name, dead_letter=False, rabbitmq=RabbitMQOptions(arguments={"x-delivery-limit": 7}))
    with pytest.raises(TopologyConflict, match="x-delivery-limit"):
        await broker.declare(queue_plan(broker, queue), applied=Applied())


async def test_an_argument_the_broker_refuses_is_a_configuration_error(broker: Plain, name: str) -> None:
    wrong = Plan(queues=(QueuePlan(name, {"x-queue-type": "quorum", "x-message-ttl": 10**13}),))
    with pytest.raises(ConfigurationError, match=f"queue {name}.*x-message-ttl"):
        await broker.declare(wrong)


async def test_a_binding_of_an_exchange_that_is_gone_names_it(broker: Plain, name: str) -> None:
    plan = Plan((), (QueuePlan(name, {"x-queue-type": "quorum"}),), (BindingPlan(f"{name}-x", name, True),))
    with pytest.raises(TopologyError, match=f"{name}-x"):
        await broker.declare(plan)


async def test_a_deleted_queue_is_declared_again_with_all_that_led_to_it(broker: Plain, name: str) -> None:
    orders = Exchange(f"{name}-x", "topic")
    topology = Topology("app", [orders], [Queue(name, [orders.bind("a")], priorities=3), Queue(f"{name}-other")])
    plan = compile_topology(topology, broker.version)
    delayed = ladder.to_queue(f"{name}.lane.2")
    await broker.declare(plan, ladder.declarations(0, broker.version), Plan(bindings=(delayed.binding,)))
    channel = await broker.connection.channel()
    for lane in plan.sources[name].lanes:
        await channel.queue_delete(lane)
    await heal(broker.open_channel, plan, name, broker.applied)
    await publish(channel, orders.name, "a", b"by exchange", {"bk-p": 9})
    await publish(channel, ladder.OUT, "", b"by ladder", {**delayed.headers, "bk-d0": 1})
    assert sorted([body for _, body in await broker.take(f"{name}.lane.2", 2)]) == [b"by exchange", b"by ladder"]
    await publish(channel, orders.name, "a", b"normal", {"bk-p": 5})
    assert [body for _, body in await broker.take(name, 1)] == [b"normal"]


async def test_healing_asks_nothing_about_other_sources(broker: Plain, name: str) -> None:
    plan = compile_topology(Topology("app", [], [Queue(name), Queue(f"{name}-other")]), broker.version)
    await broker.declare(plan)
    channel = await broker.connection.channel()
    await channel.queue_delete(name)
    await channel.queue_delete(f"{name}-other")
    await heal(broker.open_channel, plan, name, broker.applied)
    assert await broker.exists("queue", name)
    assert not await broker.exists("queue", f"{name}-other")


async def test_what_the_broker_reserves_is_refused_with_the_permission_that_is_missing(broker: Plain) -> None:
    with pytest.raises(ConfigurationError, match=r"amq\.brokerkit.*configure"):
        await broker.declare(Plan(queues=(QueuePlan("amq.brokerkit", {"x-queue-type": "quorum"}),)))


class TestWithFewPermissions:
    """On a node of our own, since users are the broker's, not the virtual host's."""

    pytestmark = ON_OUR_NODE

    async def test_a_missing_permission_is_named_and_what_exists_can_be_verified(
        self, node: Node, url: str, tmp_path: Path
    ) -> None:
        orders = Exchange("orders")
        queue = Queue("work", [orders.bind("k")])
        async with plain(url) as owner:
            own = compile_topology(Topology("app", [orders], [queue]), owner.version)
            await owner.declare(own)
            verified = msgspec.structs.replace(queue, mode="verify")
            seen = compile_topology(Topology("app", [orders], [verified]), owner.version)
            missing = compile_topology(Topology("app", [], [Queue("absent")]), owner.version)
            node.add_user(tmp_path.name, "reader")
            node.allow(tmp_path.name, vhost=tmp_path.name, configure="^$", write="^orders$")
            async with plain(url.replace("guest:guest", f"{tmp_path.name}:reader")) as reader:
                await apply(reader.open_channel, seen, applied := Applied())
                assert applied.without_alternate == {"orders"}
                for plan, entity in ((own, "queue work"), (missing, "queue absent")):
                    with pytest.raises(ConfigurationError, match=f"{entity}.*permission") as caught:
                        await apply(reader.open_channel, plan, Applied())
                    assert "verify" in str(caught.value)


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("received 'classic' but current is 'quorum'", "quorum"),
        ("received none but current is the value 'it's of type x' of type 'longstr'", "it's of type x"),
        ("received the value '9' of type 'byte' but current is none", None),
        ("received none but current is the value '1000' of type 'short'", 1000),
        ("received none but current is the value 'true' of type 'bool'", True),
        ("received none but current is the value '12' of type 'longstr'", "12"),
        ("received 'a' but current is 'b but current is c'", "b but current is c"),
    ],
)
def test_the_brokers_text_is_read(said: str, meant: object) -> None:
    text = f"PRECONDITION_FAILED - inequivalent arg 'x-a' for queue 'q: received' in vhost '/': {said}"
    assert parse_inequivalent(text) == Inequivalent("x-a", meant)  # type: ignore[arg-type]


def test_another_refusal_is_no_difference() -> None:
    assert parse_inequivalent("PRECONDITION_FAILED - invalid arg 'x-max-priority' for queue 'q' in vhost '/'") is None


def test_the_names_to_delete_leave_out_what_all_apps_share() -> None:
    plan = compile_topology(Topology("app", [Exchange("x")], [Queue("q", max_length=1)]), (3, 10))
    assert set(plan.objects()) == {
        Named("exchange", "x"),
        Named("queue", "q"),
        Named("queue", "q.dead"),
        Named("queue", "bk.d.to.q"),
    }
    assert Named("queue", ladder.LOST) in plan.objects(shared=True)
