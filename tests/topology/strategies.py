"""Random topologies over few names, so that collisions, circles and matches are common."""

from collections.abc import Sequence
from typing import TypeVar

import msgspec
from hypothesis import strategies as st

from brokerkit.topology import Binding, DeadLetter, Exchange, ExchangeType, Group, Log, Queue, Retry, Topology

T = TypeVar("T")

EXCHANGES = ("ex-a", "ex-b", "ex-c", "ex-d")
HEADER_NAMES = ("k", "l", "x-m")

topic_words = st.lists(st.sampled_from(["", "a", "b", "*", "#"]), max_size=6)
patterns = topic_words.map(".".join)
keys = st.lists(st.sampled_from(["", "a", "b", "c"]), max_size=5).map(".".join)
values = st.sampled_from([None, True, False, 0, 1, 1.0, 1.5, "1", "a"])
headers = st.dictionaries(st.sampled_from(HEADER_NAMES), values, max_size=3)
match = st.sampled_from(["all", "any"])
bindings = st.lists(
    st.builds(Binding, st.sampled_from(EXCHANGES), patterns, st.one_of(st.none(), headers), match), max_size=3
)
some_bindings = st.lists(
    st.sampled_from([Binding(name, key, wanted) for name in EXCHANGES for key in "ab" for wanted in (None, {"k": 1})]),
    max_size=3,
)
exchange_types: st.SearchStrategy[ExchangeType] = st.sampled_from(["direct", "topic", "fanout", "headers"])
retries = st.sampled_from(
    [None, Retry(), Retry.none(), Retry.fixed(2, 0.5, retry_on=(ConnectionError,)), Retry.linear(9, 0, 1.5, 1e6)]
)
seconds = st.sampled_from([None, 0.001, 1.5, 3600.0, 1e9])
sizes = st.sampled_from([None, 1, 2**40])
dead_letters: st.SearchStrategy[bool | DeadLetter] = st.sampled_from(
    [True, False, DeadLetter("parking"), DeadLetter("parking", 60), DeadLetter(max_length=3), DeadLetter("q-a")]
)


@st.composite
def topologies(draw: st.DrawFn) -> Topology:
    """A topology with every descriptor and field, valid or not; all four exchanges are declared."""
    alternates = st.one_of(st.none(), st.sampled_from((*EXCHANGES, "undeclared")))
    exchanges = [
        Exchange(name, draw(exchange_types), draw(st.booleans()), draw(alternates), draw(bindings))
        for name in EXCHANGES
    ]
    queues = [
        Queue(
            name,
            draw(bindings),
            priorities=draw(st.integers(1, 10)),
            max_wait=draw(seconds),
            retry=draw(retries),
            dead_letter=draw(dead_letters),
            max_length=draw(sizes),
        )
        for name in ("q-a", "q-b", "q-c")
    ]
    log = Log("log", draw(bindings), draw(seconds), draw(sizes), history=draw(st.booleans()))
    group = Group("log", "group", draw(st.sampled_from(["latest", "earliest"])), draw(retries))
    return Topology("random", exchanges, queues, [log], [group])


def parts(items: Sequence[T]) -> st.SearchStrategy[list[T]]:
    """Some of the items, in any order."""
    return st.lists(st.sampled_from(items), unique_by=id, max_size=len(items))


def same_queue(queue: Queue) -> st.SearchStrategy[Queue]:
    """The queue as another app may declare it: with other bindings, and another mode."""
    modes = st.sampled_from(["own", "verify", "trust"])
    return st.builds(lambda own, mode: msgspec.structs.replace(queue, bindings=own, mode=mode), some_bindings, modes)


@st.composite
def agreeing_fragments(draw: st.DrawFn) -> list[Topology]:
    """Topologies of several apps that agree on all but bindings and modes, which every app has of its own."""
    exchanges = [Exchange(name, draw(exchange_types)) for name in EXCHANGES]
    straight = dead_letters.filter(lambda each: isinstance(each, bool) or each.name is None)  # no circles
    queues = [Queue(name, priorities=draw(st.integers(1, 3)), dead_letter=draw(straight)) for name in ("q-a", "q-b")]
    groups = [Group("log", name, retry=draw(retries)) for name in ("g-a", "g-b")]
    return [
        Topology(
            name,
            [msgspec.structs.replace(exchange, bindings=draw(some_bindings)) for exchange in draw(parts(exchanges))],
            [draw(same_queue(queue)) for queue in draw(parts(queues))],
            [Log("log", draw(some_bindings))],
            draw(parts(groups)),
        )
        for name in ("app-a", "app-b", "app-c")
    ]
