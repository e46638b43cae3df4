"""Patterns of names: what they match, which one wins, and which two would fight."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokerkit import ConfigurationError
from brokerkit.handlers.patterns import Pattern

TEXTS = ["".join(text) for length in range(6) for text in itertools.product("ab", repeat=length)]
"""Two patterns of at most four characters that both match something both match one of these, or something longer."""

patterns = st.text("ab*?", min_size=1, max_size=4).filter(lambda text: "*" in text or "?" in text).map(Pattern)


@pytest.mark.parametrize(
    ("pattern", "names", "others"),
    [
        ("Database*", ["Database", "DatabaseCreated"], ["database", "MyDatabase", ""]),
        ("*.deleted", [".deleted", "shop.order.deleted"], ["shop.deleted.", "deleted"]),
        ("order.?", ["order.1", "order.x"], ["order.", "order.12"]),
        ("a.b*", ["a.bc"], ["axb"]),
        ("*", ["", "anything", "of any\nsort"], []),
    ],
)
def test_a_star_is_any_run_of_characters_and_a_question_mark_is_one(
    pattern: str, names: list[str], others: list[str]
) -> None:
    assert [name for name in names if not Pattern(pattern).match(name)] == []
    assert [name for name in others if Pattern(pattern).match(name)] == []


def test_the_longest_beginning_wins_then_more_characters_then_fewer_stars() -> None:
    ordered = ["Database*", "Data*Deleted", "Data?*", "Data*", "D*", "*Deleted", "?*", "*"]
    ranks = [Pattern(text).rank for text in ordered]
    assert ranks == sorted(ranks, reverse=True)
    assert Pattern("Data?").rank > Pattern("Data*").rank
    assert Pattern("Data*ed").rank == Pattern("Data*de").rank


@given(patterns, patterns)
def test_two_patterns_meet_when_some_text_matches_both(one: Pattern, two: Pattern) -> None:
    common = [text for text in TEXTS if one.match(text) and two.match(text)]
    assert one.meets(two) == two.meets(one)
    if len(one.text) + len(two.text) <= 5 or common:
        assert one.meets(two) == bool(common)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Database", r"handler\('Database'\) has neither \* nor \?; for one name use task\(name='Database'\)"),
        ("", "has neither"),
        ("Datenbänk*", "matches no name"),
        ("[ab]*", "matches no name"),
        ("x" * 201 + "*", "matches no name"),
    ],
)
def test_a_pattern_that_makes_no_sense_is_refused(text: str, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        Pattern(text)


def test_no_name_takes_long_to_match() -> None:
    assert not Pattern("*a" * 50 + "b").match("a" * 100_000)  # years, with a regular expression that goes back
