"""From registered tasks and subscribers to what the broker declares and the worker runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from brokerkit.calls import RecordLevel
from brokerkit.codec import Limits
from brokerkit.consumers import PatternHandler, Subscriber
from brokerkit.delivery import GroupSource, QueueSource
from brokerkit.errors import ConfigurationError
from brokerkit.handlers.calling import receive_of
from brokerkit.handlers.handler import Handler, SourceHandlers
from brokerkit.handlers.injection import Injector
from brokerkit.handlers.patterns import Pattern
from brokerkit.lanes import SourcePlan
from brokerkit.middleware import ReceiveMiddleware, fold
from brokerkit.tasks import Task, Tasks
from brokerkit.topology import Exchange, Group, Log, Queue, Retry, Topology, lane_weights, with_exchanges, with_modes

Descriptor = Exchange | Queue | Log | Group
Consumer = Task[..., Any, ..., Any] | PatternHandler | Subscriber
Q = TypeVar("Q", Queue, Group)


def topology_of(name: str, tasks: Tasks, declared: Sequence[Descriptor], base: Topology | None) -> Topology:
    """Everything an app declares: its topology, its descriptors, and what its tasks and subscribers consume. Nothing is
    checked."""
    found: dict[type, list[Any]] = {Exchange: [], Queue: [], Log: [], Group: []}
    for descriptor in _mentioned(tasks, declared, base):
        kind = found[type(descriptor)]
        if descriptor not in kind:
            kind.append(descriptor)
    return with_exchanges(
        Topology(name, tuple(found[Exchange]), _fullest(found[Queue]), tuple(found[Log]), _fullest(found[Group]))
    )


def _mentioned(tasks: Tasks, declared: Sequence[Descriptor], base: Topology | None) -> Iterable[Descriptor]:
    if base is not None:
        base = with_modes(base)
        yield from base.exchanges
        yield from base.queues
        yield from base.logs
        yield from base.groups
    yield from declared
    yield from (task.queue for task in tasks.tasks.values())
    yield from (handler.queue for handler in tasks.handlers)
    for subscriber in tasks.subscribers:
        yield subscriber.source
        if subscriber.log is not None:
            yield subscriber.log


def _fullest(found: list[Q]) -> tuple[Q, ...]:
    """A queue or group mentioned by its name alone means the one that is described elsewhere."""
    described = {_key(each) for each in found if each != _bare(each)}
    return tuple(each for each in found if _key(each) not in described or each != _bare(each))


def _key(place: Queue | Group) -> str:
    return place.name if isinstance(place, Queue) else place.key


def _bare(place: Queue | Group) -> Queue | Group:
    return Queue(place.name) if isinstance(place, Queue) else Group(place.log, place.name)


class Defaults(msgspec.Struct, frozen=True, kw_only=True):
    """What an app decides for its handlers.

    Args:
        retry: The policy of whatever names none.
        limits: What is refused.
        middleware: Wraps every handler, the first one outermost.
        records: Whether a store keeps records.
        record: What it keeps of consumers that do not say.
        content_type: How results are encoded.
    """

    retry: Retry
    limits: Limits
    middleware: Sequence[ReceiveMiddleware]
    records: bool
    record: RecordLevel
    content_type: str


def sources_of(tasks: Tasks, topology: Topology) -> dict[str, Queue | Group]:
    """What can be consumed, by source key."""
    queues = {queue.name: queue for queue in topology.queues}
    groups = {group.key: group for group in topology.groups}
    found: dict[str, Queue | Group] = {}
    for consumer in consumers_of(tasks):
        key = consumer.source_key
        grouped = isinstance(consumer, Subscriber) and isinstance(consumer.source, Group)
        found[key] = groups[key] if grouped else queues[key]
    return found


def consumers_of(tasks: Tasks) -> list[Consumer]:
    """Every function that consumes."""
    return [*tasks.tasks.values(), *tasks.handlers, *tasks.subscribers]


class Registry:
    """Makes the handlers of a worker.

    Args:
        tasks: What is registered.
        defaults: What the app decides.
        injector: Plans their dependencies.
        opened: The worker's values, by the functions that made them.
    """

    def __init__(
        self, tasks: Tasks, defaults: Defaults, injector: Injector, opened: Mapping[Callable[..., Any], Any]
    ) -> None:
        self._consumers = consumers_of(tasks)
        self._defaults = defaults
        self._injector = injector
        self._opened = opened

    def handlers(self, key: str, place: Queue | Group) -> SourceHandlers:
        """The handlers of one source.

        Raises:
            ConfigurationError: Two of them take the same messages.
        """
        by_name: dict[str, Handler] = {}
        patterns: list[tuple[Pattern, Handler]] = []
        catch_all: Handler | None = None
        for consumer in self._consumers:
            if consumer.source_key != key:
                continue
            handler = self._handler(consumer, place)
            if isinstance(consumer, PatternHandler):
                patterns.append((consumer.pattern, handler))
            elif not consumer.takes:
                catch_all = handler
            elif consumer.takes in by_name:
                raise ConfigurationError(f"queue {key!r}: a task and a subscriber both take {consumer.takes!r}")
            else:
                by_name[consumer.takes] = handler
        patterns.sort(key=lambda item: item[0].rank, reverse=True)
        _check_reached(key, catch_all, patterns)
        return SourceHandlers(
            source=QueueSource(key) if isinstance(place, Queue) else GroupSource(place.log, place.name),
            by_name=by_name,
            patterns=tuple(patterns),
            catch_all=catch_all,
            max_deliveries=place.max_deliveries,
        )

    def _handler(self, consumer: Consumer, place: Queue | Group) -> Handler:
        defaults, signature = self._defaults, consumer.signature
        plan = self._injector.plan(signature.dependencies, self._opened, in_thread=not signature.is_async)
        receive = receive_of(
            consumer.function, plan, takes_context=signature.takes_context, is_async=signature.is_async
        )
        return Handler(
            name=consumer.name,
            decode=consumer.decoder(defaults.limits),
            receive=fold(defaults.middleware, receive),
            is_async=signature.is_async or (plan is not None and bool(plan.outside)),
            retry=consumer.retry or place.retry or defaults.retry,
            timeout=place.timeout if consumer.timeout is None else consumer.timeout,
            max_deliveries=place.max_deliveries,
            record=(consumer.record or defaults.record) if defaults.records else "none",
            content_type=defaults.content_type,
            is_task=not isinstance(consumer, Subscriber),
            max_headers=defaults.limits.headers,
        )


def _check_reached(key: str, catch_all: Handler | None, patterns: Sequence[tuple[Pattern, Handler]]) -> None:
    for pattern, handler in patterns:
        if catch_all is not None and pattern.text.strip("*") == "":
            raise ConfigurationError(
                f"queue {key!r}: {handler.name} takes every name, so {catch_all.name} gets nothing"
            )


def plans_of(handlers: Iterable[str], topology: Topology) -> list[SourcePlan]:
    """How each consumed source is served."""
    queues = {queue.name: queue for queue in topology.queues}
    return [_plan(key, queues.get(key)) for key in handlers]


def _plan(key: str, queue: Queue | None) -> SourcePlan:
    if queue is None:
        return SourcePlan(key)
    return SourcePlan(key, lane_weights(queue), queue.strict, queue.max_wait)
