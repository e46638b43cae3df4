"""A task with bound arguments, not yet sent; and how it, or an event, becomes a message."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from numbers import Real
from typing import Any, Generic, Literal, TypeVar, get_args

import msgspec

from brokerkit.clock import Clock
from brokerkit.codec import Decoder, Limits, check_nesting, encode
from brokerkit.errors import EncodeError
from brokerkit.ids import IdFactory
from brokerkit.message import MSGPACK, NORMAL, Message, Outgoing, Scalar
from brokerkit.records import TaskRecord, TaskStatus
from brokerkit.topology import Exchange, Retry, priority_number
from brokerkit.topology.suggestion import similar
from brokerkit.wire import LONGEST_TEXT, check_name, check_text, checked_scalars

R_co = TypeVar("R_co", covariant=True)

RecordLevel = Literal["outcome", "full", "none"]
RECORD_LEVELS: tuple[RecordLevel, ...] = get_args(RecordLevel)


def check_retry(policy: object) -> None:
    """Raise ``TypeError`` when something else is given as a retry policy."""
    if policy is not None and not isinstance(policy, Retry):
        raise TypeError(f"retry={policy!r}: give a Retry, as Retry.exponential(max_retries=5) or Retry.none()")


def seconds(span: float | timedelta, what: str = "a duration") -> float:
    """A duration in seconds. Raises ``TypeError`` for anything else, calling it ``what``."""
    if isinstance(span, timedelta):
        return span.total_seconds()
    if not isinstance(span, Real):
        raise TypeError(f"{what} takes seconds or a timedelta, not {span!r}")
    return float(span)


class SendOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How one message is sent. Every field is optional.

    Args:
        delay: Seconds, or a timedelta, before it may start.
        at: A time with a zone before which it may not start; instead of ``delay``.
        priority: 0..9, or "low", "normal", "high", "critical".
        expires: Not started later than this: seconds or a timedelta from now, or a time with a zone.
        timeout: Seconds for one attempt.
        retry: A retry policy over the task's own.
        headers: The sender's own headers: names to strings, numbers or booleans.
        correlation_id: The sender's own.
        metadata: Searchable labels for the record.
        id: The message's id instead of a new one; at most 255 bytes. One task each: of a second one with the id of a
            record that is kept, the handler may run, and ``result()`` is that of the first.
    """

    delay: float | timedelta | None = None
    at: datetime | None = None
    priority: int | str | None = None
    expires: float | timedelta | datetime | None = None
    timeout: float | timedelta | None = None
    retry: Retry | None = None
    headers: Mapping[str, Scalar] | None = None
    correlation_id: str | None = None
    metadata: Mapping[str, Scalar] | None = None
    id: str | None = None

    def __post_init__(self) -> None:
        if self.delay is not None and self.at is not None:
            raise ValueError("give delay= or at=, not both")
        if self.id is not None and not 0 < len(str(self.id).encode("utf-8", "replace")) <= LONGEST_TEXT:
            raise ValueError(f"id={self.id!r:.50}: give 1 to {LONGEST_TEXT} bytes")
        if self.at is not None and not isinstance(self.at, datetime):
            raise TypeError(f"at={self.at!r}: give a datetime with a zone; delay= takes seconds from now")
        for name, moment in (("at", self.at), ("expires", self.expires)):
            if isinstance(moment, datetime) and moment.tzinfo is None:
                raise ValueError(f"{name}={moment!r} has no time zone; use datetime.now(timezone.utc) + ...")
        for name, span in (("delay", self.delay), ("expires", self.expires), ("timeout", self.timeout)):
            if not isinstance(span, datetime) and span is not None and not 0 <= seconds(span, name) < float("inf"):
                raise ValueError(f"{name}={span!r}: give seconds >= 0 or a timedelta")
        check_retry(self.retry)


NO_OPTIONS = SendOptions()


def send_options(given: Mapping[str, Any]) -> SendOptions:
    """The options of one send, from its keywords.

    Raises:
        TypeError: There is no such option, or it is of another type.
        ValueError: One makes no sense.
    """
    if not given:
        return NO_OPTIONS
    if text := unknown("a send", given, SendOptions.__struct_fields__):
        raise TypeError(text)
    return SendOptions(**given)


def unknown(what: str, given: Iterable[str], known: Iterable[str]) -> str:
    """Says that some keywords do not exist, and which do; "" if all do."""
    wrong = sorted({*given} - {*known})
    if not wrong:
        return ""
    instead = similar(wrong[0], known) if len(wrong) == 1 else ""
    return f"{what} takes no {', '.join(wrong)}{instead or '; it takes ' + ', '.join(known)}"


class TaskProfile(msgspec.Struct, frozen=True, kw_only=True):
    """What a sender must know of a task.

    Args:
        name: The wire name.
        queue: The queue it is sent to.
        priority: Default priority, 0..9.
        expires: Seconds after sending within which it must start; None for no limit.
        record: What is kept of it in the store.
        reply: Whether its result is sent back.
        metadata: Default labels.
    """

    name: str
    queue: str
    priority: int = NORMAL
    expires: float | None = None
    record: RecordLevel = "outcome"
    reply: bool = True
    metadata: dict[str, Scalar] = {}

    def __post_init__(self) -> None:
        check_name(self.name)


class Call(msgspec.Struct, Generic[R_co], frozen=True, eq=False, gc=False):
    """A task with bound arguments: a value that can be sent, any number of times.

    Args:
        profile: The task.
        body: The encoded arguments.
        content_type: How they are encoded.
        options: How to send it.
        result: Decodes the result.
    """

    profile: TaskProfile
    body: bytes
    content_type: str
    options: SendOptions
    result: Callable[[bytes, str], R_co]

    def __repr__(self) -> str:
        return f"Call({self.profile.name!r}, queue={self.profile.queue!r})"


def check_call(call: object) -> None:
    """Raise ``TypeError`` when something else is given to be sent."""
    if isinstance(call, Call):
        return
    if inspect.iscoroutine(call):
        call.close()  # or Python would complain that nobody has awaited it
    raise TypeError(f'a call is wanted, as charge.message("o-1"), and charge.send(…) sends by itself; not {call!r}')


class Origin(msgspec.Struct, frozen=True):
    """Who sends: the message whose handler leaves this one as a follow-up.

    Args:
        parent: That message's id.
        root: The id of the first message of the family.
        id: The id the follow-up must have.
    """

    parent: str
    root: str
    id: str


class Composer:
    """Makes messages from calls and events. Pure but for the clock and the ids.

    Args:
        clock: Supplies the time.
        ids: Makes ids.
        limits: What is refused.
        content_type: How events are encoded.
        records: Whether a PENDING record is made for tasks that keep one.
    """

    def __init__(
        self, clock: Clock, ids: IdFactory, limits: Limits, *, content_type: str = MSGPACK, records: bool = True
    ) -> None:
        self._clock = clock
        self._ids = ids
        self._limits = limits
        self._records = records
        self.content_type = content_type

    def call(self, call: Call[Any], *, reply_to: str | None = None, origin: Origin | None = None) -> Outgoing:
        """The message of a call, addressed straight to the task's queue, with its PENDING record.

        Raises:
            EncodeError: An id, header or label cannot travel, or they are too large.
        """
        profile, options = call.profile, call.options
        now = self._clock.now()
        message = Message(
            id=options.id or (origin.id if origin else self._ids(now)),
            name=profile.name,
            body=call.body,
            content_type=call.content_type,
            priority=profile.priority,
            created=now,
            expires=None if profile.expires is None else now + profile.expires,
            reply_to=reply_to if profile.reply else None,
            routing_key=profile.queue,
            metadata=profile.metadata,
            parent=origin.parent if origin else None,
            root=origin.root if origin else None,
        )
        if options is not NO_OPTIONS:
            message = self._with_options(message, options, now)
        record = _pending(message, profile.queue) if self._records and profile.record != "none" else None
        return Outgoing(message, "", profile.queue, record)

    def event(
        self,
        payload: Any,
        exchange: str | Exchange,
        routing_key: str,
        options: SendOptions = NO_OPTIONS,
        *,
        origin: Origin | None = None,
    ) -> Outgoing:
        """The message of an event. Its name is its type's name, "" for plain values.

        Raises:
            EncodeError: The payload cannot be encoded, or is too large or too deep.
        """
        now = self._clock.now()
        body = encode(payload, self.content_type)
        if len(body) > self._limits.body:
            raise EncodeError(f"event of {len(body)} bytes is over the limit of {self._limits.body}")
        check_nesting(body, self.content_type, self._limits)
        target = exchange if isinstance(exchange, str) else exchange.name
        check_text("routing_key", routing_key)
        message = Message(
            id=origin.id if origin else self._ids(now),
            name=event_name(type(payload)),
            body=body,
            content_type=self.content_type,
            created=now,
            exchange=target,
            routing_key=routing_key,
            parent=origin.parent if origin else None,
            root=origin.root if origin else None,
        )
        if options is not NO_OPTIONS:
            message = self._with_options(message, options, now)
        return Outgoing(message, target, routing_key)

    def labels(self, labels: Mapping[str, Scalar]) -> dict[str, Scalar]:
        """Labels that a record may have.

        Raises:
            EncodeError: One cannot travel, or they are too large.
        """
        return checked_scalars("label", labels, self._limits.headers)

    def _with_options(self, message: Message, options: SendOptions, now: float) -> Message:
        changes = _times(options, now)
        if options.id is not None:
            check_text("id", options.id)
            changes["id"] = options.id
        if options.priority is not None:
            changes["priority"] = priority_number(options.priority)
        if options.retry is not None:
            changes["retry"] = msgspec.json.encode(options.retry).decode()
        if options.headers:
            changes["headers"] = checked_scalars("header", options.headers, self._limits.headers)
        if options.metadata:
            changes["metadata"] = self.labels({**message.metadata, **options.metadata})
        if options.correlation_id is not None:
            check_text("correlation_id", options.correlation_id)
            changes["correlation_id"] = options.correlation_id
        return msgspec.structs.replace(message, **changes) if changes else message


def _times(options: SendOptions, now: float) -> dict[str, Any]:
    times: dict[str, Any] = {}
    if options.delay:
        times["due"] = now + seconds(options.delay)
    elif options.at is not None:
        times["due"] = options.at.timestamp()
    if options.expires is not None:
        times["expires"] = _moment(options.expires, now)
    if options.timeout is not None:
        times["timeout"] = seconds(options.timeout)
    return times


def _moment(value: float | timedelta | datetime, now: float) -> float:
    return value.timestamp() if isinstance(value, datetime) else now + seconds(value)


def _pending(message: Message, queue: str) -> TaskRecord:
    return TaskRecord(
        id=message.id,
        name=message.name,
        queue=queue,
        status=TaskStatus.PENDING,
        created=message.created,
        metadata=message.metadata,
        parent=message.parent,
        root=message.root,
    )


_PLAIN = (dict, list, tuple, set, frozenset, str, bytes, bytearray, int, float, bool, type(None))


def event_name(kind: type) -> str:
    """The wire name of an event's type: the class's name, "" for plain values."""
    return "" if kind in _PLAIN else kind.__name__


def any_result(body: bytes, content_type: str) -> Any:
    """Decodes a result of a task whose annotations are not known here."""
    return _ANY.decode(body, content_type)


_ANY: Decoder[Any] = Decoder(Any, Limits(body=1 << 30))
