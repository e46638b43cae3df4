"""From a topology's bindings to those declared, which some versions of RabbitMQ want spelled otherwise."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby, product

from brokerkit.topology import Binding, HeaderValue, Mode, Topology
from brokerkit.transports.rabbitmq.plan import Arguments, BindingPlan
from brokerkit.transports.rabbitmq.versions import Version, compares_types, most_hashes


class Binder:
    """Turns bindings into declarations.

    Args:
        topology: Knows the exchanges' types.
        version: The broker's.
    """

    def __init__(self, topology: Topology, version: Version) -> None:
        self.version = version
        self._types = {exchange.name: exchange.type for exchange in topology.exchanges}

    def bindings(
        self, bindings: Iterable[Binding], destination: str, *, to_queue: bool, mode: Mode = "own"
    ) -> Iterator[BindingPlan]:
        """The bindings of one descriptor; the arguments are those of ``BindingPlan``."""
        for binding in bindings:
            key = self._key(binding)
            for arguments in self._arguments(binding):
                yield BindingPlan(binding.exchange, destination, to_queue, key, arguments, mode)

    def _key(self, binding: Binding) -> str:
        if self._types.get(binding.exchange) != "topic" or hashes(binding.key) <= most_hashes(self.version):
            return binding.key
        return fewest_hashes(binding.key)

    def _arguments(self, binding: Binding) -> Iterator[Arguments]:
        if self._types.get(binding.exchange) != "headers":
            yield {}
            return
        for headers in _spellings(binding) if compares_types(self.version) else [binding.headers or {}]:
            yield {"x-match": binding.match, **headers}


def _spellings(binding: Binding) -> Iterator[Mapping[str, HeaderValue]]:
    """The headers with each number as a whole number and as a fraction, which newer versions do not take for equal."""
    headers = binding.headers or {}
    spelled = [_both(value) for value in headers.values()]
    if binding.match == "any":
        longest = max(map(len, spelled), default=1)
        choices: Iterable[tuple[HeaderValue, ...]] = [
            tuple(way[min(n, len(way) - 1)] for way in spelled) for n in range(longest)
        ]
    else:
        choices = product(*spelled)
    yield from (dict(zip(headers, choice, strict=True)) for choice in choices)


def _both(value: HeaderValue) -> tuple[HeaderValue, ...]:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != int(value):
        return (value,)
    # A whole number that a binding's fraction cannot hold would match its neighbours.
    return (int(value), float(value)) if is_single(value) else (value,)


def is_single(value: float) -> bool:
    """Whether a 32-bit fraction, which is how the client sends those of bindings, holds the number exactly."""
    try:
        return bool(struct.unpack(">f", struct.pack(">f", value))[0] == value)
    except OverflowError:
        return False


def hashes(pattern: str) -> int:
    """How many words of a topic pattern are ``#``."""
    return pattern.split(".").count("#")


def fewest_hashes(pattern: str) -> str:
    """A pattern that matches the same keys with as few ``#`` as can be: of wildcards in a row one is enough, after the
    ``*`` among them."""
    words: list[str] = []
    for wild, run in groupby(pattern.split("."), key=lambda word: word in {"*", "#"}):
        several = list(run)
        words += sorted(several, key=lambda word: word == "#")[: several.count("*") + 1] if wild else several
    return ".".join(words)
