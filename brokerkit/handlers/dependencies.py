"""What a function is given besides the message: ``db: Session = Depends(open_session)``."""

from __future__ import annotations

import inspect
import typing
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Generator, Iterator, Mapping
from typing import Any, Literal, TypeVar, overload

import msgspec

from brokerkit.errors import ConfigurationError
from brokerkit.handlers.annotations import hints_of, where_is

T = TypeVar("T")

Scope = Literal["message", "worker"]

SCOPES = typing.get_args(Scope)
BY_KEYWORD = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
"""Kinds of parameters that can be passed by keyword."""


class Dependency(msgspec.Struct, frozen=True, eq=False):
    """What ``Depends`` gives: it stands for the value until a worker puts that in its place.

    Args:
        function: Makes the value.
        cache: The value is made once per message, and shared.
        scope: How long a value lives.
    """

    function: Callable[..., Any]
    cache: bool = True
    scope: Scope = "message"

    def __repr__(self) -> str:
        return f"Depends({where_is(self.function)})"

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"{self!r} is put in place by a worker; who calls the function directly passes a value")


# An iterator is what many annotate their generators with, and what a file is as well: nothing is concluded from it.
@overload
def Depends(
    function: Callable[..., Coroutine[Any, Any, T]], /, *, cache: bool = True, scope: Scope = "message"
) -> T: ...
@overload
def Depends(
    function: Callable[..., AsyncGenerator[T, None] | Generator[T, None, None]],
    /,
    *,
    cache: bool = True,
    scope: Scope = "message",
) -> T: ...
@overload
def Depends(
    function: Callable[..., AsyncIterator[Any] | Iterator[Any]],
    /,
    *,
    cache: bool = True,
    scope: Scope = "message",
) -> Any: ...
@overload
def Depends(function: Callable[..., T], /, *, cache: bool = True, scope: Scope = "message") -> T: ...


def Depends(function: Callable[..., Any], /, *, cache: bool = True, scope: Scope = "message") -> Any:  # noqa: N802
    """Have a parameter filled in by a worker: ``async def charge(order_id: str, db: Session = Depends(open_session))``.

    The parameter does not travel, and no sender passes it; a test that calls the function passes a value of its own.
    A generator cleans up after its ``yield``, before the outcome of the attempt is committed: an exception of the
    handler, a timeout or a cancellation is raised at the ``yield``, so that it can roll back, and one that is raised
    there or later is the attempt's failure. Catching the handler's exception does not make the attempt a success.

    Where it is called: a coroutine function or async generator on the event loop; a plain function where its handler
    runs, so in the thread of a sync handler, and on the event loop for an async one or where an async dependency needs
    it. All of it is part of the attempt: its timeout covers it (with async dependencies also the wait of a sync handler
    for a thread), and context variables that it sets reach the handler.

    Args:
        function: Makes the value: a function, coroutine function, generator function (sync or async, one ``yield``)
            or class. Its parameters may have dependencies of their own, as default or in ``Annotated``; one annotated
            ``Context`` is given the message's, hence ``ctx.args`` with the arguments; others need a default.
        cache: All who depend on it in one message share one value. False makes one for each.
        scope: "message" (default), or "worker": made once when a worker starts, before it takes messages, and
            cleaned up after its last commit; such a function can depend only on others of that scope.

    Raises:
        ConfigurationError: It is not a function, there is no such scope, or the two options contradict each other.
    """
    if not callable(function):
        raise ConfigurationError(f"Depends takes the function itself, without calling it, not {function!r:.100}")
    if scope not in SCOPES:
        raise ConfigurationError(f'Depends(scope={scope!r}): choose "message" or "worker"')
    if scope == "worker" and not cache:
        raise ConfigurationError('Depends(cache=False) makes a value for each place; scope="worker" has one for all')
    return Dependency(function, cache, scope)


def dependency_of(parameter: inspect.Parameter, hint: Any, where: str) -> Dependency | None:
    """What a parameter asks for, as its default or in ``Annotated``; None for an ordinary one.

    Raises:
        ConfigurationError: It asks twice, or cannot be passed by keyword.
    """
    found = [extra for extra in getattr(hint, "__metadata__", ()) if isinstance(extra, Dependency)]
    if isinstance(parameter.default, Dependency):
        found.append(parameter.default)
    if not found:
        return None
    if len(found) > 1:
        raise ConfigurationError(f"{where}: {parameter.name!r} has Depends twice; give it as the default only")
    if parameter.kind not in BY_KEYWORD:
        raise ConfigurationError(f"{where}: {parameter.name!r} is injected by keyword; it cannot be positional only")
    return found[0]


class Needs(msgspec.Struct, frozen=True):
    """What a dependency's function is called with.

    Args:
        context: The parameter that takes the message's context, or None.
        dependencies: By parameter.
    """

    context: str | None
    dependencies: Mapping[str, Dependency]


def needs_of(function: Callable[..., Any], context_type: type) -> Needs:
    """Read a dependency's signature.

    Raises:
        ConfigurationError: A parameter would get no value.
    """
    where, hints = where_is(function), hints_of(function)
    context: str | None = None
    dependencies: dict[str, Dependency] = {}
    for parameter in _parameters(function, where):
        hint = hints.get(parameter.name)
        if (dependency := dependency_of(parameter, hint, where)) is not None:
            dependencies[parameter.name] = dependency
        elif hint is context_type and parameter.kind in BY_KEYWORD:
            context = parameter.name
        elif parameter.default is parameter.empty and parameter.kind not in (
            parameter.VAR_POSITIONAL,
            parameter.VAR_KEYWORD,
        ):
            raise ConfigurationError(
                f"{where}: a dependency's parameter {parameter.name!r} gets no value; give it a default, Depends(...), "
                f"or take `ctx: {context_type.__name__}` and read ctx.args"
            )
    return Needs(context, dependencies)


def _parameters(function: Callable[..., Any], where: str) -> list[inspect.Parameter]:
    try:
        return list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError) as error:  # some built-in classes have none
        raise ConfigurationError(f"{where} has no signature; wrap it: Depends(lambda: ...)") from error
