"""What was sent, and assertions on it whose failures show what was sent instead."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from brokerkit.calls import any_result
from brokerkit.codec import Decoder, Limits, encode
from brokerkit.errors import EncodeError
from brokerkit.message import Message, Outgoing
from brokerkit.tasks import Task
from brokerkit.topology import Exchange

T = TypeVar("T")
AnyTask = Task[..., Any, ..., Any]

MOST_SHOWN = 20
"""Messages that the text of a failure shows."""
ANYTHING: Any = object()
"""Stands for an argument that was not given."""


class SentTask(msgspec.Struct, frozen=True):
    """A task that was sent.

    Args:
        name: Its wire name.
        queue: Where it was sent.
        arguments: As its function gets them, with defaults; where it was asked for by name, as they travel.
        message: The message itself: its priority, headers, metadata and times.
    """

    name: str
    queue: str
    arguments: dict[str, Any]
    message: Message

    @property
    def delay(self) -> float:
        """Seconds it is delayed by."""
        return 0.0 if self.message.due is None else self.message.due - self.message.created

    def __str__(self) -> str:
        arguments = ", ".join(f"{name}={value!r}" for name, value in self.arguments.items())
        delay = f", delayed by {self.delay:g} s" if self.delay else ""
        return f"{self.name}({arguments}) to {self.queue}{delay}"


class SentEvent(msgspec.Struct, frozen=True):
    """An event that was published.

    Args:
        exchange: Where.
        routing_key: With which key.
        name: Its wire name: the name of its type, "" for plain values.
        payload: As plain values; ``decoded`` gives it as its type.
        message: The message itself.
    """

    exchange: str
    routing_key: str
    name: str
    payload: Any
    message: Message

    def decoded(self, kind: type[T]) -> T:
        """The payload as its type. Raises ``DecodeError`` when it does not fit."""
        return Decoder[T](kind, Limits()).decode(self.message.body, self.message.content_type)

    def __str__(self) -> str:
        return f"{self.name or 'event'} {self.payload!r} to {self.exchange}, key {self.routing_key!r}"


class Sent:
    """Everything that was sent and published, follow-ups of handlers included.

    Args:
        messages: In order; ``ctx.followups`` of a ``context`` will do as well.
    """

    def __init__(self, messages: Sequence[Outgoing]) -> None:
        self._messages = messages

    def __repr__(self) -> str:
        return f"Sent({', '.join(map(str, self._all()))})"

    def tasks(self, task: AnyTask | str | None = None) -> list[SentTask]:
        """The tasks that were sent: all, or those of one task or wire name."""
        name = task if task is None or isinstance(task, str) else task.name
        decode = task.parameters.decode if isinstance(task, Task) else any_result
        defaults = task.signature.defaults if isinstance(task, Task) else {}
        return [
            _task(outgoing, decode, defaults)
            for outgoing in tuple(self._messages)
            if not outgoing.exchange and name in (None, outgoing.message.name)
        ]

    def events(self, exchange: Exchange | str | None = None) -> list[SentEvent]:
        """The events that were published: all, or those of one exchange."""
        name = exchange.name if isinstance(exchange, Exchange) else exchange
        return [
            _event(outgoing)
            for outgoing in tuple(self._messages)
            if outgoing.exchange and name in (None, outgoing.exchange)
        ]

    def assert_sent(self, task: AnyTask | str, /, **arguments: Any) -> SentTask:
        """Fail unless the task was sent with these arguments, among others.

        Returns:
            The first that fits, for further assertions.

        Raises:
            AssertionError: None fits; its text says what was sent.
            TypeError: The task has no such parameter.
        """
        fitting = self._fitting(task, arguments)
        if not fitting:
            raise AssertionError(f"{_wanted(task, arguments)} was not sent{self._instead(self.tasks(task))}")
        return fitting[0]

    def assert_not_sent(self, task: AnyTask | str, /, **arguments: Any) -> None:
        """Fail if the task was sent with these arguments, among others. Raises as ``assert_sent``."""
        if fitting := self._fitting(task, arguments):
            raise AssertionError(f"{_wanted(task, arguments)} was sent:{_listed(fitting)}")

    def assert_published(
        self, exchange: Exchange | str, payload: Any = ANYTHING, /, *, routing_key: str | None = None
    ) -> SentEvent:
        """Fail unless an event was published to the exchange, with this payload and routing key where they are given.

        Returns:
            The first that fits, for further assertions.

        Raises:
            AssertionError: None fits; its text says what was published.
        """
        there = self.events(exchange)
        for event in there:
            if routing_key in (None, event.routing_key) and _same(payload, event.payload):
                return event
        what = "an event" if payload is ANYTHING else repr(payload)
        key = "" if routing_key is None else f" with key {routing_key!r}"
        name = exchange.name if isinstance(exchange, Exchange) else exchange
        raise AssertionError(f"{what} was not published to {name}{key}{self._instead(there)}")

    def assert_nothing_sent(self) -> None:
        """Fail if anything was sent or published. Raises ``AssertionError``, whose text says what."""
        if found := self._all():
            raise AssertionError(f"something was sent:{_listed(found)}")

    def _all(self) -> list[SentTask | SentEvent]:
        return [*self.tasks(), *self.events()]

    def _fitting(self, task: AnyTask | str, arguments: Mapping[str, Any]) -> list[SentTask]:
        if isinstance(task, Task) and (unknown := arguments.keys() - set(task.signature.names)):
            names = ", ".join(task.signature.names) or "none"
            raise TypeError(f"{task.name} has no parameter {', '.join(sorted(unknown))}; it has {names}")
        return [
            sent
            for sent in self.tasks(task)
            if all(name in sent.arguments and _same(wanted, sent.arguments[name]) for name, wanted in arguments.items())
        ]

    def _instead(self, alike: Sequence[SentTask | SentEvent]) -> str:
        if alike:
            return f"; these were:{_listed(alike)}"
        others = self._all()
        return f", but something else:{_listed(others)}" if others else ", nor was anything else"


def _task(outgoing: Outgoing, decode: Callable[[bytes, str], dict[str, Any]], defaults: Mapping[str, Any]) -> SentTask:
    message = outgoing.message
    arguments = decode(message.body, message.content_type)
    left_out = {name: value for name, value in defaults.items() if name not in arguments}
    return SentTask(message.name, outgoing.routing_key, {**arguments, **left_out}, message)


def _event(outgoing: Outgoing) -> SentEvent:
    message = outgoing.message
    payload = any_result(message.body, message.content_type)
    return SentEvent(outgoing.exchange, outgoing.routing_key, message.name, payload, message)


def _same(wanted: Any, found: Any) -> bool:
    """Equal as they are, or as they travel: a struct and the map it becomes, a tuple and a list."""
    if wanted is ANYTHING or wanted == found:
        return True
    try:
        return bool(
            any_result(encode(wanted), "application/msgpack") == any_result(encode(found), "application/msgpack")
        )
    except EncodeError:
        return False


def _wanted(task: AnyTask | str, arguments: Mapping[str, Any]) -> str:
    given = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
    return f"{task if isinstance(task, str) else task.name}({given})"


def _listed(items: Sequence[SentTask | SentEvent]) -> str:
    more = f"\n  and {len(items) - MOST_SHOWN} more" if len(items) > MOST_SHOWN else ""
    return "".join(f"\n  {item}" for item in items[:MOST_SHOWN]) + more
