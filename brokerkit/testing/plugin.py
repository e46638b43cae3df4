"""Fixtures for pytest, which finds this module by itself where brokerkit is installed.

They are sync, so they work with any plugin for async tests, in any mode, and without one; what they need is imported
when a test asks for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from brokerkit.app import App
    from brokerkit.clock import Clock
    from brokerkit.testing import VirtualClock


@pytest.fixture
def brokerkit_clock() -> VirtualClock:
    """A clock that stands still until the test moves it: ``await brokerkit_clock.advance(60)``."""
    from brokerkit.testing import VirtualClock

    return VirtualClock()


@pytest.fixture
def brokerkit_app() -> Iterator[Callable[..., App]]:
    """Makes apps on memory brokers of their own, for the time of the test.

    ``brokerkit_app()`` is a new one, to declare tasks on. ``brokerkit_app(shop.app)`` is that app with its broker
    replaced. Their time jumps over delays when nothing runs; with ``clock=brokerkit_clock`` the test moves it. The test
    opens the app and starts its worker: ``async with brokerkit_app(shop.app) as app, app.worker():``.
    """
    from brokerkit.app import App
    from brokerkit.testing import memory

    with ExitStack() as replaced:

        def make(app: App | None = None, *, clock: Clock | None = None) -> App:
            made = App("memory://") if app is None else app
            replaced.enter_context(memory(made, clock))
            return made

        yield make
