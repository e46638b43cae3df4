"""Python, YAML and TOML say the same value, and the JSON Schema takes what the loader takes."""

import re
from copy import deepcopy
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
import yaml
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from brokerkit.operations import files
from brokerkit.operations.files.writing import plain
from brokerkit.topology import (
    Binding,
    DeadLetter,
    Exchange,
    Group,
    Log,
    Queue,
    RabbitMQOptions,
    RedisOptions,
    Retry,
    Topology,
)
from tests.topology.strategies import topologies

EXAMPLES = 100
IN_TMP = settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
SHAPE_AND_VALUE = {"BK001", "BK004", "BK005", "BK006", "BK007"}
SCHEMA = jsonschema.Draft202012Validator(files.json_schema())

names = st.text("ab-_.:#,/+ 01eény", min_size=1, max_size=6)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
header_values = st.one_of(st.none(), st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False), texts)
seconds = st.one_of(st.none(), st.floats(0, exclude_min=True, allow_infinity=False), st.integers(1, 10**7).map(float))
counts = st.one_of(st.none(), st.integers(1, 2**63 - 1))
bindings = st.lists(
    st.builds(
        Binding,
        names,
        texts,
        st.one_of(st.none(), st.dictionaries(texts, header_values)),
        st.sampled_from(["all", "any"]),
    ),
    max_size=3,
)
delays = st.floats(0, 1e9)
retries = st.one_of(
    st.none(),
    st.just(Retry.none()),
    st.builds(Retry.fixed, st.integers(0, 9), delays, retry_on=st.sampled_from([(), (ValueError, "a.B")])),
    st.builds(Retry.linear, st.integers(0, 9), delays, delays, st.just(2e9)),
    st.builds(Retry.exponential, st.integers(0, 9), delays, st.just(2e9), st.floats(1, 9), st.booleans()),
)
rabbitmq = st.one_of(
    st.none(),
    st.builds(
        RabbitMQOptions,
        arguments=st.dictionaries(texts, st.one_of(texts, st.integers(0, 9), st.booleans())),
        native_priority=st.booleans(),
    ),
)
dead_letters = st.one_of(st.booleans(), st.builds(DeadLetter, st.one_of(st.none(), names), seconds, counts))


@st.composite
def anything(draw: st.DrawFn) -> Topology:
    """A topology in which every field may have any value of its type; valid or not."""
    exchange_types = st.sampled_from(["direct", "topic", "fanout", "headers"])
    alternates = st.one_of(st.none(), names)
    exchanges = st.builds(Exchange, names, exchange_types, st.booleans(), alternates, bindings, rabbitmq)
    weights = st.one_of(st.none(), st.lists(st.integers(1, 9), max_size=3))
    kinds, modes = st.sampled_from(["quorum", "classic"]), st.sampled_from(["own", "verify", "trust"])
    queues = st.builds(
        Queue, names, bindings, kinds, st.integers(1, 10), st.booleans(), weights, seconds, retries, st.integers(1, 9),
        dead_letters, counts, seconds, seconds, st.booleans(), modes, rabbitmq,
        st.one_of(st.none(), st.builds(RedisOptions, hash_tag=st.one_of(st.none(), texts))),
    )  # fmt: skip
    logs = st.builds(Log, names, bindings, seconds, counts, counts, st.booleans(), st.booleans(), rabbitmq)
    starts = st.sampled_from(["latest", "earliest", "2026-01-31T12:00:00+00:00", "2026-01-31T12:00:00.250000-05:30"])
    groups = st.builds(Group, names, names, starts, retries, st.integers(1, 9), seconds, dead_letters)
    return Topology(
        draw(names),
        draw(st.lists(exchanges, max_size=2, unique_by=lambda each: each.name)),
        draw(st.lists(queues, max_size=2, unique_by=lambda each: each.name)),
        draw(st.lists(logs, max_size=2, unique_by=lambda each: each.name)),
        draw(st.lists(groups, max_size=2, unique_by=lambda each: each.key)),
    )


@pytest.mark.parametrize("suffix", ["yaml", "toml"])
@given(topology=st.one_of(anything(), topologies()))
@IN_TMP
def test_what_is_written_is_read_back_as_the_same_value(topology: Topology, suffix: str, tmp_path: Path) -> None:
    file = tmp_path / f"it.{suffix}"
    file.write_bytes((files.to_yaml if suffix == "yaml" else files.to_toml)(topology).encode())
    loaded = files.read(file)
    assert loaded.topology == topology
    assert not {problem.finding.rule for problem in loaded.problems} & {"BK001", "BK002", "BK003", "BK004", "BK005"}


@given(topology=anything())
def test_other_readers_of_yaml_understand_what_is_written(topology: Topology) -> None:
    """Those of YAML 1.1, for whom ``no`` is a truth value and ``1:30`` a number."""
    assert yaml.safe_load(files.to_yaml(topology)) == plain(topology)


LEAVES: list[Any] = [
    None, True, False, 0, 1, -1, 3, 11, 3.0, 2.5, -0.5, 2**63 - 1, "", "30s", "0s", "5GiB", "0B", "soon", "own",
    "direct", "a b", "a@b", "amq.x", "bk.x", "{a}", "é" * 200, [], ["a"], [1], [None], {}, {"a": 1}, {"present": True},
    {"name": "x"}, "2026-01-31T12:00:00+00:00", "2026-01-31 12:00Z", "2026-01-31T12:00:00", "2026-13-01T12:00Z", "17-0",
]  # fmt: skip
BETWEEN_FIELDS = ("weights for", "takes seconds >= initial", "the limit is 255")
"""What no schema can say."""


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    """What a file may say, with up to two slips in it."""
    document: dict[str, Any] = msgspec.json.decode(
        msgspec.json.encode(plain(draw(st.one_of(anything(), topologies()))))
    )
    for _ in range(draw(st.integers(0, 2))):
        held: Any = document
        while isinstance(held, dict | list) and held:
            key = draw(st.sampled_from(list(held) if isinstance(held, dict) else range(len(held))))
            if not isinstance(held[key], dict | list) or not held[key] or draw(st.integers(0, 3)) == 0:
                break
            held = held[key]
        else:
            continue
        key = (
            draw(st.sampled_from([key, "typo", "strict", "hold_for_groups", "a@b"])) if isinstance(held, dict) else key
        )
        held[key] = deepcopy(draw(st.sampled_from(LEAVES)))
    return document


@given(document=documents())
@settings(IN_TMP, max_examples=EXAMPLES)
def test_the_schema_takes_what_the_loader_takes_and_nothing_else(document: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "it.yaml"
    text = msgspec.json.encode(document).decode()
    assume(not re.search("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]", text))  # of JSON, what is no YAML
    file.write_bytes(text.encode())
    wrong = [problem for problem in files.read(file).problems if problem.finding.rule in SHAPE_AND_VALUE]
    wrong = [problem for problem in wrong if not any(words in str(problem) for words in BETWEEN_FIELDS)]
    complaints = [error.message for error in SCHEMA.iter_errors(document)]
    assert bool(complaints) == bool(wrong), f"the schema: {complaints}, the loader: {[*map(str, wrong)]}"
