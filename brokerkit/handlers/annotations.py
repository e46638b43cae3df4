"""A callable as it was written: its place, its annotations, and whether calling it waits or yields."""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Callable
from typing import Any

from brokerkit.errors import ConfigurationError


def code_of(function: Any) -> Any:
    """The function that a call runs: of a partial, a class or an instance that can be called."""
    if isinstance(function, functools.partial):
        return code_of(function.func)
    if isinstance(function, type):
        return function.__init__  # type: ignore[misc] # the one that a call of this very class runs
    return function if inspect.isroutine(function) else type(function).__call__


def where_is(function: Callable[..., Any]) -> str:
    """A callable for texts: its module and qualified name."""
    target: Any = function.func if isinstance(function, functools.partial) else function
    named = target if hasattr(target, "__qualname__") else type(target)
    return f"{named.__module__}.{named.__qualname__}"


def hints_of(function: Callable[..., Any]) -> dict[str, Any]:
    """Its annotations by parameter, and ``return``.

    Raises:
        ConfigurationError: An annotation cannot be resolved.
    """
    try:
        return typing.get_type_hints(code_of(function), include_extras=True)
    except NameError as error:
        raise ConfigurationError(
            f"{where_is(function)}: an annotation cannot be resolved: {error}; define or import the name at module "
            f"level, outside of `if TYPE_CHECKING`"
        ) from error
