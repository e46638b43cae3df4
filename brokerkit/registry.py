"""From registered tasks and subscribers to what the broker declares and the worker runs."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import msgspec

from brokerkit.calls import RecordLevel, seconds
from brokerkit.codec import Limits
from brokerkit.context import Context
from brokerkit.delivery import GroupSource, QueueSource, Source
from brokerkit.errors import ConfigurationError
from brokerkit.handlers import Handler, Receive, SourceHandlers
from brokerkit.lanes import SourcePlan
from brokerkit.middleware import ReceiveMiddleware, fold
from brokerkit.signature import Parameters
from brokerkit.tasks import Subscriber, Task, Tasks
from brokerkit.topology import Exchange, Group, Log, Queue, Retry, Topology, lane_weights, validate, with_exchanges

Descriptor = Exchange | Queue | Log | Group
AnyTask = Task[..., Any, ..., Any]


def topology_of(name: str, tasks: Tasks, declared: Sequence[Descriptor], base: Topology | None) -> Topology:
    """Everything an app declares: its topology, its descriptors, and what its tasks and subscribers consume.

    Raises:
        TopologyError: It contradicts itself; every problem is listed.
    """
    found: dict[type, list[Any]] = {Exchange: [], Queue: [], Log: [], Group: []}
    for descriptor in _mentioned(tasks, declared, base):
        kind = found[type(descriptor)]
        if descriptor not in kind:
            kind.append(descriptor)
    topology = with_exchanges(
        Topology(name, tuple(found[Exchange]), _fullest(found[Queue]), tuple(found[Log]), tuple(found[Group]))
    )
    validate(topology)
    return topology


def _mentioned(tasks: Tasks, declared: Sequence[Descriptor], base: Topology | None) -> Iterable[Descriptor]:
    if base is not None:
        yield from base.exchanges
        yield from base.queues
        yield from base.logs
        yield from base.groups
    yield from declared
    for task in tasks.tasks.values():
        yield task.queue
    for subscriber in tasks.subscribers:
        yield subscriber.source
        if subscriber.log is not None:
            yield subscriber.log


def _fullest(queues: list[Queue]) -> tuple[Queue, ...]:
    """A queue mentioned by its name alone means the one that is described elsewhere."""
    described = {queue.name for queue in queues if queue != Queue(queue.name)}
    return tuple(queue for queue in queues if queue.name not in described or queue != Queue(queue.name))


class Defaults(msgspec.Struct, frozen=True, kw_only=True):
    """What an app decides for its handlers.

    Args:
        retry: The policy of whatever names none.
        limits: What is refused.
        middleware: Wraps every handler, the first one outermost.
        records: Whether a store keeps records.
        content_type: How results are encoded.
    """

    retry: Retry
    limits: Limits
    middleware: Sequence[ReceiveMiddleware]
    records: bool
    content_type: str


def handlers_of(tasks: Tasks, topology: Topology, defaults: Defaults) -> dict[str, SourceHandlers]:
    """Handlers by source key."""
    queues = {queue.name: queue for queue in topology.queues}
    groups = {group.key: group for group in topology.groups}
    sources: dict[str, Queue | Group] = {task.queue.name: queues[task.queue.name] for task in tasks.tasks.values()}
    for subscriber in tasks.subscribers:
        key = subscriber.source_key
        sources[key] = queues[key] if isinstance(subscriber.source, Queue) else groups[key]
    return {key: _source_handlers(key, place, tasks, defaults) for key, place in sources.items()}


def _source_handlers(key: str, place: Queue | Group, tasks: Tasks, defaults: Defaults) -> SourceHandlers:
    by_name: dict[str, Handler] = {}
    catch_all: Handler | None = None
    for task in tasks.tasks.values():
        if task.queue.name == key:
            by_name[task.name] = _task_handler(task, place, defaults)
    for subscriber in tasks.subscribers:
        if subscriber.source_key != key:
            continue
        handler = _event_handler(subscriber, place, defaults)
        if not subscriber.type_name:
            catch_all = handler
        elif subscriber.type_name in by_name:
            raise ConfigurationError(f"queue {key!r}: a task and a subscriber both take {subscriber.type_name!r}")
        else:
            by_name[subscriber.type_name] = handler
    source: Source = QueueSource(key) if isinstance(place, Queue) else GroupSource(place.log, place.name)
    return SourceHandlers(source=source, by_name=by_name, catch_all=catch_all, max_deliveries=place.max_deliveries)


def _task_handler(task: AnyTask, place: Queue | Group, defaults: Defaults) -> Handler:
    declared = task.declared
    record: RecordLevel = declared.record if defaults.records else "none"
    return Handler(
        name=task.name,
        decode=Parameters(task.signature, defaults.limits).decode,
        receive=_receive(task.function, task.signature.takes_context, task.signature.is_async, defaults.middleware),
        is_async=task.signature.is_async,
        retry=declared.retry or place.retry or defaults.retry,
        timeout=place.timeout if declared.timeout is None else seconds(declared.timeout),
        max_deliveries=place.max_deliveries,
        record=record,
        content_type=defaults.content_type,
        max_headers=defaults.limits.headers,
    )


def _event_handler(subscriber: Subscriber, place: Queue | Group, defaults: Defaults) -> Handler:
    signature = subscriber.signature
    return Handler(
        name=subscriber.name,
        decode=signature.decoder(defaults.limits),
        receive=_receive(subscriber.function, signature.takes_context, signature.is_async, defaults.middleware),
        is_async=signature.is_async,
        retry=subscriber.retry or place.retry or defaults.retry,
        timeout=place.timeout,
        max_deliveries=place.max_deliveries,
        record="none",
        is_task=False,
        max_headers=defaults.limits.headers,
    )


def _receive(
    function: Callable[..., Any], takes_context: bool, is_async: bool, middleware: Sequence[ReceiveMiddleware]
) -> Receive:
    """What runs a message. Without middleware an async handler's own coroutine is awaited, with nothing between."""

    def call_async(context: Context) -> Any:
        return function(context, **context.args) if takes_context else function(**context.args)

    def call_sync(context: Context) -> Any:
        work = partial(function, context, **context.args) if takes_context else partial(function, **context.args)
        return context.in_thread(partial(_done, work))

    return fold(middleware, call_async if is_async else call_sync)


def _done(work: Callable[[], Any]) -> Any:
    """What a sync function returns. A coroutine says that its work is not done: it would be acknowledged undone."""
    value = work()
    if inspect.iscoroutine(value):
        value.close()
        raise TypeError("the handler is no `async def` but returned a coroutine; a decorator may hide that it is one")
    return value


def plans_of(handlers: Iterable[str], topology: Topology) -> list[SourcePlan]:
    """How each consumed source is served."""
    queues = {queue.name: queue for queue in topology.queues}
    return [_plan(key, queues.get(key)) for key in handlers]


def _plan(key: str, queue: Queue | None) -> SourcePlan:
    if queue is None:
        return SourcePlan(key)
    return SourcePlan(key, lane_weights(queue), queue.strict, queue.max_wait)
