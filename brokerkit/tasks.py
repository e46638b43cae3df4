"""Tasks and subscribers: typed functions with a place to come from, collected with or without an app."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from datetime import timedelta
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar, Unpack, overload

import msgspec

from brokerkit.calls import NO_OPTIONS, Call, RecordLevel, SendOptions, TaskProfile, seconds
from brokerkit.codec import Decoder, Limits
from brokerkit.context import Context
from brokerkit.errors import ConfigurationError, DuplicateTask
from brokerkit.handle import Handle
from brokerkit.message import MSGPACK, NORMAL, Scalar
from brokerkit.options import SendKeywords, SubscribeKeywords, TaskKeywords
from brokerkit.signature import EventSignature, Parameters, Signature
from brokerkit.topology import Group, Log, Queue, Retry, priority_number

P = ParamSpec("P")
"""What a caller passes."""
C = ParamSpec("C")
"""What the function takes: the same, with the context first where there is one."""
R = TypeVar("R")
V = TypeVar("V")
"""What calling the function returns: ``R``, or a coroutine of it."""
F = TypeVar("F", bound=Callable[..., Any])


class _Stranger:
    """Fits a first parameter only where anything does (``object``, ``Any``), which a context must not be taken for."""


DEFAULT_QUEUE = "default"


class TaskOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a task is sent and run. Every field is optional.

    Args:
        name: Wire name; default the function's name.
        queue: A ``Queue`` or its name; default the queue ``default``.
        retry: Retry policy; default the queue's, else the app's.
        timeout: Seconds, or a timedelta, for one attempt; default the queue's, else none.
        priority: 0..9, or "low", "normal", "high", "critical"; default normal.
        expires: Seconds, or a timedelta, after sending within which it must start; default none.
        record: What the store keeps: "outcome" (default), "full" (also each start) or "none".
        reply: Whether the result is sent back to the caller; default True.
        metadata: Searchable labels for every record.
    """

    name: str | None = None
    queue: Queue | str = DEFAULT_QUEUE
    retry: Retry | None = None
    timeout: float | timedelta | None = None
    priority: int | str = NORMAL
    expires: float | timedelta | None = None
    record: RecordLevel = "outcome"
    reply: bool = True
    metadata: Mapping[str, Scalar] | None = None

    def __post_init__(self) -> None:
        if self.record not in ("outcome", "full", "none"):
            raise ConfigurationError(f'record={self.record!r}: choose "outcome", "full" or "none"')
        for name in ("timeout", "expires"):
            span = getattr(self, name)
            if span is not None and not 0 < seconds(span) < float("inf"):
                raise ConfigurationError(f"{name}={span!r}: give seconds > 0, or leave it out for no limit")


class Sender(Protocol):
    """What a task needs of its app in order to be sent."""

    async def send_call(self, call: Call[R]) -> Handle[R]:
        """Publish a call, confirmed."""
        ...


class Task(Generic[P, R, C, V]):
    """A typed function with a wire name. Calling it runs the plain function; sending it runs it on a worker.

    Attributes:
        function: The plain function.
        name: The wire name.
        declared: How it was declared.
    """

    def __init__(self, function: Callable[C, V], declared: TaskOptions, limits: Limits) -> None:
        self.function = function
        self.declared = declared
        self.name: str = declared.name or function.__name__
        self.signature = Signature(function, Context)
        self.parameters = Parameters(self.signature, limits)
        self.queue = Queue(declared.queue) if isinstance(declared.queue, str) else declared.queue
        self.profile = TaskProfile(
            name=self.name,
            queue=self.queue.name,
            priority=priority_number(declared.priority),
            expires=None if declared.expires is None else seconds(declared.expires),
            record=declared.record,
            reply=declared.reply,
            metadata=dict(declared.metadata or {}),
        )
        self.content_type = MSGPACK
        self._result: Decoder[R] = _result_decoder(self.signature, self.name)
        self._senders: list[Sender] = []
        self.__doc__ = function.__doc__
        self.__name__ = function.__name__
        self.__module__ = function.__module__
        self.__wrapped__ = function

    def __call__(self, *args: C.args, **kwargs: C.kwargs) -> V:
        """Call the plain function, here and now."""
        return self.function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"Task({self.name!r}, queue={self.queue.name!r})"

    async def send(self, *args: P.args, **kwargs: P.kwargs) -> Handle[R]:
        """Send it: returns when the broker has confirmed it.

        Raises:
            TypeError: The arguments do not fit the signature.
            EncodeError: A value does not fit its annotation, or has no representation.
            PublishFailed: The broker did not take it; the subclass says why.
            ConfigurationError: The task belongs to no app, or the app is not open.
        """
        return await self._sender().send_call(self.bind(args, kwargs, NO_OPTIONS))

    def message(self, *args: P.args, **kwargs: P.kwargs) -> Call[R]:
        """Bind arguments without sending: for ``app.send_many``, ``ctx.send`` and workflows."""
        return self.bind(args, kwargs, NO_OPTIONS)

    def options(self, **options: Unpack[SendKeywords]) -> Configured[P, R]:
        """The same task with options for one send: ``await task.options(delay=5).send(…)``.

        The keywords are the fields of ``SendOptions``.
        """
        return Configured(self, SendOptions(**options))

    def bind(self, args: tuple[Any, ...], kwargs: dict[str, Any], options: SendOptions) -> Call[R]:
        """The call with these arguments and options."""
        body = self.parameters.encode(args, kwargs, self.content_type)
        return Call(self.profile, body, self.content_type, options, self._result.decode)

    def join(self, sender: Sender, limits: Limits, content_type: str) -> None:
        """Belong to an app: called by ``include``."""
        self._senders.append(sender)
        self.parameters = Parameters(self.signature, limits)
        self.content_type = content_type

    async def send_call(self, call: Call[R]) -> Handle[R]:
        """Send a bound call through this task's app."""
        return await self._sender().send_call(call)

    def _sender(self) -> Sender:
        if len(self._senders) == 1:
            return self._senders[0]
        if not self._senders:
            raise ConfigurationError(f"task {self.name!r} belongs to no app yet: app.include(tasks) first")
        raise ConfigurationError(f"task {self.name!r} is included in several apps: use app.send(task.message(...))")


class Configured(Generic[P, R]):
    """A task with options for one send."""

    __slots__ = ("_options", "_task")

    def __init__(self, task: Task[P, R, Any, Any], options: SendOptions) -> None:
        self._task = task
        self._options = options

    async def send(self, *args: P.args, **kwargs: P.kwargs) -> Handle[R]:
        """Send it with the options; see ``Task.send``."""
        return await self._task.send_call(self.message(*args, **kwargs))

    def message(self, *args: P.args, **kwargs: P.kwargs) -> Call[R]:
        """Bind arguments and options without sending."""
        return self._task.bind(args, kwargs, self._options)


def _result_decoder(signature: Signature, name: str) -> Decoder[Any]:
    try:
        return Decoder(signature.returns, Limits(body=1 << 40))
    except TypeError as error:
        raise ConfigurationError(
            f"task {name!r}: its result {signature.returns!r} cannot be read from the wire: {error}"
        ) from error


class Subscriber:
    """A function on a queue's or a group's events.

    Attributes:
        function: The plain function.
        source: The queue, or the group of the log.
        log: The log, when the source is a group.
        type_name: Only events of this wire name; "" for all.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        source: Queue | Group,
        log: Log | None,
        kind: type | str | None,
        retry: Retry | None,
    ) -> None:
        self.function = function
        self.source = source
        self.log = log
        self.type_name = kind if isinstance(kind, str) else (kind.__name__ if kind is not None else "")
        self.retry = retry
        self.signature = EventSignature(function, Context)
        self.name = f"{function.__module__}.{function.__qualname__}"

    @property
    def source_key(self) -> str:
        """The queue's name or the group's key."""
        return self.source.name if isinstance(self.source, Queue) else self.source.key


class TaskDecorator(Protocol):
    """Makes a task of a function, keeping its types."""

    @overload
    def __call__(
        self, function: Callable[Concatenate[_Stranger, ...], Coroutine[Any, Any, R]], /
    ) -> Task[..., R, ..., Coroutine[Any, Any, R]]: ...
    @overload
    def __call__(self, function: Callable[Concatenate[_Stranger, ...], R], /) -> Task[..., R, ..., R]: ...
    @overload
    def __call__(
        self, function: Callable[Concatenate[Context, P], Coroutine[Any, Any, R]], /
    ) -> Task[P, R, Concatenate[Context, P], Coroutine[Any, Any, R]]: ...
    @overload
    def __call__(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> Task[P, R, P, Coroutine[Any, Any, R]]: ...
    @overload
    def __call__(self, function: Callable[Concatenate[Context, P], R], /) -> Task[P, R, Concatenate[Context, P], R]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> Task[P, R, P, R]: ...


class Tasks:
    """Collects tasks and subscribers in a module that has no app; ``app.include(tasks)`` adds them.

    Args:
        limits: What is refused at send while the tasks belong to no app.
    """

    def __init__(self, *, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self.tasks: dict[str, Task[..., Any, ..., Any]] = {}
        self.subscribers: list[Subscriber] = []

    @overload
    def task(
        self, function: Callable[Concatenate[_Stranger, ...], Coroutine[Any, Any, R]], /
    ) -> Task[..., R, ..., Coroutine[Any, Any, R]]: ...
    @overload
    def task(self, function: Callable[Concatenate[_Stranger, ...], R], /) -> Task[..., R, ..., R]: ...
    @overload
    def task(
        self, function: Callable[Concatenate[Context, P], Coroutine[Any, Any, R]], /
    ) -> Task[P, R, Concatenate[Context, P], Coroutine[Any, Any, R]]: ...
    @overload
    def task(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> Task[P, R, P, Coroutine[Any, Any, R]]: ...
    @overload
    def task(self, function: Callable[Concatenate[Context, P], R], /) -> Task[P, R, Concatenate[Context, P], R]: ...
    @overload
    def task(self, function: Callable[P, R], /) -> Task[P, R, P, R]: ...
    @overload
    def task(self, **options: Unpack[TaskKeywords]) -> TaskDecorator: ...

    def task(self, *functions: Callable[..., Any], **options: Any) -> Any:
        """Make a task of a function: ``@app.task`` or ``@app.task(queue=…, retry=…)``.

        A parameter annotated ``Context`` must come first; it is injected and does not travel. Sync functions run in
        a thread. The keywords are the fields of ``TaskOptions``.

        Raises:
            DuplicateTask: A task of that wire name exists.
            ConfigurationError: A parameter or an option makes no sense.
        """
        declared = TaskOptions(**options)

        def decorate(function: Callable[..., Any]) -> Task[..., Any, ..., Any]:
            return self._add_task(Task(function, declared, self._limits))

        return decorate(*functions) if functions else decorate

    def subscribe(self, source: Queue | Log | str, **options: Unpack[SubscribeKeywords]) -> Callable[[F], F]:
        """Run a function on the events of a queue, or of a log as a member of a group.

        Args:
            source: A ``Queue``, the name of one, or a ``Log``.
            options: ``group`` (needed for a log), ``type`` (only events of this class or wire name), ``start``
                ("latest" or "earliest", for a new group), ``retry``.

        Returns:
            A decorator that returns the function unchanged.

        Raises:
            DuplicateTask: Another subscriber takes the same events.
            ConfigurationError: A log without a group, a group without a log, or an option that does not exist.
        """
        return lambda function: self._add_subscriber(function, source, options)

    def include(self, tasks: Tasks) -> None:
        """Add the tasks and subscribers of another collection.

        Raises:
            DuplicateTask: One of them is here already.
        """
        for task in tasks.tasks.values():
            self._add_task(task)
        for subscriber in tasks.subscribers:
            self._join_subscriber(subscriber)

    def _add_task(self, task: Task[P, R, C, V]) -> Task[P, R, C, V]:
        if (known := self.tasks.get(task.name)) is not None:
            raise DuplicateTask(
                f"two tasks are named {task.name!r}: {_where(known.function)} and {_where(task.function)}; "
                f"give one of them name="
            )
        self.tasks[task.name] = task
        return task

    def _add_subscriber(self, function: F, source: Queue | Log | str, options: SubscribeKeywords) -> F:
        if unknown := options.keys() - SubscribeKeywords.__annotations__.keys():
            raise ConfigurationError(f"subscribe() takes no {', '.join(sorted(unknown))}")
        if not isinstance(source, Queue | Log | str):
            raise ConfigurationError(f"subscribe to a Queue, the name of one, or a Log, not {source!r}")
        group = options.get("group")
        kind, retry = options.get("type"), options.get("retry")
        if isinstance(source, Log):
            if not group:
                raise ConfigurationError(f'log {source.name!r} is read by groups: subscribe(log, group="...")')
            place = Group(source, group, start=options.get("start", "latest"))
            self._join_subscriber(Subscriber(function, place, source, kind, retry))
        elif group or "start" in options:
            raise ConfigurationError("group= and start= belong to a log; a queue has neither")
        else:
            queue = Queue(source) if isinstance(source, str) else source
            self._join_subscriber(Subscriber(function, queue, None, kind, retry))
        return function

    def _join_subscriber(self, subscriber: Subscriber) -> None:
        for known in self.subscribers:
            if known.source_key == subscriber.source_key and known.type_name == subscriber.type_name:
                which = f"events of type {known.type_name!r}" if known.type_name else "all events"
                raise DuplicateTask(
                    f"{known.name} and {subscriber.name} both take {which} of {known.source_key!r}; "
                    f"tell them apart by type=, or use two queues or groups"
                )
        self.subscribers.append(subscriber)


def _where(function: Callable[..., Any]) -> str:
    code = getattr(function, "__code__", None)
    place = f" ({code.co_filename}:{code.co_firstlineno})" if code else ""
    return f"{function.__module__}.{function.__qualname__}{place}"


__all__ = ["Configured", "Subscriber", "Task", "TaskDecorator", "TaskOptions", "Tasks"]
