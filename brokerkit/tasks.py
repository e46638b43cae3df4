"""Tasks and subscribers: typed functions with a place to come from, collected with or without an app."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine, Iterable, Mapping
from datetime import timedelta
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, Self, TypeVar, Unpack, overload

import msgspec

from brokerkit.calls import (
    NO_OPTIONS,
    RECORD_LEVELS,
    Call,
    RecordLevel,
    SendOptions,
    TaskProfile,
    check_retry,
    seconds,
    send_options,
    unknown,
)
from brokerkit.client.handle import Handle
from brokerkit.codec import Decoder, Limits
from brokerkit.consumers import PatternHandler, Subscriber
from brokerkit.context import Context
from brokerkit.errors import ConfigurationError, DecodeError, DuplicateTask
from brokerkit.handlers.annotations import where_is
from brokerkit.handlers.injection import check_dependencies
from brokerkit.handlers.lifespan import Lifespan, check_lifespan
from brokerkit.handlers.patterns import Pattern
from brokerkit.handlers.signature import Parameters, Signature
from brokerkit.message import MSGPACK, NORMAL, Scalar
from brokerkit.options import HandlerKeywords, SendKeywords, SubscribeKeywords, TaskKeywords
from brokerkit.settings import Settings
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
        record: What the store keeps: "outcome", "full" (also each start) or "none"; default the app's, which is
            "outcome" unless its settings say otherwise.
        reply: Whether the result is sent back to the caller; default True.
        metadata: Searchable labels for every record.
    """

    name: str | None = None
    queue: Queue | str = DEFAULT_QUEUE
    retry: Retry | None = None
    timeout: float | timedelta | None = None
    priority: int | str = NORMAL
    expires: float | timedelta | None = None
    record: RecordLevel | None = None
    reply: bool = True
    metadata: Mapping[str, Scalar] | None = None

    def __post_init__(self) -> None:
        if self.record is not None and self.record not in RECORD_LEVELS:
            raise ConfigurationError(f"record={self.record!r}: choose {', '.join(RECORD_LEVELS)}")
        for name in ("timeout", "expires"):
            span = getattr(self, name)
            if span is not None and not 0 < seconds(span, name) < float("inf"):
                raise ConfigurationError(f"{name}={span!r}: give seconds > 0, or leave it out for no limit")
        check_retry(self.retry)
        if not isinstance(self.queue, Queue | str):
            raise TypeError(f"queue={self.queue!r}: give a Queue or the name of one")


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
        decode_result: Reads what it returned: bytes and content type to the value.
    """

    def __init__(self, function: Callable[C, V], declared: TaskOptions, limits: Limits) -> None:
        _check_plain(function)
        self.function = function
        self.declared = declared
        self.name: str = declared.name or _name_of(function)
        self.takes = self.name
        self.signature = Signature(function, Context)
        check_dependencies(self.signature.dependencies)
        self.parameters = Parameters(self.signature, limits)
        self.queue = Queue(declared.queue) if isinstance(declared.queue, str) else declared.queue
        self.profile = TaskProfile(
            name=self.name,
            queue=self.queue.name,
            priority=priority_number(declared.priority),
            expires=None if declared.expires is None else seconds(declared.expires),
            record=declared.record or "outcome",
            reply=declared.reply,
            metadata=dict(declared.metadata or {}),
        )
        self.retry = declared.retry
        self.timeout = None if declared.timeout is None else seconds(declared.timeout)
        self.record = declared.record
        self.content_type = MSGPACK
        self.decode_result: Callable[[bytes, str], R] = _result_decoder(self.signature, self.name)
        self._senders: list[Sender] = []
        self.__doc__ = function.__doc__
        self.__name__ = getattr(function, "__name__", self.name)
        self.__qualname__ = getattr(function, "__qualname__", self.name)
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
        return Configured(self, send_options(options))

    def bind(self, args: tuple[Any, ...], kwargs: dict[str, Any], options: SendOptions) -> Call[R]:
        """The call with these arguments and options."""
        try:
            body = self.parameters.encode(args, kwargs, self.content_type)
        except TypeError as error:
            if misplaced := kwargs.keys() & (SendKeywords.__annotations__.keys() - self.parameters.names):
                raise TypeError(f"{error}; that is said before: {self.name}.options({min(misplaced)}=…)") from None
            raise
        return Call(self.profile, body, self.content_type, options, self.decode_result)

    @property
    def source_key(self) -> str:
        """The queue's name."""
        return self.queue.name

    def decoder(self, limits: Limits) -> Callable[[bytes, str], dict[str, Any]]:
        """From body and content type to arguments by name."""
        return Parameters(self.signature, limits).decode

    def join(self, sender: Sender, settings: Settings) -> None:
        """Belong to an app: called by ``include``."""
        self._senders.append(sender)
        self.parameters = Parameters(self.signature, settings.limits)
        self.content_type = settings.content_type
        if self.declared.record is None:
            self.profile = msgspec.structs.replace(self.profile, record=settings.record)

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


def _check_plain(function: object) -> None:
    if isinstance(function, Task):
        raise ConfigurationError(
            f"{function.name!r} is a task already: decorate its function, {function.name}.function"
        )


def _name_of(function: Callable[..., Any]) -> str:
    name = getattr(function, "__name__", None)
    if not isinstance(name, str):
        raise ConfigurationError(f"{where_is(function)} has no name of its own: give the task one, name=…")
    return name


def _result_decoder(signature: Signature, name: str) -> Callable[[bytes, str], Any]:
    try:
        decode: Callable[[bytes, str], Any] = Decoder(signature.returns, Limits(body=1 << 40)).decode
    except TypeError as error:
        raise ConfigurationError(
            f"task {name!r}: its result {signature.returns!r} cannot be read from the wire: {error}"
        ) from error

    def decode_result(body: bytes, content_type: str) -> Any:
        try:
            return decode(body, content_type)
        except DecodeError as error:
            raise DecodeError(
                f"task {name!r} has succeeded, but what it returned is no "
                f"{inspect.formatannotation(signature.returns)} here: {error}; the worker "
                f"runs another version of it, or it returns something else than it says"
            ) from error

    return decode_result


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
        self.handlers: list[PatternHandler] = []
        self.lifespans: list[Lifespan] = []

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
        declared = _declared("task()", options, TaskKeywords.__annotations__)

        def decorate(function: Callable[..., Any]) -> Task[..., Any, ..., Any]:
            return self._add_task(Task(function, declared, self._limits))

        return decorate(*functions) if functions else decorate

    def subscribe(self, source: Queue | Log | str, **options: Unpack[SubscribeKeywords]) -> Callable[[F], F]:
        """Run a function on the events of a queue, or of a log as a member of a group.

        Args:
            source: A ``Queue`` or a ``Log``, or the name of one; with ``group`` it is a log's.
            options: ``group`` (needed for a log), ``type`` (only events of this class or wire name), ``start``
                (where a new group begins: "latest", "earliest" or a ``datetime``), ``retry``.

        Returns:
            A decorator that returns the function unchanged.

        Raises:
            DuplicateTask: Another subscriber takes the same events.
            ConfigurationError: A log without a group, a group of a queue, or an option that does not exist.
        """
        return lambda function: self._add_subscriber(function, source, options)

    def handler(self, pattern: str, /, **options: Unpack[HandlerKeywords]) -> Callable[[F], F]:
        """Run a function on every message whose name matches a pattern and is no task's: ``@app.handler("Database*")``.

        Its one parameter besides the context takes all arguments: as ``dict[str, Any]``, or as what its annotation
        says; ``bytes`` takes the body as it is. ``ctx.name`` is the message's name. Records and replies are as for
        tasks. Of several patterns that match, the one with the longest beginning without a wildcard wins, then the one
        with more characters that are none.

        Args:
            pattern: ``*`` stands for any characters, ``?`` for one.
            options: ``queue`` (default the queue ``default``), ``retry``, ``timeout``, ``record``, as for a task.

        Returns:
            A decorator that returns the function unchanged.

        Raises:
            DuplicateTask: Another pattern of that queue matches the same names and is as specific.
            ConfigurationError: The pattern has no wildcard, or an option makes no sense.
        """
        checked = Pattern(pattern)
        return lambda function: self._add_handler(function, checked, options)

    def lifespan(self, function: F) -> F:
        """Have a worker enter a context before it takes messages, and leave it after its last commit.

        ``@app.lifespan`` on the function; ``App(lifespan=…)`` does the same.

        Args:
            function: A generator function with one ``yield``, async or not, or one that returns a context manager. It
                takes nothing, or the app. What it yields is ``ctx.state``; several may yield mappings, which are
                united. A worker enters them in the order in which they were added.

        Returns:
            The function, unchanged.

        Raises:
            ConfigurationError: It takes more than the app.
        """
        check_lifespan(function)
        self.lifespans.append(function)
        return function

    def include(self, tasks: Tasks) -> None:
        """Add what another collection has: tasks, subscribers, handlers and lifespans. What is here already is skipped.

        Raises:
            DuplicateTask: Something else takes the same messages here.
        """
        for task in tasks.tasks.values():
            if self.tasks.get(task.name) is not task:
                self._add_task(task)
        for subscriber in tasks.subscribers:
            _join(self.subscribers, subscriber)
        for handler in tasks.handlers:
            _join(self.handlers, handler)
        self.lifespans += [lifespan for lifespan in tasks.lifespans if lifespan not in self.lifespans]

    def _add_task(self, task: Task[P, R, C, V]) -> Task[P, R, C, V]:
        if (known := self.tasks.get(task.name)) is not None:
            raise DuplicateTask(
                f"two tasks are named {task.name!r}: {_where(known.function)} and {_where(task.function)}; "
                f"give one of them name="
            )
        self.tasks[task.name] = task
        return task

    def _add_subscriber(self, function: F, source: Queue | Log | str, options: SubscribeKeywords) -> F:
        _check_plain(function)
        if text := unknown("subscribe()", options, SubscribeKeywords.__annotations__):
            raise ConfigurationError(text)
        if not isinstance(source, Queue | Log | str):
            raise ConfigurationError(f"subscribe to a Queue or a Log, or the name of one, not {source!r}")
        group = options.get("group")
        kind, retry = options.get("type"), options.get("retry")
        try:
            check_retry(retry)
        except TypeError as error:
            raise ConfigurationError(f"subscribe(): {error}") from error
        log = source if isinstance(source, Log) else None
        if group and not isinstance(source, Queue):
            place = Group(source, group, start=options.get("start", "latest"))
            _join(self.subscribers, Subscriber(function, place, log, kind, retry))
        elif isinstance(source, Log):
            raise ConfigurationError(f'log {source.name!r} is read by groups: subscribe(log, group="...")')
        elif group or "start" in options:
            raise ConfigurationError("group= and start= belong to a log; a queue has neither")
        else:
            queue = Queue(source) if isinstance(source, str) else source
            _join(self.subscribers, Subscriber(function, queue, None, kind, retry))
        return function

    def _add_handler(self, function: F, pattern: Pattern, options: HandlerKeywords) -> F:
        _check_plain(function)
        declared = _declared("handler()", options, HandlerKeywords.__annotations__)
        handler = PatternHandler(
            function,
            pattern,
            Queue(declared.queue) if isinstance(declared.queue, str) else declared.queue,
            retry=declared.retry,
            timeout=None if declared.timeout is None else seconds(declared.timeout),
            record=declared.record,
        )
        _join(self.handlers, handler)
        return function


def _declared(what: str, options: Mapping[str, Any], known: Iterable[str]) -> TaskOptions:
    if text := unknown(what, options, known):
        raise ConfigurationError(text)
    try:
        return TaskOptions(**options)
    except TypeError as error:
        raise ConfigurationError(f"{what}: {error}") from error


class Exclusive(Protocol):
    """What may not take the same messages as another of its kind."""

    def check_beside(self, known: Self, /) -> None:
        """Raise ``DuplicateTask`` when both take the same."""


E = TypeVar("E", bound=Exclusive)


def _join(known: list[E], new: E) -> None:
    """Add what is not there yet, if it gets on with the others."""
    if new not in known:
        for other in known:
            new.check_beside(other)
        known.append(new)


def _where(function: Callable[..., Any]) -> str:
    code = getattr(function, "__code__", None)
    place = f" ({code.co_filename}:{code.co_firstlineno})" if code else ""
    return f"{function.__module__}.{function.__qualname__}{place}"


__all__ = ["Configured", "Task", "TaskDecorator", "TaskOptions", "Tasks"]
