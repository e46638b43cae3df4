"""Topic patterns: which of many patterns match a routing key, in one walk.

Words are separated by dots; ``*`` stands for exactly one word and ``#`` for any number of words, none included. As in
RabbitMQ the empty key has no words at all, while ``.`` has two empty ones.
https://www.rabbitmq.com/tutorials/amqp-concepts#exchange-topic
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic, TypeVar

T = TypeVar("T")


def words_of(key: str) -> list[str]:
    """The words of a routing key or pattern."""
    return key.split(".") if key else []


class TopicTrie(Generic[T]):
    """Values stored under topic patterns and found by routing key.

    A lookup follows all branches at once, word by word, so that its cost is bounded by words times nodes even for
    patterns with several ``#``.
    """

    def __init__(self) -> None:
        self._root: _Node[T] = _Node(repeats=False)

    def add(self, pattern: str, value: T) -> None:
        """Store a value under a pattern; one pattern holds any number of values."""
        node = self._root
        for word in words_of(pattern):
            node = node.children.setdefault(word, _Node(repeats=word == "#"))
        node.values.append(value)

    def find(self, key: str) -> list[T]:
        """The values of all patterns that match the routing key, in no particular order."""
        active = _with_hashes([self._root])
        for word in words_of(key):
            active = _with_hashes(_step(active, word))
        return [value for node in active for value in node.values]


class _Node(Generic[T]):
    __slots__ = ("children", "repeats", "values")

    def __init__(self, repeats: bool) -> None:
        self.children: dict[str, _Node[T]] = {}
        self.values: list[T] = []
        self.repeats = repeats


def _step(active: Iterable[_Node[T]], word: str) -> set[_Node[T]]:
    """The nodes reached by consuming one word."""
    reached = {node for node in active if node.repeats}
    for node in active:
        reached.update(child for name in (word, "*") if (child := node.children.get(name)) is not None)
    return reached


def _with_hashes(nodes: Iterable[_Node[T]]) -> set[_Node[T]]:
    """The nodes, and those below them that ``#`` reaches by standing for no word."""
    reached: set[_Node[T]] = set()
    for start in nodes:
        node: _Node[T] | None = start
        while node is not None and node not in reached:
            reached.add(node)
            node = node.children.get("#")
    return reached
