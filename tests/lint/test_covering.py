"""Whether one topic pattern takes every key that another one takes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokerkit.operations.lint.portable import covers
from brokerkit.topology.topic import TopicTrie, words_of
from tests.topology.strategies import keys, patterns


@pytest.mark.parametrize(
    ("wide", "narrow", "so"),
    [
        ("#", "a.b", True), ("#", "#", True), ("#", "", True), ("a.#", "a", True), ("a.*", "a.b", True),
        ("a.*", "a.*", True), ("#.b", "a.*.b", True), ("*.#", "a", True), ("a.#.b", "a.b", True),
        ("a.#", "a.#.b", True),
        ("a.*", "a.#", False), ("a.*", "a", False), ("*", "#", False), ("a", "a.b", False), ("", "a", False),
        ("a.b", "a.*", False), ("#.a", "#.b", False), ("*.#", "#", False),
    ],
)  # fmt: skip
def test_examples(wide: str, narrow: str, so: bool) -> None:
    assert covers(words_of(wide), words_of(narrow)) == so


@given(patterns, patterns, st.lists(keys, min_size=20, max_size=20))
def test_what_is_covered_never_matches_alone(wide: str, narrow: str, tried: list[str]) -> None:
    if not covers(words_of(wide), words_of(narrow)):
        return
    trie: TopicTrie[str] = TopicTrie()
    trie.add(wide, "wide")
    trie.add(narrow, "narrow")
    for key in tried:
        assert "narrow" not in (found := trie.find(key)) or "wide" in found
