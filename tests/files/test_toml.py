"""TOML: strict, and every problem where it stands, although the standard library does not tell where values are."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from brokerkit.operations import files
from brokerkit.operations.files.toml_text import Finder, parse_toml
from brokerkit.topology import ObjectPath


def problems(directory: Path, text: str) -> list[str]:
    file = directory / "shop.toml"
    file.write_text(text)
    return [str(problem).removeprefix(f"{directory}/") for problem in files.read(file).problems]


def test_all_problems_are_listed_at_once_with_line_column_and_path(tmp_path: Path) -> None:
    text = """\
[exchanges]
orders = { type = "topic" }

[queues."order work"]  # with a comment
bindings = [
    { exchange = "orders", key = 'a.b' },
    { exchange = "ordes", kye = "a.b" },  # ] } and more
]
retry.max_retries = -1
timeout = "soon"

[queues.mail]
dead_letter = { ttl = 0, "max_length" = "many" }
"""
    assert [problem.split(": ")[0:2] for problem in problems(tmp_path, text)] == [
        ["shop.toml:7:7", "queues.order work.bindings[1].exchange"],
        ["shop.toml:7:27", "queues.order work.bindings[1].kye"],
        ["shop.toml:9:7", "queues.order work.retry.max_retries"],
        ["shop.toml:10:1", "queues.order work.timeout"],
        ["shop.toml:13:17", "queues.mail.dead_letter.ttl"],
        ["shop.toml:13:26", "queues.mail.dead_letter.max_length"],
    ]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("a = ", "shop.toml:1:5: no TOML: invalid value; correct the syntax"),
        ("name = 'a'\nname = 'b'", "shop.toml:2:11: no TOML: cannot overwrite a value; correct the syntax"),
        ("[queues\n", "shop.toml:1:8: no TOML: expected ']' at the end of a table declaration"),
        ("name = 1979-05-27", "shop.toml:1:1: name: expected str; it is datetime.date(1979, 5, 27)"),
        ("queues.mail.max_length = 99999999999999999999", "whole numbers have 64 bits"),
        ("queues.mail.max_length = " + "9" * 5000, "shop.toml:1:1: no TOML: "),
        ("a = " + "[" * 40 + "]" * 40, "nested more than 32 levels deep"),
        ("a = " + "[" * 5000 + "]" * 5000, "nested more than 32 levels deep"),
    ],
)
def test_what_is_no_topology_is_one_problem_with_its_place(tmp_path: Path, text: str, complaint: str) -> None:
    (problem,) = problems(tmp_path, text)
    assert complaint in problem


def test_every_way_to_write_a_key_is_found() -> None:
    text = '''\
a.b . "c.d" = 1
'e' = [1, [2, {x = 3, y.z = 4}], """ ]"]""" ]
"q\\u0041\\"" = \'\'\' # no comment '' \'\'\'
[t]
x = {}
[[t.many]]
one = 1
[[t.many]]
two = 1979-05-27 07:32:00
[t.many.inner."k]"]
three = [ # comment ]
  true, # "
]
'''
    found = {str(path): (place.line, place.column) for path, place in Finder(text, "f").places.items()}
    assert found == {
        "a": (1, 1), "a.b": (1, 3), "a.b.c.d": (1, 7),
        "e": (2, 1), "e[0]": (2, 8), "e[1]": (2, 11), "e[1][0]": (2, 12), "e[1][1]": (2, 15), "e[1][1].x": (2, 16),
        "e[1][1].y": (2, 23), "e[1][1].y.z": (2, 25), "e[2]": (2, 34),
        'qA"': (3, 1), "t": (4, 2), "t.x": (5, 1),
        "t.many": (6, 5), "t.many[0]": (6, 5), "t.many[0].one": (7, 1), "t.many[1]": (8, 5), "t.many[1].two": (9, 1),
        "t.many[1].inner": (10, 9), "t.many[1].inner.k]": (10, 15), "t.many[1].inner.k].three": (11, 1),
        "t.many[1].inner.k].three[0]": (12, 3),
    }  # fmt: skip


keys = st.sampled_from(["a", "b", "c", "d-1", '"a"', '"x y"', "'#'", '"\\u0041\\""', "e . f", 'g."h.i"'])
scalars = st.sampled_from(
    ["1", "true", '"]"', '"\\"}"', "'#'", '"""\n], # ""\\""""', "'''\n}'''", "1e3", "1979-05-27 07:32:00", "nan"]
)
blanks = st.sampled_from(["", " ", "\n", " # ]\n\t"])


def _containers(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    arrays = st.builds(
        lambda items, blank: f"[{blank}{f',{blank}'.join(items)}{blank}]", st.lists(inner, max_size=3), blanks
    )
    pairs = st.lists(st.tuples(keys, inner), max_size=2, unique_by=lambda pair: pair[0][:2])
    return arrays | pairs.map(lambda found: "{" + ", ".join(f"{key} = {value}" for key, value in found) + "}")


values = st.recursive(scalars, _containers, max_leaves=5)
statements = st.one_of(
    st.builds("{} = {}".format, keys, values), st.builds("[{}]".format, keys), st.builds("[[ {} ]] # x".format, keys)
)


@given(st.lists(statements, max_size=4).map("\n".join))
@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
def test_whatever_is_toml_has_a_place_for_each_of_its_keys_and_items(text: str) -> None:
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        assume(False)
    assert {*parse_toml(text, "f").places} == {*paths(data, ObjectPath())}


def paths(value: Any, path: ObjectPath) -> list[ObjectPath]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [found for key, held in items for found in (path / key, *paths(held, path / key))]
