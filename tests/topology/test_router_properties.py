"""The router against a second implementation that shares nothing with it: regular expressions and a fixed point."""

import re
from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from brokerkit.topology import Binding, Exchange, Log, Queue, Router, Topology
from brokerkit.topology.topic import TopicTrie
from tests.topology.strategies import headers, keys, topic_words, topologies


def pattern_matches(pattern: str, key: str) -> bool:
    """Every word of the key is written with a dot before it, so that no word and one empty word differ."""
    pieces = {"*": r"\.[^.]*", "#": r"(?:\.[^.]*)*"}
    words = pattern.split(".") if pattern else []
    expression = "".join(pieces.get(word, r"\." + re.escape(word)) for word in words)
    return re.fullmatch(expression, "".join("." + word for word in key.split(".")) if key else "") is not None


def same_header(wanted: object, given_value: object) -> bool:
    if wanted is None:
        return True
    if isinstance(wanted, bool) or isinstance(given_value, bool):
        return wanted is given_value
    return wanted == given_value


def binding_matches(kind: str, binding: Binding, key: str, given_headers: Mapping[str, object]) -> bool:
    if kind == "headers":
        wanted = {name: value for name, value in (binding.headers or {}).items() if name[:2] != "x-"}
        agreeing = sum(name in given_headers and same_header(wanted[name], given_headers[name]) for name in wanted)
        return agreeing == len(wanted) if binding.match == "all" else agreeing > 0
    return {"fanout": True, "direct": binding.key == key, "topic": pattern_matches(binding.key, key)}[kind]


def reference_route(topology: Topology, start: str, key: str, given_headers: Mapping[str, object]) -> set[str]:
    """All exchanges that get the message, grown until nothing changes; then what is bound to any of them."""
    exchanges = {exchange.name: exchange for exchange in topology.exchanges}
    holders: list[Exchange | Queue | Log] = [*topology.queues, *topology.logs, *topology.exchanges]

    def taken_from(name: str) -> set[str]:
        """The kinds and names that an exchange passes a message to by its bindings."""
        return {
            f"{type(holder).__name__}:{holder.name}"
            for holder in holders
            for binding in holder.bindings
            if binding.exchange == name and binding_matches(exchanges[name].type, binding, key, given_headers)
        }

    reached: set[str] = set()
    growing = {start}
    while growing != reached:
        reached = set(growing)
        for name in reached:
            taken = taken_from(name)
            growing |= {item.partition(":")[2] for item in taken if item.startswith("Exchange:")}
            if not taken and exchanges[name].alternate in exchanges:
                growing.add(exchanges[name].alternate or "")
    found = {item for name in reached for item in taken_from(name)}
    return {item.partition(":")[2] for item in found if not item.startswith("Exchange:")}


@given(topic_words, topic_words)
def test_the_trie_agrees_with_a_regular_expression(pattern_words: list[str], key_words: list[str]) -> None:
    pattern, key = ".".join(pattern_words), ".".join(key_words)
    trie: TopicTrie[str] = TopicTrie()
    trie.add(pattern, "found")
    assert trie.find(key) == (["found"] if pattern_matches(pattern, key) else [])


@given(topologies(), st.data())
def test_the_router_agrees_with_the_reference_for_any_topology(topology: Topology, data: st.DataObject) -> None:
    router = Router(topology)
    for _ in range(3):
        start = data.draw(st.sampled_from([exchange.name for exchange in topology.exchanges]))
        key, given_headers = data.draw(keys), data.draw(headers)
        route = router.route(start, key, given_headers)
        assert route == tuple(sorted(reference_route(topology, start, key, given_headers)))
        assert router.route(start, key, given_headers) == route
