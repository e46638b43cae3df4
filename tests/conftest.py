"""What every test has: no task left behind, no exception nobody saw, and a database of its own."""

import asyncio
import gc
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from pytest_asyncio import is_async_test

# An example that takes long, on a machine with other work, is no failure.
settings.register_profile("brokerkit", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("brokerkit")


def pytest_configure() -> None:
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as for what a shell starts with "&"; children inherit it
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if is_async_test(item) and isinstance(item, pytest.Function):
            item.fixturenames.insert(0, "nothing_left_behind")  # set up first, so torn down after all others


def pytest_collection_finish() -> None:
    gc.freeze()  # what is loaded by now never becomes garbage: the collections below then take no time


@pytest.fixture
async def nothing_left_behind() -> AsyncIterator[None]:
    """Fail the test when a task outlives it, or when an exception reached only the event loop."""
    loop = asyncio.get_running_loop()
    unseen: list[str] = []
    loop.set_exception_handler(lambda _, context: unseen.append(_describe(context)))
    before = asyncio.all_tasks()
    yield
    await asyncio.sleep(0)  # a task that was just cancelled ends here
    left = asyncio.all_tasks() - before - {asyncio.current_task()}
    gc.collect()  # a task nobody awaited tells of its exception when it is collected
    assert not left, f"tasks left running: {left}"
    assert not unseen, "exceptions nobody saw:\n" + "\n".join(unseen)


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """The URL of a SQLite file that does not exist yet."""
    return f"sqlite:///{tmp_path / 'brokerkit.db'}"


def _describe(context: dict[str, Any]) -> str:
    return f"{context['message']}: {context.get('exception')!r} {context.get('future') or context.get('task') or ''}"
