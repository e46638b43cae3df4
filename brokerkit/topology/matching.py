"""What each exchange type does with a message: one table per exchange, compiled from its bindings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple, Protocol

from brokerkit.topology.exchange import Binding, ExchangeType
from brokerkit.topology.topic import TopicTrie


class Edge(NamedTuple):
    """A way out of an exchange.

    Args:
        target: The name of what is bound.
        kind: ``queue``, ``log`` or ``exchange``.
        binding: The binding that makes the way.
    """

    target: str
    kind: str
    binding: Binding


class Table(Protocol):
    """The compiled bindings of one exchange."""

    def match(self, key: str, headers: Mapping[str, object]) -> Iterable[Edge]:
        """The edges a message takes; one target may come several times."""
        ...


def compile_table(kind: ExchangeType, edges: Iterable[Edge]) -> Table:
    """The table of an exchange of that type.

    Args:
        kind: The exchange's type.
        edges: All ways out of it.
    """
    return _TABLES[kind](edges)


class _Direct:
    def __init__(self, edges: Iterable[Edge]) -> None:
        self._by_key: dict[str, list[Edge]] = {}
        for edge in edges:
            self._by_key.setdefault(edge.binding.key, []).append(edge)

    def match(self, key: str, headers: Mapping[str, object]) -> Iterable[Edge]:
        return self._by_key.get(key, ())


class _Topic:
    def __init__(self, edges: Iterable[Edge]) -> None:
        self._trie: TopicTrie[Edge] = TopicTrie()
        for edge in edges:
            self._trie.add(edge.binding.key, edge)

    def match(self, key: str, headers: Mapping[str, object]) -> Iterable[Edge]:
        return self._trie.find(key)


class _Fanout:
    def __init__(self, edges: Iterable[Edge]) -> None:
        self._edges = tuple(edges)

    def match(self, key: str, headers: Mapping[str, object]) -> Iterable[Edge]:
        return self._edges


class _Headers:
    def __init__(self, edges: Iterable[Edge]) -> None:
        self._edges = tuple(edges)

    def match(self, key: str, headers: Mapping[str, object]) -> Iterable[Edge]:
        return [edge for edge in self._edges if headers_match(edge.binding, headers)]


_TABLES: Mapping[ExchangeType, type[_Direct | _Topic | _Fanout | _Headers]] = {
    "direct": _Direct,
    "topic": _Topic,
    "fanout": _Fanout,
    "headers": _Headers,
}


def headers_match(binding: Binding, headers: Mapping[str, object]) -> bool:
    """Whether a headers exchange takes a message over a binding.

    As RabbitMQ's x-match ``all`` and ``any``: names that begin with ``x-`` are not compared, ``all`` of nothing is
    true and ``any`` of nothing is false. https://www.rabbitmq.com/tutorials/amqp-concepts#exchange-headers

    Args:
        binding: Its ``headers`` are compared, as its ``match`` says.
        headers: The message's.
    """
    wanted = [item for item in (binding.headers or {}).items() if not item[0].startswith("x-")]
    decide = all if binding.match == "all" else any
    return decide(name in headers and _agrees(value, headers[name]) for name, value in wanted)


def _agrees(wanted: object, given: object) -> bool:
    return wanted is None or _comparable(wanted) == _comparable(given)


def _comparable(value: object) -> tuple[str, object]:
    """A value with its category: numbers equal numbers of any type, but never a boolean or a text."""
    if isinstance(value, bool):
        return "boolean", value
    if isinstance(value, (int, float)):
        return "number", value
    if isinstance(value, bytes):
        return "text", value.decode("utf-8", "surrogateescape")
    if isinstance(value, str):
        return "text", value
    return type(value).__name__, value
