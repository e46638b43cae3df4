"""From what handlers depend on to plans: everything that can be decided when a worker starts, decided."""

from __future__ import annotations

import enum
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import msgspec

from brokerkit.context import Context
from brokerkit.errors import ConfigurationError
from brokerkit.handlers.annotations import code_of, where_is
from brokerkit.handlers.dependencies import Dependency, Needs, needs_of

Function = Callable[..., Any]


class Kind(enum.Enum):
    """How a value is made of a call."""

    PLAIN = enum.auto()
    COROUTINE = enum.auto()
    GENERATOR = enum.auto()
    ASYNC_GENERATOR = enum.auto()


def kind_of(function: Function) -> Kind:
    """What calling it gives."""
    code = code_of(function)
    if inspect.iscoroutinefunction(code):
        return Kind.COROUTINE
    if inspect.isasyncgenfunction(code):
        return Kind.ASYNC_GENERATOR
    return Kind.GENERATOR if inspect.isgeneratorfunction(code) else Kind.PLAIN


class Node(msgspec.Struct, frozen=True, eq=False):
    """One place where a function is depended on.

    Args:
        function: What is called: the function, or what overrides it.
        kind: What the call gives.
        dependency: As it was declared.
        context: The parameter that takes the context, or None.
        below: What it depends on itself, by parameter.
    """

    function: Function
    kind: Kind
    dependency: Dependency
    context: str | None
    below: Mapping[str, Node]


class Graph:
    """Reads what depends on what, and checks it.

    Args:
        overrides: Functions that are replaced by others.
    """

    def __init__(self, overrides: Mapping[Function, Function] | None = None) -> None:
        self._overrides = overrides or {}
        self._seen: dict[Function, Dependency] = {}

    def nodes(self, dependencies: Mapping[str, Dependency]) -> dict[str, Node]:
        """What a function with these dependencies depends on, by parameter.

        Raises:
            ConfigurationError: A parameter would get no value, scopes do not fit, or something depends on itself.
        """
        return {name: self._node(dependency, {}) for name, dependency in dependencies.items()}

    def _node(self, dependency: Dependency, above: Mapping[Function, Function]) -> Node:
        """One place; ``above`` are the functions called on the way to it, each with the one that was declared."""
        declared = dependency.function
        # What overrides a function may depend on it: there the original is meant.
        function = declared if declared in above.values() else self._overrides.get(declared, declared)
        if function in above:
            raise ConfigurationError(f"{where_is(function)} depends on itself")
        needs = needs_of(function, Context)
        self._check_scope(dependency, where_is(function), needs)
        above = {**above, function: declared}
        below = {name: self._node(other, above) for name, other in needs.dependencies.items()}
        return Node(function, kind_of(function), dependency, needs.context, below)

    def _check_scope(self, dependency: Dependency, where: str, needs: Needs) -> None:
        scope = dependency.scope
        known = self._seen.setdefault(dependency.function, dependency)
        if known.scope != scope:
            raise ConfigurationError(f"{where} is used with scope={known.scope!r} and with scope={scope!r}; choose one")
        if scope == "message":
            return
        if needs.context is not None:
            raise ConfigurationError(f"{where} lives as long as the worker, so it cannot take a message's context")
        for other in needs.dependencies.values():
            if other.scope != scope:
                raise ConfigurationError(
                    f"{where} lives as long as the worker, so it cannot depend on {where_is(other.function)}, which "
                    f'is made for each message; give that scope="worker" as well'
                )


def of_worker(nodes: Iterable[Node]) -> Iterator[Node]:
    """The highest of those that live as long as the worker."""
    for node in nodes:
        if node.dependency.scope == "worker":
            yield node
        else:
            yield from of_worker(node.below.values())


class Step(msgspec.Struct, frozen=True):
    """One value to be made.

    Args:
        make: What is called: the function, or what makes a context manager of a generator function.
        kind: What the call gives.
        context: The parameter that takes the context, or None.
        arguments: Parameters, and the places of their values among those made before.
        constants: Parameters with values that are there already: those of the worker.
    """

    make: Function
    kind: Kind
    context: str | None
    arguments: tuple[tuple[str, int], ...]
    constants: Mapping[str, Any]


class Plan(msgspec.Struct, frozen=True):
    """What is made for one handler, each value after those it depends on.

    Args:
        outside: Made on the event loop.
        inside: Made in the handler's thread, after those.
        arguments: The handler's parameters, and the places of their values.
        constants: Its parameters with values that are there already.
    """

    outside: tuple[Step, ...]
    inside: tuple[Step, ...]
    arguments: tuple[tuple[str, int], ...]
    constants: Mapping[str, Any]


class Planner:
    """Makes one plan.

    Args:
        in_thread: The handler is sync, so what need not be on the event loop is made in its thread.
        opened: The worker's values, by the functions that made them.

    Attributes:
        places: Where values are: of a shared one by its function, of another by its node.
    """

    def __init__(self, *, in_thread: bool = False, opened: Mapping[Function, Any] | None = None) -> None:
        self.places: dict[Function | Node, int] = {}
        self._in_thread = in_thread
        self._opened = opened or {}
        self._steps: list[Step] = []

    def plan(self, nodes: Mapping[str, Node]) -> Plan:
        """The plan for a function with these dependencies."""
        # Nothing on the event loop depends on what is made in the thread, so it can come first.
        self._place_on_loop(nodes.values())
        outside = tuple(self._steps)
        arguments, constants = self._arguments(nodes)
        return Plan(outside, tuple(self._steps[len(outside) :]), arguments, constants)

    def _place_on_loop(self, nodes: Iterable[Node]) -> None:
        for node in nodes:
            if node.function in self._opened:
                continue
            if not self._in_thread or node.kind in (Kind.COROUTINE, Kind.ASYNC_GENERATOR):
                self._place(node)
            else:
                self._place_on_loop(node.below.values())

    def _place(self, node: Node) -> int:
        key = node.function if node.dependency.cache else node
        if key not in self.places:
            arguments, constants = self._arguments(node.below)
            make = maker_of(node.function, node.kind)
            self._steps.append(Step(make, node.kind, node.context, arguments, constants))
            self.places[key] = len(self._steps) - 1
        return self.places[key]

    def _arguments(self, nodes: Mapping[str, Node]) -> tuple[tuple[tuple[str, int], ...], dict[str, Any]]:
        constants = {name: self._opened[node.function] for name, node in nodes.items() if node.function in self._opened}
        places = ((name, self._place(node)) for name, node in nodes.items() if name not in constants)
        return tuple(places), constants


def maker_of(function: Function, kind: Kind) -> Function:
    """What a step calls: of a generator function, what makes a context manager."""
    if kind is Kind.ASYNC_GENERATOR:
        return asynccontextmanager(function)
    return contextmanager(function) if kind is Kind.GENERATOR else function


class Injector:
    """Makes the plans of a worker's handlers.

    Args:
        overrides: Functions that are replaced by others.
    """

    def __init__(self, overrides: Mapping[Function, Function] | None = None) -> None:
        self._graph = Graph(overrides)

    def of_worker(self, dependencies: Iterable[Mapping[str, Dependency]]) -> list[Node]:
        """What must be opened before the handlers with these dependencies run."""
        return [node for each in dependencies for node in of_worker(self._graph.nodes(each).values())]

    def plan(
        self, dependencies: Mapping[str, Dependency], opened: Mapping[Function, Any], *, in_thread: bool
    ) -> Plan | None:
        """The plan of a handler; None when it has no dependencies.

        Args:
            dependencies: By parameter.
            opened: The worker's values, by the functions that made them.
            in_thread: The handler is sync.
        """
        if not dependencies:
            return None
        return Planner(in_thread=in_thread, opened=opened).plan(self._graph.nodes(dependencies))


def check_dependencies(dependencies: Mapping[str, Dependency]) -> None:
    """Raise ``ConfigurationError`` for dependencies that cannot be made, whatever handlers there are besides."""
    Graph().nodes(dependencies)
