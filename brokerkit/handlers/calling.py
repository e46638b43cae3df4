"""How a function is called with a message: on the event loop or in a thread, among its dependencies.

A function that has none is called with nothing in between.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, TypeVar

from brokerkit.context import Context
from brokerkit.handlers.annotations import where_is
from brokerkit.handlers.handler import Receive
from brokerkit.handlers.injection import Kind, Plan, Step

T = TypeVar("T")


def receive_of(function: Callable[..., Any], plan: Plan | None, *, takes_context: bool, is_async: bool) -> Receive:
    """What runs a function on the arguments of a message.

    Args:
        function: A task's function or a subscriber.
        plan: What is made for it; None when it has no dependencies.
        takes_context: Its first parameter is the context.
        is_async: It is a coroutine function; else it runs in a thread.
    """
    if plan is not None:
        return _with_dependencies(function, plan, takes_context, is_async)

    def call_async(context: Context) -> Any:
        return function(context, **context.args) if takes_context else function(**context.args)

    def call_sync(context: Context) -> Any:
        work = partial(function, context, **context.args) if takes_context else partial(function, **context.args)
        return context.in_thread(partial(_done, work))

    return call_async if is_async else call_sync


def _done(work: Callable[[], Any]) -> Any:
    """What a sync function returns. A coroutine says that its work is not done: it would be acknowledged undone."""
    value = work()
    if inspect.iscoroutine(value):
        value.close()
        raise TypeError("the handler is no `async def` but returned a coroutine; a decorator may hide that it is one")
    return value


def _with_dependencies(function: Callable[..., Any], plan: Plan, takes_context: bool, is_async: bool) -> Receive:
    outside, inside, places, constants = plan.outside, plan.inside, plan.arguments, plan.constants

    def call(context: Context, values: list[Any]) -> Any:
        injected = {name: values[place] for name, place in places}
        if takes_context:
            return function(context, **context.args, **constants, **injected)
        return function(**context.args, **constants, **injected)

    async def on_loop(context: Context) -> Any:
        values: list[Any] = []
        async with made(outside, context, values):
            return await call(context, values)

    async def within_thread(context: Context, values: list[Any]) -> Any:
        async with made(inside, context, values):
            return _done(partial(call, context, values))

    def in_thread(context: Context, values: list[Any]) -> Any:
        return context.in_thread(lambda: _through(within_thread(context, values)))

    async def around_thread(context: Context) -> Any:
        values: list[Any] = []
        async with made(outside, context, values):
            return await in_thread(context, values)

    if is_async:
        return on_loop
    return around_thread if outside else lambda context: in_thread(context, [])


@asynccontextmanager
async def made(steps: Sequence[Step], context: Context | None, values: list[Any]) -> AsyncIterator[None]:
    """Make values, and clean up in reverse order on leaving.

    What is raised inside is seen by everyone who has to clean up, and leaves in the end also when one of them caught
    it: a run that failed does not become a success. What a clean-up raises takes its place.

    Args:
        steps: What to make.
        context: The message's; None for what lives as long as the worker.
        values: Those made before; the new ones are appended.
    """
    opened: list[tuple[Any, Kind]] = []
    try:
        for step in steps:
            values.append(await _made(step, context, values, opened))
        yield
    except BaseException as error:
        await _clean_up(opened, error)
        raise
    if opened:
        await _clean_up(opened, None)


async def _made(step: Step, context: Context | None, values: list[Any], opened: list[tuple[Any, Kind]]) -> Any:
    arguments = {**step.constants, **{name: values[place] for name, place in step.arguments}}
    if step.context is not None:
        arguments[step.context] = context
    made, kind = step.make(**arguments), step.kind
    if kind is Kind.COROUTINE:
        return await made
    if kind is Kind.PLAIN:
        return _checked(made, step)
    value = await made.__aenter__() if kind is Kind.ASYNC_GENERATOR else made.__enter__()
    opened.append((made, kind))
    return value


def _checked(made: Any, step: Step) -> Any:
    if inspect.iscoroutine(made):
        made.close()
        raise TypeError(f"{where_is(step.make)} is no `async def` but returned a coroutine; write it as one")
    return made


async def _clean_up(opened: list[tuple[Any, Kind]], cause: BaseException | None) -> None:
    """Let each clean up, in reverse order; raises what one of them has raised, if anything."""
    error = cause
    for made, kind in reversed(opened):
        raised = (None, None, None) if error is None else (type(error), error, error.__traceback__)
        try:
            if kind is Kind.ASYNC_GENERATOR:
                await made.__aexit__(*raised)
            else:
                made.__exit__(*raised)
        except BaseException as another:  # noqa: BLE001 - raised below, when all have cleaned up
            error = another
    if error is not None and error is not cause:
        raise error


def _through(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in which nothing waits: what is made in a thread is made by plain functions."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        value: T = stop.value
        return value
    coroutine.close()
    raise RuntimeError("something waits in a thread")
