"""Running a coroutine in a context of its own, without a task of its own."""

from __future__ import annotations

import types
from collections.abc import Awaitable, Callable, Generator
from typing import Any


@types.coroutine
def stepped(
    awaitable: Awaitable[Any], run: Callable[..., Any], suspended: Callable[[], None]
) -> Generator[Any, Any, Any]:
    """Await something so that every step of it runs in another context.

    A task has one context for life, and a task for every message costs more than most handlers. Here the current task
    only passes on what the coroutine waits for: futures, cancellation and ``asyncio.timeout`` work as ever, since the
    current task is a real one.

    Args:
        awaitable: What to await, usually a coroutine.
        run: ``contextvars.Context.run`` of the context to use.
        suspended: Called once, when it first waits for something.
    """
    steps: Any = awaitable if isinstance(awaitable, types.CoroutineType) else awaitable.__await__()
    try:
        waits_for = run(steps.send, None)
    except StopIteration as stop:
        return stop.value
    suspended()
    while True:
        try:
            sent = yield waits_for
        except GeneratorExit:
            run(steps.close)
            raise
        except BaseException as error:  # noqa: BLE001 - thrown in by the task, to be seen by the coroutine
            step, argument = steps.throw, error
        else:
            step, argument = steps.send, sent
        try:
            waits_for = run(step, argument)
        except StopIteration as stop:
            return stop.value
