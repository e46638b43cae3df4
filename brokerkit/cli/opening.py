"""Opening the app or broker that a command speaks to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from brokerkit import App
from brokerkit.abilities import Listing
from brokerkit.cli.errors import ExitCode, Refusal
from brokerkit.cli.loading import load_app
from brokerkit.cli.options import Target
from brokerkit.connect import redacted
from brokerkit.settings import BROKERS_OWN

T = TypeVar("T")


def run(command: Coroutine[Any, Any, T]) -> T:
    """Run a command's coroutine."""
    return asyncio.run(command)


@asynccontextmanager
async def opened(target: Target) -> AsyncIterator[App]:
    """The app, open; with a URL an app that declares nothing.

    Raises:
        Refusal: There is nothing to open, in one line.
    """
    app = load_app(target.app, target.app_dir) if target.app is not None else app_at(target.url or "")
    async with app:
        if app.transport.capabilities.name.startswith("memory"):
            raise Refusal(
                "memory:// lives inside the process of its app, nobody else can look into it; "
                "give the app a broker that is shared, as sqlite:///shop.db",
                ExitCode.USAGE,
            )
        yield app


def app_at(url: str, store: str | None = None) -> App:
    """An app that declares nothing, at a URL; with another store than the broker's own if one is given.

    Raises:
        Refusal: It is an SQLite file that does not exist.
    """
    app = App(url, name="brokerkit-cli", store=store or BROKERS_OWN)
    parts = urlsplit(url)
    if parts.scheme == "sqlite" and not (file := Path(parts.path[1:])).exists():
        raise Refusal(f"there is no file {file}; check --url, or start an app that uses it")  # looking must not make it
    return app


async def queue_names(app: App, target: Target) -> list[str]:
    """All queues and groups (``log@group``) a command without names means.

    Raises:
        Refusal: The broker has no list of its queues.
    """
    if target.app is not None:
        topology = app.topology()
    elif isinstance(app.transport, Listing):
        topology = await app.transport.declared()
    else:
        raise Refusal(
            "this broker keeps no list of its queues; name them, or give --app module:attr instead of --url",
            ExitCode.USAGE,
        )
    return sorted([*(queue.name for queue in topology.queues), *(group.key for group in topology.groups)])


def unknown_queue(app: App, target: Target, name: str) -> Refusal:
    """The line for a queue that the broker does not know."""
    if target.app is None:
        return Refusal(
            f"there is no queue or group {name!r} at {redacted(target.url or '')}; check the name, "
            "or give --app module:attr to have the app's queues created"
        )
    known = [*(queue.name for queue in app.topology().queues), *(group.key for group in app.topology().groups)]
    return Refusal(f"there is no queue or group {name!r}; {target.app} has {_listed(known)}")


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"
