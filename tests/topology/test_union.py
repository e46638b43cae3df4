from itertools import permutations

import pytest
from hypothesis import given

from brokerkit.errors import TopologyConflict, TopologyError
from brokerkit.topology import (
    Binding,
    DeadLetter,
    Exchange,
    Group,
    Log,
    Mode,
    Queue,
    RabbitMQOptions,
    Retry,
    Topology,
    union,
)
from tests.topology.strategies import agreeing_fragments


def test_a_publisher_and_a_subscriber_together_have_everything() -> None:
    orders = Exchange("orders", "topic")
    publisher = Topology("web", [orders])
    subscriber = Topology("pack", [orders], [Queue("eu", [orders.bind("eu.*")])])
    assert union([publisher, subscriber]) == Topology("union", [orders], [Queue("eu", [orders.bind("eu.*")])])


def test_bindings_of_the_same_queue_log_and_exchange_are_united() -> None:
    first, second = Binding("x", "a"), Binding("x", "b")
    left = Topology("left", [Exchange("e", bindings=[second])], [Queue("q", [second])], [Log("l", [second])])
    right = Topology("right", [Exchange("e", bindings=[first])], [Queue("q", [first])], [Log("l", [first, second])])
    both = [first, second]
    assert union([left, right], "all") == (
        Topology("all", [Exchange("e", bindings=both)], [Queue("q", both)], [Log("l", both)])
    )


def test_bindings_that_only_python_takes_for_equal_are_both_kept() -> None:
    yes, one = Binding("x", headers={"a": True}), Binding("x", headers={"a": 1})
    (queue,) = union(
        [Topology("left", queues=[Queue("q", [yes])]), Topology("right", queues=[Queue("q", [one])])]
    ).queues
    assert len(queue.bindings) == 2


def test_groups_of_one_log_are_collected_from_all_apps() -> None:
    left = Topology("left", logs=[Log("l")], groups=[Group("l", "b")])
    right = Topology("right", logs=[Log("l")], groups=[Group("l", "a"), Group("l", "b")])
    assert [group.key for group in union([left, right]).groups] == ["l@a", "l@b"]


@pytest.mark.parametrize(
    ("left", "right", "result"),
    [("trust", "verify", "verify"), ("own", "trust", "own"), ("verify", "verify", "verify")],
)
def test_the_strongest_mode_of_a_queue_counts(left: Mode, right: Mode, result: Mode) -> None:
    (queue,) = union(
        [Topology("l", queues=[Queue("q", mode=left)]), Topology("r", queues=[Queue("q", mode=right)])]
    ).queues
    assert queue.mode == result


@pytest.mark.parametrize(
    ("theirs", "ours", "entity", "attribute", "wanted", "found"),
    [
        (
            Topology("theirs", queues=[Queue("q", priorities=3)]),
            Topology("ours", queues=[Queue("q")]),
            "queue q",
            "priorities",
            1,
            3,
        ),
        (
            Topology("theirs", queues=[Queue("q", retry=Retry.none())]),
            Topology("ours", queues=[Queue("q")]),
            "queue q",
            "retry",
            None,
            Retry.none(),
        ),
        (
            Topology("theirs", [Exchange("x", "topic")]),
            Topology("ours", [Exchange("x", "fanout")]),
            "exchange x",
            "type",
            "fanout",
            "topic",
        ),
        (
            Topology("theirs", [Exchange("x")]),
            Topology("ours", [Exchange("x", rabbitmq=RabbitMQOptions(arguments={"x-a": 1}))]),
            "exchange x",
            "rabbitmq",
            RabbitMQOptions(arguments={"x-a": 1}),
            None,
        ),
        (
            Topology("theirs", logs=[Log("l")]),
            Topology("ours", logs=[Log("l", retention=60)]),
            "log l",
            "retention",
            60.0,
            None,
        ),
        (
            Topology("theirs", groups=[Group("l", "g")]),
            Topology("ours", groups=[Group("l", "g", "earliest")]),
            "group l@g",
            "start",
            "earliest",
            "latest",
        ),
        (
            Topology("theirs", queues=[Queue("both")]),
            Topology("ours", logs=[Log("both")]),
            "queue both",
            "kind",
            "log",
            "queue",
        ),
    ],
)
def test_differing_attributes_are_a_conflict_that_names_the_app_of_the_earlier_declaration(
    theirs: Topology, ours: Topology, entity: str, attribute: str, wanted: object, found: object
) -> None:
    with pytest.raises(TopologyConflict, match="declared by app 'theirs'") as caught:
        union([Topology("bystander", [Exchange("other")]), theirs, ours])
    conflict = caught.value
    assert (conflict.entity, conflict.attribute, conflict.owner) == (entity, attribute, "theirs")
    assert (conflict.wanted, conflict.found) == (wanted, found)


def test_the_owner_of_a_merged_object_stays_the_app_that_declared_it_first() -> None:
    apps = [Topology("first", queues=[Queue("q")]), Topology("second", queues=[Queue("q")])]
    with pytest.raises(TopologyConflict) as caught:
        union([*apps, Topology("third", queues=[Queue("q", type="classic")])])
    assert caught.value.owner == "first"


def test_the_union_of_nothing_is_empty() -> None:
    assert union([]) == Topology("union")


@given(agreeing_fragments())
def test_the_union_does_not_depend_on_the_order_of_the_fragments(fragments: list[Topology]) -> None:
    results = [union(order) for order in permutations(fragments)]
    assert all(result == results[0] for result in results)


@given(agreeing_fragments())
def test_the_union_does_not_depend_on_what_is_put_together_first(fragments: list[Topology]) -> None:
    first, second, third = fragments
    assert union([union([first, second]), third]) == union([first, union([second, third])]) == union(fragments)


@given(agreeing_fragments())
def test_a_fragment_added_twice_changes_nothing(fragments: list[Topology]) -> None:
    once = union(fragments)
    assert union([*fragments, *fragments]) == once
    assert union([once]) == once


@given(agreeing_fragments())
def test_the_union_has_every_binding_of_every_fragment(fragments: list[Topology]) -> None:
    merged = {queue.name: set(queue.bindings) for queue in union(fragments).queues}
    for fragment in fragments:
        for queue in fragment.queues:
            assert set(queue.bindings) <= merged[queue.name]


def test_a_circle_of_dead_letters_that_only_two_apps_together_make_is_refused() -> None:
    one = Topology("one", queues=[Queue("a", dead_letter=DeadLetter("b"))])
    two = Topology("two", queues=[Queue("b", dead_letter=DeadLetter("a"))])
    with pytest.raises(TopologyError, match="a dead letter comes back to its queue, a -> b -> a; set dead_letter=Fal"):
        union([one, two])


def test_a_circle_of_alternates_that_only_two_apps_together_make_is_refused() -> None:
    one = Topology("one", [Exchange("a", alternate="b")])
    two = Topology("two", [Exchange("b", alternate="a")])
    with pytest.raises(TopologyError, match="alternates in a circle, a -> b -> a"):
        union([one, two])
