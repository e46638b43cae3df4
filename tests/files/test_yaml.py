"""YAML: strict, as data only, and every problem where it stands."""

from pathlib import Path

import pytest

from brokerkit.errors import ConfigurationError, TopologyError
from brokerkit.operations import files

DURATIONS = "takes a duration as '500ms', '30s', '15m', '1h30m' or '7d', or seconds"


def loaded(directory: Path, text: str) -> files.Loaded:
    file = directory / "shop.yaml"
    file.write_text(text)
    return files.read(file)


def problems(directory: Path, text: str) -> list[str]:
    """Without the directory."""
    return [str(problem).removeprefix(f"{directory}/") for problem in loaded(directory, text).problems]


def test_all_problems_are_listed_at_once_with_line_column_and_path(tmp_path: Path) -> None:
    text = """\
exchanges:
  orders: {type: topic}
queues:
  payments:
    bindings:
      - {exchange: odes, key: "a.b"}
      - {exchange: orders, kye: "a.b"}
    max_lenght: 5
    timeout: soon
    strict: "yes"
    retry: {kind: fixed, max_retries: -1, initial: 1x}
"""
    assert problems(tmp_path, text) == [
        "shop.yaml:6:10: queues.payments.bindings[0].exchange: exchange 'odes' is not declared; did you mean 'orders'?",
        "shop.yaml:7:28: queues.payments.bindings[1].kye: no such field; did you mean 'key'?",
        "shop.yaml:8:5: queues.payments.max_lenght: no such field; did you mean 'max_length'?",
        f"shop.yaml:9:5: queues.payments.timeout: {DURATIONS}, not 'soon'",
        "shop.yaml:10:5: queues.payments.strict: expected bool, got str; it is 'yes'",
        "shop.yaml:11:26: queues.payments.retry.max_retries: takes a whole number >= 0, not -1",
        f"shop.yaml:11:43: queues.payments.retry.initial: {DURATIONS}, not '1x'",
    ]
    with pytest.raises(TopologyError) as caught:
        files.load(tmp_path / "shop.yaml")
    assert len(caught.value.problems) == 7


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("queues: {a: {}", ":2:1: no YAML: did not find expected ',' or '}'"),
        ("a: b: c", ":1:5: no YAML: mapping values are not allowed in this context"),
        ("queues:\n\tmail:", ":2:1: no YAML: found character that cannot start any token"),
        ("name: a\0b", ":1:1: no YAML: "),
        ("- a", ":1:1: takes names of sections"),
        ("name: a\n---\nname: b", ":2:1: one document a file"),
        ("name: !!python/object:os.system shop", ":1:7: tags are not read; remove 'tag:yaml.org,2002:python/object"),
        ("name: !secret shop", ":1:7: tags are not read; remove '!secret'"),
        ("queues:\n  <<: {a: 1}", ":2:3: merge keys (<<) are not read"),
        ("queues: {[a]: 1}", ":1:10: a key is a text"),
        ("queues: *a", ":1:9: there is no anchor &a before this"),
        ("queues: &a {mail: *a}", ":1:19: the anchor &a contains itself"),
        ("name: &a x\nqueues: &a {}", ":2:9: the anchor &a is there twice"),
        ("queues: {mail: {max_length: 99999999999999999999}}", ":1:29: whole numbers have 64 bits"),
        ("queues: {mail: {max_length: " + "9" * 5000 + "}}", ":1:29: whole numbers have 64 bits"),
        ("queues: " + "[" * 40 + "]" * 40, "nested more than 32 levels deep"),
        ("queues: " + "{a: " * 200_000, ":1:133: nested more than 32 levels deep"),
    ],
)
def test_what_is_not_plain_yaml_is_one_problem_with_its_place(tmp_path: Path, text: str, complaint: str) -> None:
    (problem,) = problems(tmp_path, text)
    assert complaint in problem


def test_aliases_do_not_grow_beyond_bounds(tmp_path: Path) -> None:
    """Nine lines that mean a billion values."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    (problem,) = problems(tmp_path, "\n".join(lines))
    assert "more than 200000 values; aliases multiply what they stand for" in problem


def test_an_alias_stands_for_a_value_and_problems_in_it_are_where_it_is_used(tmp_path: Path) -> None:
    text = """\
queues:
  a: {retry: &standard {kind: fixed, max_retries: 2}}
  b: {retry: *standard, message_ttl: &ttl 30s}
  c: {message_ttl: *ttl, bindings: &both [{exchange: x}]}
  d: {bindings: *both}
"""
    found = loaded(tmp_path, text)
    a, b, c, _ = found.topology.queues
    assert a.retry == b.retry is not None
    assert c.message_ttl == 30.0
    assert [problem.place[1:] for problem in found.problems if problem.place] == [(4, 44), (5, 17)]


@pytest.mark.parametrize("word", ["yes", "no", "on", "off", "1:30", "2026-01-01", "0777x", "="])
def test_words_that_older_yaml_took_for_something_else_are_texts(tmp_path: Path, word: str) -> None:
    text = (
        f"exchanges: {{x: {{type: headers}}}}\nqueues: {{q: {{bindings: [{{exchange: x, headers: {{k: {word}}}}}]}}}}"
    )
    found = loaded(tmp_path, text)
    assert not found.problems
    assert found.topology.queues[0].bindings[0].headers == {"k": word}


@pytest.mark.parametrize(
    ("text", "value"),
    [("0x1F", 31), ("0o17", 15), ("+7", 7), ("1e3", 1000.0), (".5", 0.5), ("-.inf", float("-inf")), ("~", None),
     ("True", True), ('"7"', "7"), ("{present: true}", None)],
)  # fmt: skip
def test_scalars_are_those_of_yaml_1_2(tmp_path: Path, text: str, value: object) -> None:
    content = (
        f"exchanges: {{x: {{type: headers}}}}\nqueues: {{q: {{bindings: [{{exchange: x, headers: {{k: {text}}}}}]}}}}"
    )
    headers = loaded(tmp_path, content).topology.queues[0].bindings[0].headers
    assert headers == {"k": value}
    assert type((headers or {})["k"]) is type(value)


def test_a_queue_without_fields_and_an_empty_file_are_fine(tmp_path: Path) -> None:
    found = loaded(tmp_path, "queues:\n  mail:\n  123: {}\n  on:\nlogs:\n")
    assert not found.problems
    assert [queue.name for queue in found.topology.queues] == ["mail", "123", "on"]
    empty = loaded(tmp_path, "# nothing yet\n")
    assert not empty.problems
    assert empty.topology.name == "shop"


def test_windows_line_ends_and_a_byte_order_mark_are_read(tmp_path: Path) -> None:
    (tmp_path / "shop.yaml").write_bytes(b"\xef\xbb\xbfname: a\r\nqueues:\r\n  mail: {typo: 1}\r\n")
    (problem,) = files.read(tmp_path / "shop.yaml").problems
    assert problem.place is not None
    assert problem.place[1:] == (3, 10)


def test_a_missing_pyyaml_is_named_with_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "yaml", None)
    (tmp_path / "shop.yaml").write_text("name: a")
    with pytest.raises(ConfigurationError, match=r"pip install 'brokerkit\[yaml\]'; TOML needs nothing"):
        files.load(tmp_path / "shop.yaml")
