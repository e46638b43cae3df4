"""What a topology becomes on RabbitMQ, and what is refused or warned of, by version; without a broker."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given

from brokerkit.errors import MissingCapability, TopologyError
from brokerkit.topology import (
    DeadLetter,
    Exchange,
    Group,
    HeaderValue,
    Log,
    Queue,
    RabbitMQOptions,
    Retry,
    Topology,
    validate,
)
from brokerkit.topology.options import Argument
from brokerkit.topology.topic import TopicTrie
from brokerkit.transports.rabbitmq import versions
from brokerkit.transports.rabbitmq.bindings import fewest_hashes, hashes
from brokerkit.transports.rabbitmq.compile import BACKSTOP, compile_topology, lane_names
from brokerkit.transports.rabbitmq.plan import BindingPlan, ExchangePlan, Plan, QueuePlan, SourcePlan, merged
from brokerkit.transports.rabbitmq.versions import Version
from tests.topology.strategies import topic_words

OLD, MIDDLE, NEW = (3, 10), (4, 0), (4, 3)
LOST_EXCHANGES = (ExchangePlan("bk.d.alt", "headers"), ExchangePlan("bk.d.lost", "fanout"))
LOST_BINDINGS = (
    *(BindingPlan("bk.d.alt", "bk.d.lost", True, "", {"x-match": "all", "bk-d0": bit}) for bit in (0, 1)),
    BindingPlan("bk.d.lost", "bk.d.lost", True),
)
QUORUM = {"x-queue-type": "quorum"}


def compiled(*parts: Exchange | Queue | Log | Group, version: Version = OLD) -> Plan:
    topology = Topology(
        "app",
        [part for part in parts if isinstance(part, Exchange)],
        [part for part in parts if isinstance(part, Queue)],
        [part for part in parts if isinstance(part, Log)],
        [part for part in parts if isinstance(part, Group)],
    )
    validate(topology)
    return compile_topology(topology, version)


def arguments(plan: Plan, name: str) -> dict[str, HeaderValue]:
    return next(dict(queue.arguments) for queue in plan.queues if queue.name == name)


def problems(*parts: Exchange | Queue | Log | Group, version: Version = OLD) -> list[str]:
    with pytest.raises(TopologyError) as caught:
        compiled(*parts, version=version)
    return list(caught.value.problems)


def extra(**given: Argument) -> RabbitMQOptions:
    return RabbitMQOptions(arguments={name.replace("_", "-"): value for name, value in given.items()})


# -- golden ----------------------------------------------------------------------------------------------------------


def dead_lettering(name: str) -> dict[str, HeaderValue]:
    return {
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": name,
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
    }


def test_a_queue_with_an_exchange_on_the_oldest_version() -> None:
    orders = Exchange("orders", "topic")
    plan = compiled(orders, Queue("work", [orders.bind("order.*"), orders.bind("paid")]))
    assert plan == Plan(
        (ExchangePlan("orders", "topic", arguments={"alternate-exchange": "bk.d.alt"}), *LOST_EXCHANGES),
        (
            QueuePlan("bk.d.lost", QUORUM, backstop=True),
            QueuePlan("work", QUORUM | dead_lettering("work.dead"), backstop=True),
            QueuePlan("work.dead", QUORUM, backstop=True),
        ),
        (
            *LOST_BINDINGS,
            BindingPlan("orders", "work", True, "order.*"),
            BindingPlan("orders", "work", True, "paid"),
        ),
        {
            "work": SourcePlan(
                key="work", lanes=("work",), delayed=("work",), dead_letter="work.dead", rejects_survive=True
            ),
            "work.dead": SourcePlan(key="work.dead", lanes=("work.dead",), delayed=("work.dead",)),
        },
    )


def test_three_lanes_have_an_inbox_and_a_default() -> None:
    orders = Exchange("orders")
    plan = compiled(orders, Queue("work", [orders.bind("k")], priorities=3, dead_letter=False), version=NEW)
    lanes = ("work.lane.0", "work", "work.lane.2")
    by_priority = [lanes[level] for level in (0, 0, 0, 0, 1, 1, 1, 2, 2, 2)]
    assert plan == Plan(
        (
            ExchangePlan("orders", "direct", arguments={"alternate-exchange": "bk.d.alt"}),
            *LOST_EXCHANGES,
            ExchangePlan("work.lanes", "headers", arguments={"alternate-exchange": "work.default"}),
            ExchangePlan("work.default", "fanout"),
        ),
        tuple(QueuePlan(name, QUORUM | {"x-delivery-limit": -1}, backstop=True) for name in ("bk.d.lost", *lanes)),
        (
            *LOST_BINDINGS,
            BindingPlan("orders", "work.lanes", False, "k"),
            *(
                BindingPlan("work.lanes", lane, True, "", {"x-match": "all", "bk-p": priority})
                for priority, lane in enumerate(by_priority)
            ),
            BindingPlan("work.default", "work", True),
        ),
        {"work": SourcePlan(key="work", lanes=lanes, delayed=lanes)},
    )


def test_a_classic_queue_with_every_limit() -> None:
    queue = Queue(
        "work",
        type="classic",
        max_length=10,
        message_ttl=30,
        single_active=True,
        dead_letter=DeadLetter("graves", ttl=60, max_length=5),
        retry=Retry.fixed(2, delay=1.5),
    )
    plan = compiled(queue)
    assert plan.queues == (
        QueuePlan(
            "work",
            {
                "x-queue-type": "classic",
                "x-dead-letter-exchange": "",
                "x-dead-letter-routing-key": "graves",
                "x-max-length": 10,
                "x-overflow": "reject-publish",
                "x-message-ttl": 90_000,
                "x-single-active-consumer": True,
            },
            backstop=True,
        ),
        QueuePlan(
            "bk.d.to.work",
            {
                "x-queue-type": "quorum",
                "x-message-ttl": 0,
                "x-dead-letter-strategy": "at-least-once",
                "x-overflow": "reject-publish",
                "x-dead-letter-exchange": "",
                "x-dead-letter-routing-key": "work",
            },
        ),
        QueuePlan(
            "graves",
            {"x-queue-type": "classic", "x-max-length": 5, "x-overflow": "reject-publish", "x-message-ttl": 60_000},
            backstop=True,
        ),
        QueuePlan(
            "bk.d.to.graves",
            {
                "x-queue-type": "quorum",
                "x-message-ttl": 0,
                "x-dead-letter-strategy": "at-least-once",
                "x-overflow": "reject-publish",
                "x-dead-letter-exchange": "",
                "x-dead-letter-routing-key": "graves",
            },
        ),
    )
    assert plan.sources["work"] == SourcePlan(
        key="work",
        lanes=("work",),
        kind="classic",
        delayed=("bk.d.to.work",),
        dead_letter="graves",
        rejects_survive=True,
        max_length=10,
        message_ttl=30,
        single_active=True,
        slots=frozenset({1500}),
    )
    assert plan.sources["graves"].message_ttl is None


def test_a_log_is_an_exchange_and_each_group_a_queue() -> None:
    orders = Exchange("orders", "topic")
    log = Log("events", [orders.bind("#")], retention=60, max_bytes=1000, max_length=10, rabbitmq=extra(x_a=1))
    plan = compiled(orders, log, Group(log, "one", retry=Retry.fixed(1, delay=2)), version=NEW)
    assert ExchangePlan("events", "fanout", arguments={"alternate-exchange": "bk.void"}) in plan.exchanges
    assert BindingPlan("orders", "events", False, "#") in plan.bindings
    assert BindingPlan("events", "events@one", True) in plan.bindings
    assert arguments(plan, "events@one") == {
        "x-queue-type": "quorum",
        "x-delivery-limit": -1,
        "x-max-length": 10,
        "x-max-length-bytes": 1000,
        "x-message-ttl": 60_000,
        "x-a": 1,
    }
    assert plan.sources["events@one"] == SourcePlan(
        key="events@one",
        lanes=("events@one",),
        delayed=("events@one",),
        dead_letter="events@one.dead",
        rejects_survive=False,
        slots=frozenset({2000}),
    )


# -- rule by rule ----------------------------------------------------------------------------------------------------


def test_what_retention_drops_is_not_dead_lettered_and_without_retention_the_broker_dead_letters_itself() -> None:
    log = Log("events")
    plan = compiled(log, Group(log, "one"), Group(log, "none", dead_letter=False))
    assert arguments(plan, "events@one") == QUORUM | dead_lettering("events@one.dead")
    assert plan.sources["events@one"].rejects_survive
    assert arguments(plan, "events@none") == QUORUM
    assert not plan.sources["events@none"].rejects_survive


def test_a_log_without_groups_discards_by_an_alternate() -> None:
    plan = compiled(Log("events"))
    assert arguments(plan, "bk.void") == {"x-queue-type": "quorum", "x-max-length": 0, "x-overflow": "drop-head"}
    assert BindingPlan("bk.void", "bk.void", True) in plan.bindings


def test_the_lane_of_the_normal_priority_has_the_queues_own_name() -> None:
    assert lane_names("q", 1) == ("q",)
    assert lane_names("q", 2) == ("q", "q.lane.1")
    assert lane_names("q", 3) == ("q.lane.0", "q", "q.lane.2")
    assert [name for name in lane_names("q", 10) if name == "q"] == ["q"]
    assert lane_names("q", 10)[5] == "q"


def test_the_delivery_limit_is_a_backstop_from_version_4_on() -> None:
    many = Queue("many", max_deliveries=500)
    for version, usual, own in ((OLD, None, None), (MIDDLE, BACKSTOP, 5000), (NEW, BACKSTOP, 5000)):
        plan = compiled(Queue("work"), many, version=version)
        assert arguments(plan, "work").get("x-delivery-limit") == usual
        assert arguments(plan, "many").get("x-delivery-limit") == own
        assert "x-delivery-limit" not in arguments(compiled(Queue("c", type="classic"), version=version), "c")


def test_a_queue_that_may_not_lose_has_no_delivery_limit() -> None:
    shared = Queue("graves", dead_letter=False)
    owner = Queue("work", dead_letter=DeadLetter("graves"))
    plan = compiled(owner, shared, Queue("alone", dead_letter=False), Queue("usual"), version=NEW)
    for name in ("graves", "alone", "usual.dead"):
        assert arguments(plan, name)["x-delivery-limit"] == -1


def test_a_declared_dead_letter_queue_keeps_its_entries_for_exactly_its_time_and_none_expires() -> None:
    plan = compiled(
        Queue("work", dead_letter=DeadLetter("graves", ttl=60)), Queue("graves", dead_letter=False, message_ttl=60)
    )
    assert arguments(plan, "graves")["x-message-ttl"] == 60_000
    assert plan.sources["graves"].message_ttl is None


def test_an_exchange_has_the_alternate_it_asks_for_else_ours() -> None:
    plan = compiled(Exchange("a", alternate="b"), Exchange("b", "fanout", durable=False, rabbitmq=extra(x_y=2)))
    assert plan.exchanges[0] == ExchangePlan("a", "direct", arguments={"alternate-exchange": "b"})
    assert ExchangePlan("b", "fanout", False, {"alternate-exchange": "bk.d.alt", "x-y": 2}) in plan.exchanges


def test_header_bindings_say_how_to_match_and_others_say_nothing() -> None:
    tagged, fan = Exchange("tagged", "headers"), Exchange("fan", "fanout")
    bindings = [
        tagged.bind(headers={"k": "v", "l": None}, match="any"),
        tagged.bind(),
        tagged.bind(match="any"),
        fan.bind("key"),
    ]
    plan = compiled(tagged, fan, Queue("q", bindings, dead_letter=False))
    assert [dict(binding.arguments) for binding in plan.bindings if binding.destination == "q"] == [
        {"x-match": "any", "k": "v", "l": None},
        {"x-match": "all"},
        {"x-match": "any"},
        {},
    ]


def test_numbers_are_bound_both_ways_where_the_broker_tells_1_from_1_0() -> None:
    tagged = Exchange("tagged", "headers")
    everything = tagged.bind(headers={"a": 1, "b": 2.0, "c": True, "d": 0.5, "e": "1"})
    either = tagged.bind(headers={"a": 1, "b": 2.0, "e": "1"}, match="any")

    def bound(version: Version, binding: object) -> list[list[str]]:
        plan = compiled(tagged, Queue("q", [binding], dead_letter=False), version=version)  # type: ignore[list-item]
        ours = [binding for binding in plan.bindings if binding.destination == "q"]
        return [[repr(value) for name, value in item.arguments.items() if name != "x-match"] for item in ours]

    assert bound(OLD, everything) == [["1", "2.0", "True", "0.5", "'1'"]]
    assert bound(NEW, everything) == [
        [a, b, "True", "0.5", "'1'"] for a, b in (("1", "2"), ("1", "2.0"), ("1.0", "2"), ("1.0", "2.0"))
    ]
    large = tagged.bind(headers={"a": 2**24, "b": 2**24 + 1})
    assert bound(NEW, large) == [["16777216", "16777217"], ["16777216.0", "16777217"]]
    assert bound(NEW, either) == [["1", "2", "'1'"], ["1.0", "2.0", "'1'"]]


@given(topic_words, topic_words)
def test_a_pattern_with_the_fewest_hashes_matches_the_same_keys(pattern: list[str], key: list[str]) -> None:
    tries: list[TopicTrie[bool]] = [TopicTrie(), TopicTrie()]
    tries[0].add(".".join(pattern), True)
    tries[1].add(fewest_hashes(".".join(pattern)), True)
    assert tries[0].find(".".join(key)) == tries[1].find(".".join(key))
    assert hashes(fewest_hashes(".".join(pattern))) <= hashes(".".join(pattern))


def test_patterns_of_more_than_two_hashes_are_reduced_or_refused_where_the_broker_refuses_them() -> None:
    events = Exchange("x", "topic")
    for pattern, wanted in (("#.*.#.a.#.#.*", "*.#.a.*.#"), ("#.a.*.#", "#.a.*.#"), ("#.#.#", "#")):
        queue = Queue("q", [events.bind(pattern)], dead_letter=False)
        for version, key in ((OLD, pattern), (NEW, wanted)):
            plan = compiled(events, queue, version=version)
            assert [binding.key for binding in plan.bindings if binding.destination == "q"] == [key]
    many = Queue("q", [events.bind("#.a.#.b.#")])
    compiled(events, many)
    assert problems(events, many, version=NEW)[0].startswith("queues.q.bindings[0].key: ")
    direct = Exchange("x")
    compiled(direct, Queue("q", [direct.bind("#.a.#.b.#")]), version=NEW)


def test_modes_reach_everything_that_belongs_to_a_queue() -> None:
    orders = Exchange("orders")
    plan = compiled(orders, Queue("q", [orders.bind("k")], priorities=2, max_length=5, mode="verify"))
    assert {queue.mode for queue in plan.queues if queue.name != "bk.d.lost"} == {"verify"}
    assert {exchange.mode for exchange in plan.exchanges if exchange.name.startswith("q.")} == {"verify"}
    assert {binding.mode for binding in plan.bindings if binding not in LOST_BINDINGS} == {"verify"}
    assert not plan.sources["q"].rejects_survive, "its owner may have declared it without a dead-letter exchange"
    assert compiled(Queue("q")).sources["q"].rejects_survive


def test_native_priority_keeps_one_queue() -> None:
    native = RabbitMQOptions(native_priority=True)
    classic = compiled(Queue("q", type="classic", priorities=5, dead_letter=False, rabbitmq=native))
    assert arguments(classic, "q") == {"x-queue-type": "classic", "x-max-priority": 9}
    assert classic.sources["q"].lanes == ("q",)
    assert classic.sources["q"].native_priority
    assert "10 queues inside" in classic.warnings[0]
    assert any("at most once" in text for text in compiled(Queue("q", type="classic")).warnings)
    quorum = Queue("q", priorities=5, dead_letter=False, rabbitmq=native)
    assert problems(quorum)[0].startswith("queues.q.rabbitmq.native_priority: quorum queues have no priorities on")
    assert "tell two priorities apart" in compiled(quorum, version=MIDDLE).warnings[0]
    newest = compiled(quorum, version=NEW)
    assert arguments(newest, "q") == QUORUM | {"x-delivery-limit": -1}
    assert newest.warnings == ()


def test_the_normal_priority_is_not_urgent_where_there_are_only_two() -> None:
    assert [versions.native_priority(MIDDLE, "quorum", n) for n in (-1, 0, 5, 6, 12)] == [0, 0, 4, 6, 9]
    assert versions.native_priority(NEW, "quorum", 5) == versions.native_priority(OLD, "classic", 5) == 5


@pytest.mark.parametrize(
    ("part", "path"),
    [
        (Queue("q", rabbitmq=extra(x_queue_type="classic")), "queues.q.rabbitmq.arguments.x-queue-type"),
        (Queue("q", rabbitmq=extra(x_dead_letter_exchange="x")), "queues.q.rabbitmq.arguments.x-dead-letter-exchange"),
        (Queue("q", rabbitmq=extra(x_message_ttl=5)), "queues.q.rabbitmq.arguments.x-message-ttl"),
        (Queue("q", rabbitmq=extra(x_max_length=5)), "queues.q.rabbitmq.arguments.x-max-length"),
        (Queue("q", rabbitmq=extra(x_max_priority=5)), "queues.q.rabbitmq.arguments.x-max-priority"),
        (Queue("q", rabbitmq=extra(x_single_active_consumer=True)), "queues.q.rabbitmq.arguments.x-single-active"),
        (Queue("q", rabbitmq=extra(x_overflow="reject-publish-dlx")), "queues.q.rabbitmq.arguments.x-overflow"),
        (Queue("q", rabbitmq=extra(x_expires=10**12)), "queues.q.rabbitmq.arguments.x-expires"),
        (Queue("q", message_ttl=315_360_000), "queues.q.message_ttl"),
        (Queue("q", dead_letter=DeadLetter(ttl=1e9)), "queues.q.dead.message_ttl"),
        (Log("l", retention=1e9), "logs.l.retention"),
        (Log("l", rabbitmq=extra(x_max_length_bytes=5)), "logs.l.rabbitmq.arguments.x-max-length-bytes"),
        (Log("l", rabbitmq=extra(x_dead_letter_exchange="")), "logs.l.rabbitmq.arguments.x-dead-letter-exchange"),
        (Exchange("x", rabbitmq=extra(alternate_exchange="y")), "exchanges.x.rabbitmq.arguments.alternate-exchange"),
    ],
)
def test_what_the_broker_would_refuse_or_a_field_says_better_is_refused(
    part: Exchange | Queue | Log, path: str
) -> None:
    (problem,) = problems(part)
    assert problem.startswith(path)


@pytest.mark.parametrize(("given", "version"), [(extra(x_queue_mode="lazy"), NEW), (extra(x_queue_version=1), NEW)])
def test_what_a_new_version_refuses_is_allowed_on_older_ones(given: RabbitMQOptions, version: Version) -> None:
    queue = Queue("q", type="classic", rabbitmq=given)
    compiled(queue, version=MIDDLE)
    assert len(problems(queue, version=version)) == 1


@pytest.mark.parametrize(
    ("value", "version", "refused"),
    [(0.5, OLD, False), (0.1, OLD, True), (1e300, OLD, True), (2**63, OLD, True), (2**63 - 1, OLD, False)],
)
def test_header_values_that_bindings_cannot_carry_are_refused(value: float, version: Version, refused: bool) -> None:
    tagged = Exchange("x", "headers")
    queue = Queue("q", [tagged.bind(headers={"k": value})])
    if refused:
        assert problems(tagged, queue, version=version)[0].startswith("queues.q.bindings[0].headers.k: ")
    else:
        compiled(tagged, queue, version=version)


def test_many_numbers_in_one_binding_are_refused_where_each_doubles_it() -> None:
    tagged = Exchange("x", "headers")
    queue = Queue("q", [tagged.bind(headers={f"n{number}": number for number in range(7)})])
    compiled(tagged, queue)
    assert "doubles" in problems(tagged, queue, version=NEW)[0]


@pytest.mark.parametrize(
    "parts",
    [
        (Exchange("log"), Log("log")),
        (Exchange("q.lanes"), Queue("q", priorities=2)),
        (Queue("q.lane.1"), Queue("q", priorities=2)),
    ],
)
def test_names_that_two_need_on_the_broker_are_refused(parts: tuple[Exchange | Queue | Log, ...]) -> None:
    (problem,) = problems(*parts)
    assert "rename" in problem


def test_a_name_that_grows_too_long_is_refused() -> None:
    log = Log("l" * 150)
    assert any("255 bytes" in problem for problem in problems(log, Group(log, "g" * 150, dead_letter=False)))


def test_every_problem_is_listed() -> None:
    assert len(problems(Queue("a", message_ttl=1e9), Queue("b", message_ttl=1e9), Exchange("l"), Log("l"))) == 3


@pytest.mark.parametrize(
    ("log", "field"),
    [(Log("l", history=True), "history"), (Log("l", max_length=5, hold_for_groups=True), "hold_for_groups")],
)
def test_what_rabbitmq_cannot_do_is_refused_with_what_can(log: Log, field: str) -> None:
    with pytest.raises(MissingCapability, match=f"logs.l.{field}.*Redis"):
        compiled(log)


def test_a_version_that_loses_dead_letters_is_refused() -> None:
    with pytest.raises(MissingCapability, match=r"3\.9 is too old"):
        compiled(Queue("q"), version=(3, 9))


@pytest.mark.parametrize(
    ("part", "version", "words"),
    [
        (Queue("q", rabbitmq=extra(x_delayed_retry_type="failed")), MIDDLE, "works from 4.3 on"),
        (Queue("q", rabbitmq=extra(x_consumer_timeout=60_000)), OLD, "works from 3.12 on"),
        (Queue("q", rabbitmq=extra(x_expires=60_000)), OLD, "deleted with the messages"),
        (Queue("q", rabbitmq=extra(x_overflow="drop-head")), OLD, "drop-head"),
        (Queue("q", rabbitmq=extra(x_dead_letter_strategy="at-most-once")), OLD, "at-most-once"),
        (Queue("q", dead_letter=False, rabbitmq=extra(x_delivery_limit=5)), NEW, "discards beyond"),
        (Queue("q", priorities=2, max_length=5, dead_letter=False), OLD, "each lane by itself"),
        (Log("l"), OLD, "nothing limits it"),
    ],
)
def test_what_works_otherwise_than_expected_is_warned_of(part: Queue | Log, version: Version, words: str) -> None:
    plan = compiled(part, version=version)
    (warning,) = plan.warnings
    assert words in warning
    assert warning.startswith(("queues.q", "logs.l"))


def test_a_full_queue_behind_an_exchange_is_warned_of() -> None:
    orders = Exchange("x")
    plan = compiled(orders, Queue("q", [orders.bind("k")], max_length=5))
    assert "32 delayed messages" in plan.warnings[0]


def test_a_plain_topology_gives_no_warning_on_any_version() -> None:
    orders = Exchange("x")
    for version in (OLD, (3, 13), MIDDLE, NEW):
        assert compiled(orders, Queue("q", [orders.bind("k")], priorities=3), version=version).warnings == ()


def test_arguments_of_the_user_win_where_no_field_stands_for_them() -> None:
    queue = Queue("q", rabbitmq=extra(x_delivery_limit=7, x_quorum_initial_group_size=5))
    plan = compiled(queue, version=NEW)
    assert arguments(plan, "q")["x-delivery-limit"] == 7
    assert arguments(plan, "q")["x-quorum-initial-group-size"] == 5
    assert [queue.backstop for queue in plan.queues if queue.name == "q"] == [False]


def test_the_part_of_a_source_is_all_it_needs_and_nothing_else() -> None:
    orders, tagged = Exchange("orders", "topic", alternate="rest"), Exchange("tagged", "headers")
    rest = Exchange("rest", "fanout")
    plan = compiled(orders, tagged, rest, Queue("q", [orders.bind("a")], priorities=2), Queue("other", [tagged.bind()]))
    part = plan.of_source("q")
    assert {exchange.name for exchange in part.exchanges} == {
        *("orders", "rest", "q.lanes", "q.default", "bk.d.alt"),
    }
    assert {queue.name for queue in part.queues} == {"q", "q.lane.1", "q.dead"}
    assert {(binding.source, binding.destination) for binding in part.bindings} == {
        ("orders", "q.lanes"),
        ("q.lanes", "q"),
        ("q.lanes", "q.lane.1"),
        ("q.default", "q"),
    }
    group = Group(log := Log("l", [orders.bind("#")]), "g")
    of_group = compiled(orders, rest, log, group).of_source("l@g")
    assert {(binding.source, binding.destination) for binding in of_group.bindings} == {("orders", "l"), ("l", "l@g")}


def test_merging_plans_keeps_each_object_once() -> None:
    plan = compiled(Exchange("x"), Queue("q", priorities=3))
    assert merged([plan, plan, Plan()]) == plan


@pytest.mark.parametrize(
    ("text", "version"), [("3.10.8", (3, 10)), ("4.3.6", (4, 3)), ("4.1.0-rc.1", (4, 1)), ("10.0", (10, 0))]
)
def test_versions_are_read(text: str, version: Version) -> None:
    assert versions.parse_version(text) == version


@pytest.mark.parametrize("text", ["", "banana", "3.9.28", "0.0.0"])
def test_what_is_no_version_we_know_is_refused(text: str) -> None:
    with pytest.raises(MissingCapability, match=r"3\.10 or newer"):
        versions.parse_version(text)


def test_compiling_needs_no_client_library() -> None:
    code = (
        "import sys; import brokerkit.transports.rabbitmq.compile, brokerkit.transports.rabbitmq.ladder; "
        "sys.exit(any(name.split('.')[0] in ('aiormq', 'pamqp', 'aio_pika') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=30).returncode == 0
