from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import assume, given

from brokerkit.errors import TopologyError
from brokerkit.topology import (
    Binding,
    DeadLetter,
    Exchange,
    Group,
    Log,
    Queue,
    RabbitMQOptions,
    RedisOptions,
    Topology,
    implied,
    problems,
    validate,
)
from tests.topology.strategies import topologies

ORDERS = Exchange("orders", "topic")
CODES = {f"BK{number:03}" for number in range(5, 14)}
FANCY = Exchange("fancy", "headers")


def queue_topology(*queues: Queue) -> Topology:
    return Topology("shop", [ORDERS, FANCY], queues)


def test_a_sound_topology_has_no_problems() -> None:
    topology = Topology(
        "shop",
        [ORDERS, FANCY, Exchange("rest", "fanout", alternate="orders", bindings=[ORDERS.bind("a.*.#")])],
        [
            Queue(
                "payments", [ORDERS.bind("order..eu"), FANCY.bind(headers={"a": None})], priorities=2, weights=[1, 5]
            ),
            Queue("mail", dead_letter=DeadLetter("parking"), max_wait=timedelta(seconds=1), strict=True),
            Queue("parking", dead_letter=False),
        ],
        [Log("history", [ORDERS.bind("#")], hold_for_groups=True, max_bytes=1, history=True)],
        [Group("history", "fraud", "earliest", dead_letter=DeadLetter("parking"))],
    )
    assert problems(topology) == []
    validate(topology)


def test_all_problems_come_in_one_error_each_with_its_path() -> None:
    topology = Topology("shop", [ORDERS], [Queue("payments", [Binding("ordes")], max_deliveries=0)])
    with pytest.raises(TopologyError) as caught:
        validate(topology)
    assert caught.value.problems == (
        "queues.payments.max_deliveries: takes a number >= 1, not 0",
        "queues.payments.bindings[0].exchange: exchange 'ordes' is not declared; did you mean 'orders'?",
    )


@pytest.mark.parametrize(
    ("topology", "path", "words"),
    [
        # names
        (Topology(""), "name", "1 to 200"),
        (queue_topology(Queue("a\n")), "queues.a\n", "1 to 200"),
        (queue_topology(Queue("a" * 201)), f"queues.{'a' * 201}", "1 to 200"),
        (queue_topology(Queue("ü")), "queues.ü", "1 to 200"),
        (Topology("t", [Exchange("amq.topic")]), "exchanges.amq.topic", "reserved"),
        (queue_topology(Queue("bk.d.1")), "queues.bk.d.1", "reserved"),
        (queue_topology(Queue("a@b")), "queues.a@b", "'@'"),
        (Topology("t", logs=[Log("a@b")]), "logs.a@b", "'@'"),
        (Topology("t", logs=[Log("a")], groups=[Group("a", "b@c")]), "groups.a@b@c", "'@'"),
        (queue_topology(Queue("a", dead_letter=DeadLetter("bk.x"))), "queues.a.dead_letter.name", "reserved"),
        # duplicates
        (queue_topology(Queue("a"), Queue("a", priorities=2)), "queues.a", "declared twice, with different priorities"),
        (queue_topology(Queue("a"), Queue("a")), "queues.a", "declared twice, in the same way"),
        (Topology("t", [ORDERS, Exchange("orders")]), "exchanges.orders", "with different type"),
        (Topology("t", logs=[Log("a"), Log("a", history=True)]), "logs.a", "with different history"),
        (
            Topology("t", logs=[Log("a")], groups=[Group("a", "g"), Group("a", "g", timeout=1)]),
            "groups.a@g",
            "with different timeout",
        ),
        (Topology("t", queues=[Queue("a")], logs=[Log("a")]), "logs.a", "a queue has the same name"),
        # references
        (queue_topology(Queue("a", [Binding("")])), "queues.a.bindings[0]", "default exchange"),
        (Topology("t", logs=[Log("a", [Binding("x")])]), "logs.a.bindings[0].exchange", "'x' is not declared; declare"),
        (Topology("t", [Exchange("a", bindings=[Binding("x")])]), "exchanges.a.bindings[0].exchange", "'x' is not"),
        (Topology("t", [Exchange("aa", alternate="ab")]), "exchanges.aa.alternate", "'ab' is not declared"),
        (Topology("t", [Exchange("a", alternate="a")]), "exchanges.a.alternate", "circle, a -> a"),
        (Topology("t", groups=[Group("a", "g")]), "groups.a@g.log", "log 'a' is not declared"),
        (
            Topology("t", logs=[Log("a")], groups=[Group("a", "g", "earliest")]),
            "groups.a@g.start",
            "set history=True on log 'a', or start='latest'",
        ),
        # bindings
        (queue_topology(Queue("a", [ORDERS.bind("a*")])), "queues.a.bindings[0].key", "'a*'"),
        (queue_topology(Queue("a", [ORDERS.bind("x.#b.y")])), "queues.a.bindings[0].key", "'#b'"),
        (queue_topology(Queue("a", [ORDERS.bind("**")])), "queues.a.bindings[0].key", "'**'"),
        (queue_topology(Queue("a", [ORDERS.bind("é" * 128)])), "queues.a.bindings[0].key", "256 bytes"),
        (queue_topology(Queue("a", [ORDERS.bind(headers={"a": 1})])), "queues.a.bindings[0].headers", "remove them"),
        # values
        (queue_topology(Queue("a", priorities=0)), "queues.a.priorities", "1 to 10 lanes"),
        (queue_topology(Queue("a", priorities=11)), "queues.a.priorities", "1 to 10 lanes"),
        (queue_topology(Queue("a", weights=[1, 2])), "queues.a.weights", "2 weights for 1 lanes"),
        (queue_topology(Queue("a", weights=[0])), "queues.a.weights", ">= 1"),
        (queue_topology(Queue("a", weights=[1], strict=True)), "queues.a.weights", "strict"),
        (queue_topology(Queue("a", max_wait=-1)), "queues.a.max_wait", "seconds > 0"),
        (queue_topology(Queue("a", message_ttl=float("nan"))), "queues.a.message_ttl", "seconds > 0"),
        (queue_topology(Queue("a", timeout=0)), "queues.a.timeout", "seconds > 0"),
        (queue_topology(Queue("a", max_length=0)), "queues.a.max_length", ">= 1"),
        (queue_topology(Queue("a", dead_letter=DeadLetter(ttl=-1))), "queues.a.dead_letter.ttl", "seconds > 0"),
        (queue_topology(Queue("a", redis=RedisOptions(hash_tag="{a}"))), "queues.a.redis.hash_tag", "without braces"),
        (Topology("t", logs=[Log("a", retention=float("inf"))]), "logs.a.retention", "seconds > 0"),
        (Topology("t", logs=[Log("a", max_bytes=0)]), "logs.a.max_bytes", ">= 1"),
        (Topology("t", logs=[Log("a", max_length=-1)]), "logs.a.max_length", ">= 1"),
        (Topology("t", logs=[Log("a", hold_for_groups=True)]), "logs.a.hold_for_groups", "set max_bytes or max_length"),
        (Topology("t", logs=[Log("a")], groups=[Group("a", "g", max_deliveries=0)]), "groups.a@g.max_deliveries", "1"),
        (
            Topology("t", [Exchange("a", rabbitmq=RabbitMQOptions(native_priority=True))]),
            "exchanges.a.rabbitmq",
            "queues only",
        ),
        # dead letters
        (queue_topology(Queue("a", dead_letter=DeadLetter("a"))), "queues.a.dead_letter", "a -> a"),
        (queue_topology(Queue("a"), Queue("a.dead", priorities=2)), "queues.a.dead", "dead-letter queue; rename it"),
        (queue_topology(Queue("a"), Queue("a.dead")), "queues.a.dead", "set dead_letter=False on it"),
        (Topology("t", [Exchange("a.dead")], [Queue("a")]), "queues.a.dead_letter", "'a.dead' is an exchange"),
        (Topology("t", queues=[Queue("a")], logs=[Log("a.dead")]), "queues.a.dead_letter", "'a.dead' is a log"),
        (
            queue_topology(Queue("a", dead_letter=DeadLetter("p", ttl=1)), Queue("p", dead_letter=False)),
            "queues.a.dead_letter.ttl",
            "queue 'p' is declared",
        ),
        (
            queue_topology(Queue("a", dead_letter=DeadLetter("p")), Queue("b", dead_letter=DeadLetter("p", 1))),
            "queues.b.dead_letter",
            "shares 'p' with queues.a.dead_letter, but with different message_ttl",
        ),
        (
            Topology("t", logs=[Log("l" * 150)], groups=[Group("l" * 150, "g" * 150)]),
            f"groups.{'l' * 150}@{'g' * 150}.dead_letter",
            "longer than 255 bytes",
        ),
        # types
        (queue_topology(Queue("a", type="quorom")), "queues.a.type", "did you mean 'quorum'?"),  # type: ignore[arg-type]
        (queue_topology(Queue("a", mode="x")), "queues.a.mode", "one of own, verify, trust"),  # type: ignore[arg-type]
        (Topology("t", [Exchange("a", "topik")]), "exchanges.a.type", "did you mean 'topic'?"),  # type: ignore[arg-type]
        (queue_topology(Queue("a", priorities="3")), "queues.a.priorities", "expected int"),  # type: ignore[arg-type]
        (queue_topology(Queue("a", timeout="30s")), "queues.a.timeout", "expected float"),  # type: ignore[arg-type]
        (queue_topology(Queue("a", strict=1)), "queues.a.strict", "expected bool"),  # type: ignore[arg-type]
        (queue_topology(Queue("a", max_length=True)), "queues.a.max_length", "expected int"),
        (queue_topology(Queue("a", weights=[1, "2"])), "queues.a.weights[1]", "expected int"),  # type: ignore[list-item]
        (queue_topology(Queue("a", ["orders"])), "queues.a.bindings[0]", "takes a binding"),  # type: ignore[list-item]
        (queue_topology(Queue("a", ORDERS.bind())), "queues.a.bindings", "expected array"),  # type: ignore[arg-type]
        (queue_topology(Queue("a", retry=object())), "queues.a.retry", "unsupported"),  # type: ignore[arg-type]
        (queue_topology(Queue(b"a")), "queues[0].name", "expected str"),  # type: ignore[arg-type]
        (queue_topology("a"), "queues[0]", "takes Queue, not 'a'"),  # type: ignore[arg-type]
        (Topology("t", queues="a"), "queues", "takes a list of Queue"),  # type: ignore[arg-type]
        (Topology(3), "name", "expected str"),  # type: ignore[arg-type]
        (
            queue_topology(Queue("a", [FANCY.bind(match="al")])),  # type: ignore[arg-type]
            "queues.a.bindings[0].match",
            "did you mean 'all'?",
        ),
        (
            queue_topology(Queue("a", [FANCY.bind(headers={"a": [1]})])),  # type: ignore[dict-item]
            "queues.a.bindings[0].headers.a",
            "got array",
        ),
        (
            Topology("t", logs=[Log("a")], groups=[Group("a", "g", "first")]),
            "groups.a@g.start",
            "takes latest, earliest, a time with its zone",
        ),
        (
            Topology("t", logs=[Log("a", history=True)], groups=[Group("a", "g", "2026-01-31T00:00:00")]),
            "groups.a@g.start",
            "not '2026-01-31T00:00:00'",
        ),
        (
            Topology("t", logs=[Log("a")], groups=[Group("a", "g", datetime(2026, 1, 31, tzinfo=UTC))]),
            "groups.a@g.start",
            "needs a log that keeps history",
        ),
    ],
)
def test_a_mistake_is_reported_at_its_path_and_alone(topology: Topology, path: str, words: str) -> None:
    (found,) = problems(topology)
    assert found.rule in CODES
    line = str(found)
    where, what = line[: len(path) + 2], line[len(path) + 2 :]
    assert where == f"{path}: "
    assert words in what


def test_a_dead_letter_circle_over_several_queues_is_reported_once() -> None:
    topology = queue_topology(
        Queue("c", dead_letter=DeadLetter("a")),
        Queue("b", dead_letter=DeadLetter("c")),
        Queue("a", dead_letter=DeadLetter("b")),
        Queue("outside", dead_letter=DeadLetter("a")),
    )
    (found,) = problems(topology)
    assert str(found).startswith("queues.a.dead_letter: a dead letter comes back to its queue, a -> b -> c -> a; ")


def test_queues_of_different_types_may_share_a_dead_letter_queue_that_is_declared() -> None:
    first = Queue("a", type="classic", dead_letter=DeadLetter("p"))
    second = Queue("b", mode="verify", dead_letter=DeadLetter("p"))
    assert problems(queue_topology(first, second, Queue("p", dead_letter=False))) == []
    assert len(problems(queue_topology(first, second))) == 1


def test_a_circle_of_alternates_is_reported_once() -> None:
    topology = Topology("t", [Exchange("b", alternate="a"), Exchange("a", alternate="b"), Exchange("c", alternate="a")])
    (found,) = problems(topology)
    assert str(found).startswith("exchanges.a.alternate: alternates in a circle, a -> b -> a; ")


def test_a_descriptor_with_a_wrong_type_is_still_known_to_the_others() -> None:
    wrong = Exchange("orders", "topik")  # type: ignore[arg-type]
    (found,) = problems(Topology("t", [wrong], [Queue("q", [Binding("orders", "a")])]))
    assert str(found).startswith("exchanges.orders.type: ")


def test_exchanges_may_be_bound_to_each_other_in_a_circle_as_rabbitmq_allows() -> None:
    first = Exchange("first", "fanout", bindings=[Binding("second")])
    second = Exchange("second", "fanout", bindings=[Binding("first")])
    assert problems(Topology("t", [first, second])) == []


@given(topologies())
def test_adding_the_implied_queues_adds_no_problem(topology: Topology) -> None:
    before = set(map(str, problems(topology)))
    # Where owners disagree about a queue nobody declared, the one that is added cannot suit them all.
    assume(not any("shares 'parking'" in line for line in before))
    assert set(map(str, problems(implied(topology)))) <= before


def test_the_dead_letter_queues_of_groups_are_valid_although_their_names_contain_an_at_sign() -> None:
    topology = implied(Topology("t", logs=[Log("history")], groups=[Group("history", "fraud")]))
    assert [queue.name for queue in topology.queues] == ["history@fraud.dead"]
    assert problems(topology) == []
