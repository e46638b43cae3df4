"""Where a message goes: RabbitMQ's routing as a pure function of the topology."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import NamedTuple

from brokerkit.errors import TopologyError
from brokerkit.topology.descriptors import Topology
from brokerkit.topology.exchange import Binding, Exchange
from brokerkit.topology.matching import Edge, Table, compile_table
from brokerkit.topology.suggestion import did_you_mean

_NO_HEADERS: Mapping[str, object] = MappingProxyType({})
CACHE_SIZE = 8192


class Router:
    """Routes messages to queues and logs exactly as RabbitMQ would.

    It never changes: another topology needs another router. One router may be used from several threads.

    Args:
        topology: The topology, or the union of several apps'; for publishing to dead-letter queues by name, with what
            ``implied`` adds. Bindings of undeclared exchanges are ignored.
        cache_size: Most routes remembered, for exchanges that lead to no headers exchange. Default 8192.
    """

    def __init__(self, topology: Topology, *, cache_size: int = CACHE_SIZE) -> None:
        self._queues = frozenset(queue.name for queue in topology.queues)
        self._exchanges = {exchange.name: exchange for exchange in topology.exchanges}
        edges = _edges(topology)
        self._tables: dict[str, Table] = {
            name: compile_table(exchange.type, edges.get(name, ())) for name, exchange in self._exchanges.items()
        }
        self._by_headers = _leading_to_headers(self._exchanges, edges)
        self._cache: dict[tuple[str, str], tuple[str, ...]] = {}
        self._cache_size = cache_size

    def route(self, exchange: str, key: str, headers: Mapping[str, object] = _NO_HEADERS) -> tuple[str, ...]:
        """The queues and logs that a message reaches.

        Args:
            exchange: The exchange published to; ``""`` sends straight to the queue named by the key.
            key: The routing key.
            headers: The message's headers. Default none.

        Returns:
            The distinct names, sorted; empty when nothing matches.

        Raises:
            TopologyError: The exchange is not declared.
        """
        found = self._cache.get((exchange, key))
        return found if found is not None else self._find(exchange, key, headers)

    def hops(self, exchange: str, key: str, headers: Mapping[str, object] = _NO_HEADERS) -> tuple[Hop, ...]:
        """The exchanges that a message passes, each once, in order.

        Args:
            exchange: As for ``route``.
            key: As for ``route``.
            headers: As for ``route``.

        Raises:
            TopologyError: The exchange is not declared.
        """
        return tuple(self._hops(exchange, key, headers))

    def _find(self, exchange: str, key: str, headers: Mapping[str, object]) -> tuple[str, ...]:
        hops = self._hops(exchange, key, headers)
        found = tuple(sorted({edge.target for hop in hops for edge in hop.edges if edge.kind != "exchange"}))
        if exchange not in self._by_headers and self._cache_size > 0:
            if len(self._cache) >= self._cache_size:
                # Starting over bounds the memory without bookkeeping on the quick path.
                self._cache.clear()
            self._cache[exchange, key] = found
        return found

    def _hops(self, start: str, key: str, headers: Mapping[str, object]) -> Iterator[Hop]:
        """The exchanges a message passes, each once, however they are bound to each other."""
        waiting, seen = [start], {start}
        while waiting:
            hop = self._hop(waiting.pop(0), key, headers)
            yield hop
            following = [name for name in hop.following() if name in self._exchanges and name not in seen]
            seen.update(following)
            waiting += dict.fromkeys(following)

    def _hop(self, name: str, key: str, headers: Mapping[str, object]) -> Hop:
        if not name:
            return Hop("", _default_edges(key) if key in self._queues else (), None)
        exchange = self._exchanges.get(name)
        if exchange is None:
            raise TopologyError([f"exchange {name!r} is not declared{did_you_mean(name, self._exchanges)}"])
        edges = tuple(sorted(self._tables[name].match(key, headers), key=_order))
        return Hop(name, edges, None if edges else exchange.alternate)


class Hop(NamedTuple):
    """One exchange on a message's way.

    Args:
        exchange: Its name, ``""`` for the default exchange.
        edges: The bindings that match.
        alternate: The exchange that gets the message because none does.
    """

    exchange: str
    edges: tuple[Edge, ...]
    alternate: str | None

    def following(self) -> Iterator[str]:
        """The exchanges that come next."""
        yield from (edge.target for edge in self.edges if edge.kind == "exchange")
        if self.alternate is not None:
            yield self.alternate


def _edges(topology: Topology) -> dict[str, list[Edge]]:
    """All ways out of each exchange, by its name."""
    found: dict[str, list[Edge]] = {}
    bound = (("queue", topology.queues), ("log", topology.logs), ("exchange", topology.exchanges))
    for kind, targets in bound:
        for target in targets:
            for binding in target.bindings:
                found.setdefault(binding.exchange, []).append(Edge(target.name, kind, binding))
    return found


def _leading_to_headers(exchanges: Mapping[str, Exchange], edges: Mapping[str, Iterable[Edge]]) -> frozenset[str]:
    """The exchanges whose routes depend on headers: headers exchanges, and all that can lead to one."""
    leading = {name for name, exchange in exchanges.items() if exchange.type == "headers"}
    following: dict[str, set[str | None]] = {
        name: {exchange.alternate, *(edge.target for edge in edges.get(name, ()) if edge.kind == "exchange")}
        for name, exchange in exchanges.items()
    }
    while more := {name for name in exchanges if name not in leading and following[name] & leading}:
        leading |= more
    return frozenset(leading)


def _default_edges(queue: str) -> tuple[Edge, ...]:
    """Every queue is bound to the default exchange by its own name."""
    return (Edge(queue, "queue", Binding("", queue)),)


def _order(edge: Edge) -> tuple[str, str, str]:
    return edge.kind, edge.target, edge.binding.key
