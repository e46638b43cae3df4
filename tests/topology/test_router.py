import pytest

from brokerkit.errors import TopologyError
from brokerkit.topology import Binding, Exchange, HeaderMatch, HeaderValue, Log, Queue, Router, Topology


def bound(exchange: Exchange, **keys: str) -> Router:
    """A router with one queue per keyword, bound by its key."""
    return Router(Topology("t", [exchange], [Queue(name, [exchange.bind(key)]) for name, key in keys.items()]))


def test_a_direct_exchange_routes_by_the_exact_key() -> None:
    router = bound(Exchange("x"), a="red", b="green", c="red")
    assert router.route("x", "red") == ("a", "c")
    assert router.route("x", "re") == ()


def test_wildcards_mean_nothing_on_a_direct_exchange() -> None:
    assert bound(Exchange("x"), a="#", b="*").route("x", "red") == ()


def test_a_fanout_exchange_routes_whatever_the_key() -> None:
    router = bound(Exchange("x", "fanout"), a="red", b="")
    assert router.route("x", "blue") == ("a", "b")


@pytest.mark.parametrize(
    ("pattern", "key", "matches"),
    [
        ("a.b", "a.b", True),
        ("a.b", "a.c", False),
        ("a.*", "a.b", True),
        ("a.*", "a", False),
        ("a.*", "a.b.c", False),
        ("a.#", "a", True),
        ("a.#", "a.b.c", True),
        ("#.c", "c", True),
        ("#.c", "a.b.c", True),
        ("#.c", "a.c.b", False),
        ("a.#.c", "a.c", True),
        ("a.#.c", "a.b.b.c", True),
        ("#.*", "", False),
        ("#.*", "a", True),
        ("*.#", "a.b", True),
        ("#.#", "", True),
        ("#", "", True),
        ("*", "", False),
        ("", "", True),
        ("", "a", False),
        ("*", ".", False),
        ("*.*", ".", True),
        ("a..b", "a..b", True),
        ("a.*.b", "a..b", True),
        ("a.", "a", False),
        ("a.*", "a.", True),
        ("#", "a.", True),
        ("*.b", "*.b", True),
        ("a", "#", False),
        ("#.b.#.b", "b", False),
        ("#.b.#.b", "b.b", True),
    ],
)
def test_topic_patterns_match_words_as_in_rabbitmq(pattern: str, key: str, matches: bool) -> None:
    assert bound(Exchange("x", "topic"), q=pattern).route("x", key) == (("q",) if matches else ())


def test_many_hashes_in_one_pattern_stay_quick() -> None:
    # Trying every split of 200 words over 20 hashes would never end.
    router = bound(Exchange("x", "topic"), q=".".join(["#", "a"] * 20 + ["b"]))
    assert router.route("x", ".".join(["a"] * 200)) == ()
    assert router.route("x", ".".join(["a"] * 200 + ["b"])) == ("q",)


@pytest.mark.parametrize(
    ("wanted", "match", "headers", "matches"),
    [
        ({"a": 1, "b": "x"}, "all", {"a": 1, "b": "x", "c": 0}, True),
        ({"a": 1, "b": "x"}, "all", {"a": 1}, False),
        ({"a": 1, "b": "x"}, "any", {"a": 1}, True),
        ({"a": 1, "b": "x"}, "any", {"a": 2, "b": "y"}, False),
        ({}, "all", {}, True),
        ({}, "all", {"a": 1}, True),
        ({}, "any", {"a": 1}, False),
        ({"x-a": 1}, "all", {}, True),
        ({"x-a": 1}, "any", {"x-a": 1}, False),
        ({"x-a": 1, "b": 2}, "all", {"b": 2}, True),
        ({"a": None}, "all", {"a": "anything"}, True),
        ({"a": None}, "all", {}, False),
        ({"a": None}, "any", {"a": None}, True),
        ({"a": ""}, "all", {"a": None}, False),
        ({"a": 1}, "all", {"a": 1.0}, True),
        ({"a": 1}, "all", {"a": True}, False),
        ({"a": False}, "all", {"a": 0}, False),
        ({"a": True}, "all", {"a": True}, True),
        ({"a": 1}, "all", {"a": "1"}, False),
        ({"a": "é"}, "all", {"a": "é".encode()}, True),
    ],
)
def test_headers_are_compared_by_value_and_category_as_in_rabbitmq(
    wanted: dict[str, HeaderValue], match: HeaderMatch, headers: dict[str, object], matches: bool
) -> None:
    exchange = Exchange("x", "headers")
    router = Router(Topology("t", [exchange], [Queue("q", [exchange.bind(headers=wanted, match=match)])]))
    assert router.route("x", "whatever", headers) == (("q",) if matches else ())


def test_the_default_exchange_leads_to_the_queue_named_by_the_key_and_to_nothing_else() -> None:
    router = Router(Topology("t", queues=[Queue("q")], logs=[Log("log")]))
    assert router.route("", "q") == ("q",)
    assert router.route("", "other") == ()
    assert router.route("", "log") == ()


def test_logs_are_targets_like_queues() -> None:
    exchange = Exchange("x", "fanout")
    assert Router(Topology("t", [exchange], logs=[Log("log", [exchange.bind()])])).route("x", "") == ("log",)


def test_a_target_bound_several_times_gets_one_copy() -> None:
    exchange = Exchange("x", "topic")
    queue = Queue("q", [exchange.bind("#"), exchange.bind("a"), exchange.bind("*")])
    assert Router(Topology("t", [exchange], [queue])).route("x", "a") == ("q",)


def test_an_exchange_bound_to_another_applies_its_own_rules_to_the_same_key_and_headers() -> None:
    first = Exchange("first", "topic")
    second = Exchange("second", "direct", bindings=[first.bind("a.#")])
    third = Exchange("third", "headers", bindings=[second.bind("a.b")])
    queue = Queue("q", [third.bind(headers={"k": 1})])
    router = Router(Topology("t", [first, second, third], [queue]))
    assert router.route("first", "a.b", {"k": 1}) == ("q",)
    assert router.route("first", "a.b", {"k": 2}) == ()
    assert router.route("first", "a.c", {"k": 1}) == ()


def test_a_route_that_depends_on_headers_further_on_is_not_remembered() -> None:
    first = Exchange("first", "fanout", alternate="last")
    last = Exchange("last", "headers")
    router = Router(Topology("t", [first, last], [Queue("q", [last.bind(headers={"k": 1})])]))
    assert [router.route("first", "", {"k": value}) for value in (1, 2, 1)] == [("q",), (), ("q",)]


def test_exchanges_bound_in_a_circle_deliver_once() -> None:
    first = Exchange("first", "fanout", bindings=[Binding("second")])
    second = Exchange("second", "fanout", bindings=[Binding("first")])
    router = Router(Topology("t", [first, second], [Queue("q", [first.bind(), second.bind()])]))
    assert router.route("first", "") == router.route("second", "") == ("q",)


def alternate_router(*bindings: Binding) -> Router:
    exchanges = [
        Exchange("first", alternate="second"),
        Exchange("second", alternate="third"),
        Exchange("third", "fanout"),
        Exchange("dead-end", "direct", bindings=bindings),
    ]
    queues = [Queue("one", [Binding("first", "1")]), Queue("two", [Binding("second", "2")])]
    return Router(Topology("t", exchanges, [*queues, Queue("rest", [Binding("third")])]))


def test_the_alternate_gets_exactly_what_nothing_matched() -> None:
    router = alternate_router()
    assert router.route("first", "1") == ("one",)
    assert router.route("first", "2") == ("two",)
    assert router.route("first", "3") == ("rest",)


def test_a_matching_exchange_that_leads_nowhere_still_keeps_the_alternate_out() -> None:
    assert alternate_router(Binding("first", "3")).route("first", "3") == ()


def test_alternates_in_a_circle_end() -> None:
    router = Router(Topology("t", [Exchange("a", alternate="b"), Exchange("b", alternate="a")]))
    assert router.route("a", "k") == ()


def test_an_alternate_that_is_not_declared_is_a_dead_end() -> None:
    assert Router(Topology("t", [Exchange("a", alternate="gone")])).route("a", "k") == ()


def test_publishing_to_an_undeclared_exchange_names_the_one_that_was_meant() -> None:
    router = Router(Topology("t", [Exchange("orders")]))
    with pytest.raises(TopologyError, match=r"exchange 'ordes' is not declared; did you mean 'orders'\?"):
        router.route("ordes", "k")
    with pytest.raises(TopologyError, match="'ordes'"):
        router.hops("ordes", "k")


def test_more_keys_than_the_cache_holds_are_still_routed_and_the_cache_stays_small() -> None:
    exchange = Exchange("x", "topic")
    router = Router(Topology("t", [exchange], [Queue("q", [exchange.bind("k.*")])]), cache_size=4)
    assert [router.route("x", f"k.{number}") for number in range(20)] == [("q",)] * 20
    assert len(router._cache) <= 4


def test_a_repeated_route_is_answered_from_memory() -> None:
    router = bound(Exchange("x", "topic"), q="a.*")
    assert router.route("x", "a.b") is router.route("x", "a.b")


def test_the_hops_are_the_exchanges_on_the_way_with_what_matched() -> None:
    orders = Exchange("orders", "topic", alternate="rest")
    audit = Exchange("audit", "headers", bindings=[orders.bind("order.#")])
    rest = Exchange("rest", "fanout")
    router = Router(Topology("t", [orders, audit, rest], [Queue("eu", [orders.bind("order.eu.*")])]))
    found = router.hops("orders", "order.eu.new")
    assert [(hop.exchange, [edge.target for edge in hop.edges], hop.alternate) for hop in found] == [
        ("orders", ["audit", "eu"], None),
        ("audit", [], None),
    ]
    assert [hop.alternate for hop in router.hops("orders", "invoice")] == ["rest", None]
    assert [(hop.exchange, hop.edges) for hop in router.hops("", "nobody")] == [("", ())]
