"""Sending in batches: the next one is composed while the one before is on its way."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from brokerkit import App, EncodeError, Settings
from brokerkit.message import Outgoing
from brokerkit.middleware import Send
from brokerkit.transport import Published


async def test_a_call_that_cannot_be_composed_leaves_no_publish_unattended() -> None:
    published: list[int] = []

    def slow(send: Send) -> Send:
        async def after_a_while(messages: Sequence[Outgoing]) -> Sequence[Published]:
            for _ in range(20):
                await asyncio.sleep(0)
            answers = await send(messages)
            published.append(len(messages))
            return answers

        return after_a_while

    app = App("memory://", settings=Settings(send_middleware=[slow]))

    @app.task
    async def work(number: int) -> int:
        return number

    async with app:
        calls = [work.message(1), work.message(2), work.options(headers={"bk-x": 1}).message(3)]
        with pytest.raises(EncodeError, match="brokerkit's own"):
            await app.send_many(calls, batch=1)
        assert published == [1, 1], "what was on its way has arrived when the error is raised"
