"""A worker for an app: what it needs is entered, its handlers are made, it works, and all is left in reverse order."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from brokerkit.errors import ConfigurationError
from brokerkit.handlers.injection import Injector
from brokerkit.handlers.lifespan import entered
from brokerkit.registry import Defaults, Registry, consumers_of, plans_of, sources_of
from brokerkit.session import Session
from brokerkit.topology import Group, Queue
from brokerkit.worker import Worker, WorkerSettings

if TYPE_CHECKING:
    from brokerkit.app import App


@asynccontextmanager
async def serving(app: App, session: Session, settings: WorkerSettings) -> AsyncIterator[Worker]:
    """Work while the context is open, then drain.

    Raises:
        ConfigurationError: The app has nothing to consume, or contradicts itself.
        LifespanFailed: What the worker needs could not be entered.
    """
    sources = _chosen(sources_of(app, session.topology), settings.queues)
    with app.overrides.reading() as overrides:
        injector = Injector(overrides)
        consumed = [consumer for consumer in consumers_of(app) if consumer.source_key in sources]
        nodes = injector.of_worker(consumer.signature.dependencies for consumer in consumed)
        async with entered(app.lifespans, app, nodes) as resources:
            registry = Registry(app, _defaults(app, session), injector, resources.opened)
            handlers = {key: registry.handlers(key, place) for key, place in sources.items()}
            environment = session.environment(resources.state)
            worker = Worker(environment, handlers, plans_of(handlers, session.topology), settings)
            async with worker.serving():
                yield worker


def _chosen(sources: dict[str, Queue | Group], keys: tuple[str, ...]) -> dict[str, Queue | Group]:
    if unknown := ", ".join(sorted(set(keys) - sources.keys())):
        known = ", ".join(sorted(sources))
        raise ConfigurationError(f"no task or subscriber consumes {unknown}; this app consumes {known}")
    if not sources:
        raise ConfigurationError(
            "the app has no tasks and no subscribers: import the modules that define them, as "
            'app.discover("package") does'
        )
    return {key: sources[key] for key in keys} if keys else sources


def _defaults(app: App, session: Session) -> Defaults:
    settings = app.settings
    return Defaults(
        retry=settings.retry,
        limits=settings.limits,
        middleware=settings.middleware,
        records=session.store is not None,
        record=settings.record,
        content_type=settings.content_type,
    )
