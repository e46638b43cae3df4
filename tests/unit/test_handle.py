"""Calls and handles as values."""

from __future__ import annotations

import asyncio
import gc

import pytest

from brokerkit import App
from brokerkit.calls import Call


async def test_without_a_reply_several_who_wait_get_the_result_from_the_store() -> None:
    app = App("memory://")

    @app.task(reply=False)
    async def double(number: int) -> int:
        return 2 * number

    async with app, app.worker():
        handle = await double.send(21)
        found = await asyncio.gather(*(handle.result(timeout=20) for _ in range(3)))
        assert found == [42, 42, 42]
        assert await handle.result(timeout=20) == 42


def test_a_call_cannot_be_changed_and_is_equal_only_to_itself() -> None:
    app = App("memory://")

    @app.task
    async def double(number: int) -> int:
        return 2 * number

    call, other = double.message(1), double.message(1)
    assert call == call
    assert call != other
    assert len({call, other}) == 2
    with pytest.raises(AttributeError):
        call.body = b""  # type: ignore[misc]


def test_calls_cost_the_garbage_collector_nothing() -> None:
    app = App("memory://")

    @app.task
    async def double(number: int) -> int:
        return 2 * number

    call: Call[int] = double.message(1)
    assert not gc.is_tracked(call)
