import msgspec
from hypothesis import given

from brokerkit.topology import (
    DeadLetter,
    Exchange,
    Group,
    Log,
    Queue,
    Router,
    Topology,
    dead_letter_owners,
    dead_letter_queue,
    implied,
    problems,
    with_exchanges,
)
from tests.topology.strategies import topologies


def test_every_queue_and_group_gets_its_dead_letter_queue() -> None:
    topology = Topology(
        "t", queues=[Queue("a"), Queue("b", dead_letter=False)], logs=[Log("l")], groups=[Group("l", "g")]
    )
    assert implied(topology).queues == (
        Queue("a"),
        Queue("b", dead_letter=False),
        Queue("a.dead", dead_letter=False),
        Queue("l@g.dead", dead_letter=False),
    )


def test_a_dead_letter_queue_has_the_limits_of_its_setting_and_the_type_and_mode_of_its_owner() -> None:
    owner = Queue("a", type="classic", mode="verify", priorities=3, dead_letter=DeadLetter("p", ttl=60, max_length=9))
    wanted = Queue("p", type="classic", mode="verify", dead_letter=False, message_ttl=60, max_length=9)
    assert dead_letter_queue(owner) == wanted


def test_without_dead_letters_there_is_no_such_queue() -> None:
    assert dead_letter_queue(Queue("a", dead_letter=False)) is None


def test_a_declared_dead_letter_queue_is_left_as_it_is() -> None:
    parking = Queue("parking", dead_letter=False, message_ttl=5)
    topology = Topology("t", queues=[Queue("a", dead_letter=DeadLetter("parking")), parking])
    assert implied(topology) == topology


def test_one_dead_letter_queue_may_serve_several_owners() -> None:
    first, second = (Queue(name, dead_letter=DeadLetter("parking")) for name in ("a", "b"))
    topology = Topology("t", queues=[first, second])
    assert [queue.name for queue in implied(topology).queues] == ["a", "b", "parking"]
    assert dead_letter_owners(topology) == {"parking": (first, second)}


def test_dead_letter_queues_can_be_published_to_by_name() -> None:
    assert Router(implied(Topology("t", queues=[Queue("a")]))).route("", "a.dead") == ("a.dead",)


@given(topologies())
def test_what_is_implied_is_implied_once(topology: Topology) -> None:
    once = implied(topology)
    assert implied(once) == once
    assert set(dead_letter_owners(topology)) <= {queue.name for queue in once.queues}


def test_the_exchanges_behind_bindings_and_alternates_are_added() -> None:
    rest = Exchange("rest", "fanout")
    orders = Exchange("orders", "topic", alternate=rest)
    audit = Exchange("audit", "fanout", bindings=[orders.bind("#")])
    topology = Topology("t", queues=[Queue("q", [audit.bind(), orders.bind("a")])], logs=[Log("l", [rest.bind()])])
    completed = with_exchanges(topology)
    assert set(completed.exchanges) == {audit, orders, rest}
    assert len(completed.exchanges) == 3
    assert problems(completed) == []


def test_an_exchange_that_is_declared_already_is_not_added_again() -> None:
    orders = Exchange("orders", "topic")
    topology = Topology("t", [Exchange("orders", "topic")], [Queue("q", [orders.bind("a")])])
    assert with_exchanges(topology) == topology


def test_an_exchange_that_was_declared_differently_is_added_so_that_validation_sees_it() -> None:
    topology = Topology("t", [Exchange("orders")], [Queue("q", [Exchange("orders", "topic").bind("a")])])
    (line,) = problems(with_exchanges(topology))
    assert str(line) == "exchanges.orders: declared twice, with different type; keep one"


def test_bindings_read_from_a_file_add_nothing() -> None:
    queue = Queue("q", [Exchange("orders").bind("a")])
    read = msgspec.json.decode(msgspec.json.encode(Topology("t", queues=[queue])), type=Topology)
    assert with_exchanges(read).exchanges == ()


def test_only_the_value_counts_for_equality() -> None:
    named = Topology("t", queues=[Queue("q", [Exchange("orders").bind("a")])])
    assert msgspec.json.decode(msgspec.json.encode(named), type=Topology) == named
