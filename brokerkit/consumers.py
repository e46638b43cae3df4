"""Functions that consume without being tasks: subscribers, and handlers of every name that matches a pattern."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from brokerkit.calls import RecordLevel
from brokerkit.context import Context
from brokerkit.errors import DuplicateTask
from brokerkit.handlers.annotations import where_is
from brokerkit.handlers.injection import check_dependencies
from brokerkit.handlers.patterns import Pattern
from brokerkit.handlers.signature import EventSignature
from brokerkit.topology import Group, Log, Queue, Retry


class _Consumer:
    """What both have: a function that takes a whole message."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.signature = EventSignature(function, Context)
        self.name = where_is(function)
        self.decoder = self.signature.decoder
        check_dependencies(self.signature.dependencies)


class Subscriber(_Consumer):
    """A function on a queue's or a group's events.

    Attributes:
        function: The plain function.
        source: The queue, or the group of the log.
        log: The log, when the source is a group.
        takes: Only events of this wire name; "" for all.
        retry: Its policy, or None for the queue's.
    """

    timeout = None
    record: RecordLevel | None = "none"

    def __init__(
        self,
        function: Callable[..., Any],
        source: Queue | Group,
        log: Log | None,
        kind: type | str | None,
        retry: Retry | None,
    ) -> None:
        super().__init__(function)
        self.source = source
        self.log = log
        self.takes = kind if isinstance(kind, str) else (kind.__name__ if kind is not None else "")
        self.retry = retry

    @property
    def source_key(self) -> str:
        """The queue's name or the group's key."""
        return self.source.name if isinstance(self.source, Queue) else self.source.key

    def check_beside(self, known: Subscriber) -> None:
        """Raise ``DuplicateTask`` when both take the same events."""
        if known.source_key == self.source_key and known.takes == self.takes:
            which = f"events of type {self.takes!r}" if self.takes else "all events"
            raise DuplicateTask(
                f"{known.name} and {self.name} both take {which} of {self.source_key!r}; "
                f"tell them apart by type=, or use two queues or groups"
            )


class PatternHandler(_Consumer):
    """A function on a queue's messages with names that match a pattern, where no task has that name.

    Attributes:
        function: The plain function.
        pattern: What it takes.
        queue: Where it takes it from.
        retry: Its policy, or None for the queue's.
        timeout: Seconds for one attempt, or None for the queue's.
        record: What is kept in the store, or None for what the app says.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        pattern: Pattern,
        queue: Queue,
        *,
        retry: Retry | None,
        timeout: float | None,
        record: RecordLevel | None,
    ) -> None:
        super().__init__(function)
        self.pattern = pattern
        self.queue = queue
        self.retry = retry
        self.timeout = timeout
        self.record = record

    @property
    def source_key(self) -> str:
        """The queue's name."""
        return self.queue.name

    def check_beside(self, known: PatternHandler) -> None:
        """Raise ``DuplicateTask`` when a name could be taken by either."""
        one, two = self.pattern, known.pattern
        if known.queue.name == self.queue.name and one.rank == two.rank and one.meets(two):
            raise DuplicateTask(
                f"{known.name} takes {two.text!r} and {self.name} takes {one.text!r} of queue {self.queue.name!r}: "
                f"some names match both, and neither is more specific; begin one of them with more of the name"
            )
