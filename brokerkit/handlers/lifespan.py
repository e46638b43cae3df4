"""What lives as long as a worker: contexts entered before its first message and left after its last commit."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import msgspec

from brokerkit.errors import ConfigurationError, LifespanFailed
from brokerkit.handlers.annotations import where_is
from brokerkit.handlers.calling import made
from brokerkit.handlers.injection import Function, Kind, Node, Planner, Step, kind_of, maker_of

Lifespan = Callable[..., Any]
"""A generator function with one ``yield``, or what returns a context manager; it takes nothing or the app."""


class Resources(msgspec.Struct, frozen=True):
    """What a worker has while it works.

    Args:
        state: What its lifespans have yielded: None, one object, or the union of mappings.
        opened: The values of its dependencies, by the functions that made them.
    """

    state: Any
    opened: Mapping[Function, Any]


def check_lifespan(function: Lifespan) -> None:
    """Raise ``ConfigurationError`` for what cannot be called with the app, or with nothing."""
    if not callable(function):
        raise ConfigurationError(f"lifespan takes a function, not {function!r:.100}")
    if kind_of(function) is Kind.COROUTINE:
        raise ConfigurationError(f"{where_is(function)} returns before the worker begins; give it one `yield`")
    if len(_needed(function)) > 1:
        raise ConfigurationError(f"{where_is(function)}: a lifespan takes the app or nothing")


def _needed(function: Lifespan) -> list[str]:
    """The parameters that are the app's: those without a default."""
    return [
        parameter.name
        for parameter in inspect.signature(function).parameters.values()
        if parameter.default is parameter.empty and parameter.kind is parameter.POSITIONAL_OR_KEYWORD
    ]


@asynccontextmanager
async def entered(lifespans: Iterable[Lifespan], app: object, nodes: Iterable[Node]) -> AsyncIterator[Resources]:
    """Enter lifespans, then dependencies with the scope of the worker; leave them in reverse order.

    Raises:
        LifespanFailed: One of them cannot be entered; those before it have been left.
    """
    async with AsyncExitStack() as stack:
        states: list[Any] = []
        for lifespan in lifespans:
            await _enter(stack, _step(lifespan, app), lifespan, states)
        planner, values = Planner(), list[Any]()
        plan = planner.plan({str(number): node for number, node in enumerate(nodes)})
        functions: list[Any] = sorted(planner.places, key=planner.places.__getitem__)  # all of them are shared
        for function, step in zip(functions, plan.outside, strict=True):
            await _enter(stack, step, function, values)
        yield Resources(_united(states), dict(zip(functions, values, strict=True)))


async def _enter(stack: AsyncExitStack, step: Step, function: Any, values: list[Any]) -> None:
    try:
        await stack.enter_async_context(made([step], None, values))
    except Exception as error:
        raise LifespanFailed(
            f"{where_is(function)} failed, so the worker takes no messages: {type(error).__name__}: {error}"
        ) from error


def _step(lifespan: Lifespan, app: object) -> Step:
    arguments = dict.fromkeys(_needed(lifespan), app)
    kind = kind_of(lifespan)
    if kind is Kind.PLAIN:
        lifespan, kind = _as_generator(lifespan), Kind.ASYNC_GENERATOR
    return Step(maker_of(lifespan, kind), kind, None, (), arguments)


def _as_generator(lifespan: Lifespan) -> Lifespan:
    async def generator(**arguments: Any) -> AsyncIterator[Any]:
        manager = lifespan(**arguments)
        if hasattr(manager, "__aenter__"):
            async with manager as state:
                yield state
        elif hasattr(manager, "__enter__"):
            with manager as state:
                yield state
        else:
            raise TypeError(f"it returned {manager!r:.100}, which is no context manager; give it one `yield`")

    return generator


def _united(states: Sequence[Any]) -> Any:
    given = [state for state in states if state is not None]
    if len(given) < 2:
        return given[0] if given else None
    united: dict[Any, Any] = {}
    for state in given:
        if not isinstance(state, Mapping):
            raise ConfigurationError(
                f"several lifespans yield something, so each must yield a mapping, not {state!r:.100}"
            )
        if common := united.keys() & state.keys():
            raise ConfigurationError(f"two lifespans yield {', '.join(map(repr, sorted(common, key=str)))}")
        united.update(state)
    return united
