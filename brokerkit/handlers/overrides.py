"""Dependencies replaced by others for a while: what tests do."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from brokerkit.errors import ConfigurationError
from brokerkit.handlers.annotations import where_is

Function = Callable[..., Any]


class Overrides:
    """What an app's dependencies are replaced by. A worker reads it once, when it starts."""

    def __init__(self) -> None:
        self._instead: dict[Function, Function] = {}
        self._readers = 0

    @contextmanager
    def replacing(self, function: Function, instead: Function) -> Iterator[None]:
        """Replace a function until the context is left.

        Raises:
            ConfigurationError: A worker of the app has started, or what is given is no function.
        """
        if not callable(instead):
            raise ConfigurationError(f"override takes a function: lambda: {instead!r:.100}")
        if self._readers:
            raise ConfigurationError(f"override {where_is(function)} before the worker starts")
        before = dict(self._instead)
        self._instead[function] = instead
        try:
            yield
        finally:
            self._instead = before

    @contextmanager
    def reading(self) -> Iterator[Mapping[Function, Function]]:
        """What is replaced by what; nothing changes until the context is left."""
        self._readers += 1
        try:
            yield self._instead
        finally:
            self._readers -= 1
