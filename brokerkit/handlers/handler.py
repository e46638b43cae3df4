"""A task or subscriber as the worker runs it: everything that can be decided at registration, decided."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import lru_cache
from typing import Any

import msgspec

from brokerkit.calls import RecordLevel
from brokerkit.context import Context
from brokerkit.delivery import Source
from brokerkit.handlers.patterns import Pattern
from brokerkit.message import MSGPACK, Message
from brokerkit.topology import Retry

Receive = Callable[[Context], Awaitable[Any]]
"""Runs one message; what middleware for receiving wraps. The arguments are in ``context.args``."""


class Handler(msgspec.Struct, frozen=True, kw_only=True):
    """One task or subscriber.

    Args:
        name: For people: the task's wire name, or the subscriber's function.
        decode: Body and content type to arguments by name; raises ``DecodeError``.
        receive: Runs the function inside all middleware.
        is_async: False when all of it runs in a thread, which cannot be cancelled.
        retry: Its policy.
        timeout: Seconds for one attempt, or None.
        max_deliveries: The crash limit.
        record: What is kept in the store.
        content_type: How its result is encoded.
        is_task: False for a subscriber: no record, no reply.
        max_headers: Most bytes of headers.
    """

    name: str
    decode: Callable[[bytes, str], dict[str, Any]]
    receive: Receive
    is_async: bool
    retry: Retry
    timeout: float | None
    max_deliveries: int
    record: RecordLevel
    content_type: str = MSGPACK
    is_task: bool = True
    max_headers: int = 16 << 10

    def policy_for(self, message: Message) -> Retry:
        """The retry policy of this message: its own, else the handler's."""
        return _own_policy(message.retry) if message.retry else self.retry


@lru_cache(maxsize=256)
def _own_policy(text: str) -> Retry:
    return msgspec.json.decode(text, type=Retry)


class SourceHandlers(msgspec.Struct, frozen=True, kw_only=True):
    """What consumes one source.

    Args:
        source: The source.
        by_name: Handlers by wire name.
        patterns: Handlers of names that match, the most specific first.
        catch_all: Takes every other name, or None.
        max_deliveries: The crash limit for messages nobody here takes.
    """

    source: Source
    by_name: Mapping[str, Handler]
    patterns: tuple[tuple[Pattern, Handler], ...] = ()
    catch_all: Handler | None = None
    max_deliveries: int = 5

    def find(self, name: str) -> Handler | None:
        """The handler of a wire name."""
        return self.by_name.get(name) or (self._matching(name) if self.patterns else self.catch_all)

    def _matching(self, name: str) -> Handler | None:
        return next((handler for pattern, handler in self.patterns if pattern.match(name)), self.catch_all)

    def all(self) -> list[Handler]:
        """Every handler."""
        others = [handler for _, handler in self.patterns]
        return [*self.by_name.values(), *others, *((self.catch_all,) if self.catch_all is not None else ())]

    def names(self) -> list[str]:
        """What it takes, for people."""
        return sorted({*self.by_name, *(pattern.text for pattern, _ in self.patterns)})
