"""Apps on a broker in this process, whose time a test moves or which moves by itself."""

from __future__ import annotations

import asyncio
import time

import pytest

from brokerkit import App, Retry, TaskStatus, TaskTimedOut
from brokerkit.testing import Sent, SkippingClock, VirtualClock, context, memory
from brokerkit.testing.brokers import SkippingBroker
from tests.testing import shop
from tests.testing.shop import flaky, receipt, seen


async def test_with_a_virtual_clock_the_test_moves_the_time() -> None:
    clock = VirtualClock()
    async with memory(shop.app, clock) as sent, shop.app.worker():
        handle = await flaky.send(2)
        await clock.advance(3599)
        assert seen == ["attempt 1"]
        assert await handle.status() is TaskStatus.RETRY
        await clock.advance(1)
        assert seen == ["attempt 1", "attempt 2", "receipt of attempt 2"]
        assert await handle.result() == 2
        sent.assert_sent(receipt)


async def test_by_itself_the_time_jumps_over_delays_when_nothing_runs() -> None:
    began = time.monotonic()
    async with memory(shop.app), shop.app.worker():
        handle = await flaky.send(3)
        assert await handle.result(timeout=30) == 3
        record = await handle.record()
        assert record is not None
        assert record.finished is not None
        assert record.finished - record.created >= 3 * 3600
    assert time.monotonic() - began < 20


async def test_by_itself_what_is_due_first_runs_first() -> None:
    async with memory(shop.app), shop.app.worker():
        late = await receipt.options(delay=172800).send("late")
        await receipt.options(delay=86400).send("early")
        await late.result(timeout=30)
    assert seen == ["receipt early", "receipt late"]


async def test_by_itself_it_does_not_jump_while_something_runs() -> None:
    clock = SkippingClock()
    started, let_go = asyncio.Event(), asyncio.Event()

    app = App("memory://")

    @app.task
    async def slow() -> None:
        started.set()
        await let_go.wait()

    async with memory(app, clock), app.worker():
        running = await slow.send()
        await started.wait()
        later = await slow.options(delay=3600).send()
        await asyncio.sleep(0.02)
        assert clock.skipped == 0
        let_go.set()
        await running.result()
        await later.result(timeout=30)
        assert clock.skipped > 3500


async def test_by_itself_without_a_worker_what_is_delayed_becomes_due() -> None:
    async with memory(shop.app):
        handle = await receipt.options(delay=3600).send("o-1")
        while (await shop.app.queue_stats("default")).ready == 0:
            await asyncio.sleep(0.001)
        async with shop.app.worker():
            assert await handle.result(timeout=30) == "o-1"


async def test_by_itself_timeouts_stay_real() -> None:
    app = App("memory://")

    @app.task(timeout=0.02, retry=Retry.fixed(max_retries=1, delay=3600))
    async def slow() -> None:
        await asyncio.Event().wait()

    async with memory(app), app.worker():
        with pytest.raises(TaskTimedOut):
            await (await slow.send()).result(timeout=30)


async def test_an_event_that_is_delayed_on_its_way_to_a_log_is_jumped_to_as_well() -> None:
    async with memory(shop.app), shop.app.worker():
        await shop.app.publish(shop.OrderPlaced("o-1", 1), exchange=shop.orders, routing_key="order.us.x", delay=3600)
        while "receipt o-1" not in seen:
            await asyncio.sleep(0.001)


async def test_the_broker_looks_at_its_entries_once_for_many_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[int] = []
    monkeypatch.setattr(SkippingBroker, "_look", lambda broker: looks.append(1))
    async with memory(shop.app):
        await shop.app.send_many([receipt.message(str(number)) for number in range(100)])
        await asyncio.sleep(0.02)
    assert len(looks) == 1


async def test_a_context_for_a_direct_call() -> None:
    ctx = context("flaky", {"until": 1}, state={"pool": 1}, headers={"tenant": "eu"}, attempt=2)
    assert await flaky(ctx, 1) == 2
    Sent(ctx.followups or []).assert_sent(receipt, order_id="of attempt 2")
    assert (ctx.name, ctx.args, ctx.state, ctx.headers) == ("flaky", {"until": 1}, {"pool": 1}, {"tenant": "eu"})
    await ctx.progress(0.5, "half")
    assert await ctx.in_thread(lambda: 3) == 3
    assert not ctx.cancelled
