"""Results over the limit: stored, not replied; and a clear failure where they would be nowhere."""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from typing import Any

import pytest

from brokerkit import App, Retry, Settings, Task, TaskFailed
from brokerkit.codec import Limits
from brokerkit.message import Outgoing
from brokerkit.settings import BROKERS_OWN
from brokerkit.transport import INBOX_PREFIX, Published
from brokerkit.transports.memory import MemoryTransport

LIMIT = 10_000
SETTINGS = Settings(limits=Limits(body=LIMIT))


def large_task(app: App, runs: list[int]) -> Task[[int], bytes, [int], Coroutine[Any, Any, bytes]]:
    @app.task(retry=Retry.fixed(3, 0))
    async def large(size: int) -> bytes:
        runs.append(size)
        return bytes(size)

    return large


@pytest.mark.parametrize("apart", [False, True], ids=["with the broker", "apart"])
async def test_a_result_over_the_limit_comes_from_the_store(url: str, sqlite_url: str, apart: bool) -> None:
    app = App(url, settings=SETTINGS, store=sqlite_url if apart else BROKERS_OWN)
    large = large_task(app, [])
    async with app, app.worker():
        within, over = await app.send_many([large.message(size) for size in (LIMIT // 2, 2 * LIMIT)])
        assert len(await within.result(timeout=20)) == LIMIT // 2
        assert len(await over.result(timeout=20)) == 2 * LIMIT
        assert len(await app.handle(over.id, large).result(timeout=20)) == 2 * LIMIT


async def test_without_a_store_a_result_over_the_limit_is_a_failure_and_not_run_again(url: str) -> None:
    app, runs = App(url, settings=SETTINGS, store=None), list[int]()
    large = large_task(app, runs)
    async with app, app.worker():
        handle = await large.send(2 * LIMIT)
        with pytest.raises(
            TaskFailed, match=r"no record is kept, and a reply of 20\d\d\d bytes is over the limit of 10000"
        ):
            await handle.result(timeout=20)
    assert len(runs) == 1


class Overheard(MemoryTransport):
    """Remembers the sizes of replies."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []

    async def publish(self, messages: Sequence[Outgoing], *, deadline: float) -> Sequence[Published]:
        self.sizes += [len(each.message.body) for each in messages if each.routing_key.startswith(INBOX_PREFIX)]
        return await super().publish(messages, deadline=deadline)


async def test_what_is_over_the_limit_does_not_travel() -> None:
    transport = Overheard()
    app = App(transport, settings=SETTINGS)
    large = large_task(app, [])
    async with app, app.worker():
        over = await large.send(2 * LIMIT)
        within = await large.send(LIMIT // 2)
        assert len(await within.result(timeout=20)) == LIMIT // 2
        assert len(await over.result(timeout=20)) == 2 * LIMIT
    assert len(transport.sizes) == 1
    assert LIMIT // 2 <= transport.sizes[0] <= LIMIT
